"""Recipes: short, over the public API, and good for a toy as for the competition they are named after."""

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from fakes import FACTS, SITUATIONS, Killed, World, check, situation

import autoclimb
from autoclimb.budget import seconds_of
from autoclimb.config import Config
from autoclimb.dry_run import rehearsed, situation_on
from autoclimb.errors import Mistake
from autoclimb.search import climb, recipes
from autoclimb.search.fidelity import epochs_for
from autoclimb.search.order import PLAN, plan_of
from autoclimb.search.rates import DEVICES
from autoclimb.search.recipes import load_recipe, recipe_files, recipe_titles
from autoclimb.search.space import SearchSpace

FILES = sorted((Path(__file__).parent.parent / "recipes").glob("*.py"))
NAMES = [path.stem.replace("_", "-") for path in FILES]
OWN = {"space": None, "plan": None, "folds": None, "pretrained": True}  # what a caller who asks for nothing gives
each_recipe = pytest.mark.parametrize("name", NAMES)


def world(name: str, budget: str = "5m", of: str = "a processor, from scratch", **more) -> tuple[World, list]:
    given, seconds = load_recipe(name, **OWN), seconds_of(budget)
    values = {**SITUATIONS[of], "space": given.space, "folds": given.folds or 5, "budget": seconds}
    if not given.pretrained:
        values["pretrained"] = ()
    return World(situation(**values), opening=min(12.0, 0.4 * seconds), **more), plan_of(given.plan)


def timm_names() -> set[str]:
    """What timm can build, with and without the tag of weights, read off its source: importing it takes seconds."""
    spec = find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    text = "\n".join(path.read_text() for path in (Path(spec.origin).parent / "models").glob("*.py"))
    return {*re.findall(r"^def (\w+)\(", text, re.MULTILINE), *re.findall(r"['\"]([\w.]+)['\"]: _\w*cfg", text)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_is_short_and_says_what_it_is_and_how_to_run_it(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 60
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert f"--recipe {path.stem.replace('_', '-')}" in docstring
    assert "autoclimb fit" in docstring
    assert "Expect" in docstring


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_needs_nothing_but_the_front_door(path):
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {str(name) for name in imported if str(name).startswith("autoclimb")} <= {"autoclimb"}


@each_recipe
def test_a_recipe_is_found_by_its_name_and_by_its_path(name):
    assert name in recipe_files()
    by_name, by_path = load_recipe(name, **OWN), load_recipe(recipe_files()[name], **OWN)
    assert by_name.plan_names() == by_path.plan_names()
    assert by_name.space.to_json() == by_path.space.to_json()
    assert by_name.folds


@each_recipe
def test_a_recipes_plan_is_made_of_stages(name):
    for stage, function in plan_of(load_recipe(name, **OWN).plan):
        assert callable(function)
        assert stage in PLAN or function.__doc__


@each_recipe
@pytest.mark.parametrize("of", SITUATIONS)
@pytest.mark.parametrize("budget", ["30s", "90s", "5m", "4h", "1d12h"])
def test_a_recipe_keeps_to_any_budget_and_asks_for_valid_configs(name, of, budget):
    w, plan = world(name, budget, of)
    history, whole = w.climb(plan)
    assert w.clock.spent() <= w.clock.budget - w.reserve() + 1e-6
    for config in w.ran:
        check(config, w.situation)
    as_unasked = set(PLAN) <= set(dict(plan)) or budget == "30s"  # in which a plan may leave it at features
    if of != "large data" and not as_unasked:
        assert history.done(train="net")
    if of not in ("large data", "tiny pictures") and not (as_unasked and whole):
        least = 0.8 if budget == "30s" else 0.85  # of which a trial of features takes a fifth
        assert w.clock.spent() + w.reserve() >= least * w.clock.budget


@each_recipe
def test_a_recipe_names_only_nets_that_timm_has(name):
    nets = timm_names()
    for of in ("a processor, from scratch", "a card, with the hub"):
        w, plan = world(name, "4h", of)
        w.climb(plan)
        assert {config.backbone for config in w.ran if config.train == "net"} <= nets


@each_recipe
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_recipe_goes_on_after_a_kill_as_if_nothing_had_been(name, at):
    unharmed, plan = world(name)
    unharmed.climb(plan)
    killed, plan = world(name, kill_at=min(at, len(unharmed.ran)), lose=0.0)
    with pytest.raises(Killed):
        killed.climb(plan)
    finished = set(killed.record)
    killed.climb(plan)
    assert killed.asked == unharmed.asked
    assert not finished & {config.key for config in killed.ran}


def test_inclusive_images_trains_resnet50_on_soft_f2_from_scratch_and_grows_its_pictures():
    given = load_recipe("inclusive-images", **OWN)
    assert not given.pretrained
    w, plan = World(situation(kind="multilabel", budget=3600.0, device="cuda", space=given.space)), plan_of(given.plan)
    w.climb(plan)
    for config in w.ran:
        assert (config.backbone, config.weights, config.loss) == ("resnet50", "", "soft-f2")
        assert config.switch_to
        assert config.tta == "flip"
    assert any(config.sizes for config in w.ran)


def test_intel_scenes_mixes_grows_and_lets_different_families_vote():
    w, plan = world("intel-scenes", "4h", "a card, with the hub")
    w.climb(plan)
    finals = [config for config in w.ran if len(config.folds) > 1 and config.train == "net"]
    assert {config.mixup for config in finals} == {0.4}
    assert all(config.sizes and config.tta == "flip" for config in finals)
    assert len({config.backbone for config in finals}) >= 3


@pytest.mark.parametrize("of", ["a processor, from scratch", "a processor, with weights", "a card, with the hub"])
def test_fixed_trains_one_net_over_all_folds_and_then_the_same_from_other_seeds(of):
    w, plan = world("fixed", "30m", of)
    w.climb(plan)
    assert w.ran[0].folds == (0, 1, 2, 3, 4)
    assert len({c.vary(seed=0, seconds=1, folds=()) for c in w.ran}) == 1
    assert {c.train for c in w.ran} == {"net"}


def test_fixed_takes_a_larger_net_or_size_where_there_is_more_time():
    sizes = []
    for budget in ("2m", "30m", "8h"):
        w, plan = world("fixed", budget)
        w.climb(plan)
        sizes.append(w.situation.measure(w.ran[0]).train)
    assert sizes[0] >= sizes[1] > sizes[2]  # slower: larger


def test_random_search_draws_and_gives_the_best_draw_the_folds():
    w, plan = world("random-search", "1h")
    history, _ = w.climb(plan)
    drawn = [c for c in w.ran if c.folds == (0,)]
    assert 3 <= len(drawn) <= 30
    assert len({(c.backbone, c.model_args, c.size, c.policy, c.mixup, c.cutmix) for c in drawn}) >= 3
    best = max((t for t in history.done() if t.config in drawn), key=lambda t: t.score).config
    final = next(c for c in w.ran if len(c.folds) == 5)
    assert final.vary(seconds=1, folds=()) == best.vary(seconds=1, folds=())


LARGE_PICTURES = [  # (device, budget, rows, pixels a side): decoding takes a good part of the time
    ("t4", 3600.0, 25_000, 2_000),
    ("h100", 600.0, 10_000, 2_000),
    ("cpu", 1800.0, 5_000, 1_500),
    ("cpu", 600.0, 2_500, 500),
]


@pytest.mark.parametrize("hub", [True, False])
@pytest.mark.parametrize(("device", "budget", "rows", "side"), LARGE_PICTURES)
@pytest.mark.parametrize("name", ["fixed", "random-search"])
def test_what_people_do_instead_loses_no_fold_to_decoding_and_uses_its_time(
    name, device, budget, rows, side, hub, monkeypatch
):
    cut: list[Config] = []
    monkeypatch.setattr(climb, "shortened", lambda config, *rest: cut.append(config))
    given = load_recipe(name, **OWN)
    facts = {**FACTS, "space": given.space, "rows": rows, "answered": rows // 4, "side": side, "folds": 5}
    s = situation_on(DEVICES[device], hub=hub, pretrained=True, **facts, budget=budget)
    plan = rehearsed(s, DEVICES[device], given.plan)
    assert not cut
    over_all = [row for row in plan.trials if len(row.config.folds) == 5]
    assert over_all
    assert plan.seconds >= 0.93 * budget
    drawn = [row for row in plan.trials if row.stage == "random" and row.config.folds == (0,)]
    assert sum(row.seconds for row in drawn) <= 0.4 * budget
    if name == "random-search":
        assert len(drawn) >= 3
        assert min(row.epochs / epochs_for("quick", row.config, s) for row in drawn) >= 0.99


# --- loading ----------------------------------------------------------------------------------------------------------


def test_the_callers_word_counts_before_the_recipes():
    space = SearchSpace(sizes=[64])
    given = load_recipe(NAMES[0], space=space, plan=["baseline"], folds=3, pretrained=False)
    assert (given.space, given.plan, given.folds, given.pretrained) == (space, ["baseline"], 3, False)


def test_without_a_recipe_everything_is_the_plans():
    given = load_recipe(None, **OWN)
    assert (given.plan, given.folds, given.pretrained) == (None, None, True)
    assert given.plan_names() is None


def test_an_unknown_recipe_is_answered_with_the_list():
    with pytest.raises(Mistake, match="intel-scenes"):
        load_recipe("intel-scene", **OWN)


@pytest.mark.parametrize(
    ("text", "said"),
    [("x = 1\n", "dict RECIPE"), ("RECIPE = {'spaces': None}\n", "spaces"), ("RECIPE = {}\n", "RECIPE")],
)
def test_a_recipe_without_its_dict_or_with_unknown_names_is_a_mistake(tmp_path, text, said):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(Mistake, match=said):
        load_recipe(tmp_path / "mine.py", **OWN)


@pytest.mark.parametrize(
    ("file", "text"), [("mine.py", "RECIPE = {\n"), ("mine.py", "import nothing_of_that_name\n"), ("mine.txt", "hello")]
)
def test_a_recipe_that_is_no_python_is_a_mistake(tmp_path, file, text):
    (tmp_path / file).write_text(text)
    with pytest.raises(Mistake, match=file):
        load_recipe(tmp_path / file, **OWN)


def test_a_wheel_brings_its_recipes_inside_the_package(tmp_path, monkeypatch):
    (tmp_path / "my_own.py").write_text('"""Mine.\n\nMore."""\nRECIPE = {"folds": 4}\n')
    (tmp_path / "_hidden.py").write_text("")
    monkeypatch.setattr(recipes, "INSTALLED", tmp_path)
    assert recipe_titles() == {"my-own": "Mine."}
    assert load_recipe("my-own", **OWN).folds == 4
    monkeypatch.setattr(recipes, "INSTALLED", tmp_path / "none")
    assert set(NAMES) <= set(recipe_files())


def test_a_plan_may_hold_names_functions_and_named_functions():
    def mine(history, s):
        yield [Config()]

    assert [name for name, _ in plan_of(["baseline", mine, ("other", mine)])] == ["baseline", "mine", "other"]
    with pytest.raises(Mistake, match="baseline, resize"):
        plan_of(["basline"])
    with pytest.raises(Mistake, match="names of stages"):
        plan_of([3])  # type: ignore[list-item]
    for no_stage in (("mine",), ("mine", "baseline"), (mine, mine)):
        with pytest.raises(Mistake, match="names of stages"):
            plan_of([no_stage])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"plan": ["baseline", "finalist"]}, "stage 'finalist' is unknown"),
        ({"plan": "baseline"}, r"\['baseline'\]"),
        ({"space": {"lr": (1e-4, 1e-2)}}, "give a SearchSpace"),
    ],
)
def test_a_plan_or_space_that_is_none_is_a_mistake_before_the_folder_is_read(given, words, tmp_path):
    with pytest.raises(Mistake, match=words):
        autoclimb.fit(tmp_path / "not read", metric="accuracy", budget="5m", **given)
    with pytest.raises(Mistake, match=words):
        load_recipe(None, **{**OWN, **given})


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        (None, "stage mine returned None"),
        (Config(seconds=3.0), "stage mine returned a Config"),
        ([Config(seconds=3.0)], "stage mine yielded a Config"),
        ([3], "stage mine yielded 3"),
        (["resnet18"], "stage mine yielded 'resnet18'"),
        ([["resnet18"]], "yielded a list of 'resnet18'"),
        ([[Config()]], "seconds of a fold, or epochs"),
        ([[Config(seconds=-3.0)]], "seconds=-3.0; give 0 or more"),
        ([[Config(seconds=3.0, batch=0)]], "batch=0; give 1 or more"),
        ([[Config(seconds=3.0, folds=(0, 5))]], r"folds=\(0, 5\); this run has \(0, 1, 2, 3, 4\)"),
        ([[Config(seconds=3.0, folds=0)]], "folds=0; this run has"),  # type: ignore[arg-type]
        ([[Config(seconds=3.0, folds=())]], r"folds=\(\); this run has"),
    ],
)
def test_what_a_stage_of_the_users_cannot_ask_for_is_a_mistake(batches, words):
    def mine(history, s):
        return batches

    w = World(situation(budget=60.0))
    with pytest.raises(Mistake, match=words):
        w.climb(plan_of([mine]))
    assert not w.ran


@pytest.mark.slow
@each_recipe
def test_a_recipe_solves_a_toy(name, tmp_path):
    import autoclimb
    from autoclimb.demo import make_demo

    data = make_demo(tmp_path / "demo")
    run = autoclimb.fit(data, metric="f2", budget="60s", recipe=name, out=tmp_path / "run", device="cpu")
    board = run.leaderboard()
    assert run.finished
    assert len(board) > 1
    assert run.submission.stat().st_size > 0
