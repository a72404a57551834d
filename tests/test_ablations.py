"""The ablations in benchmarks/: plans that lack what they say, and run as recipes do."""

from pathlib import Path

import pytest
from fakes import SITUATIONS, World, check, situation

from autoclimb.contest.suite import read_suite
from autoclimb.search.order import plan_of
from autoclimb.search.recipes import load_recipe

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
FILES = sorted((BENCHMARKS / "ablations").glob("*.py"))


def climbed(path: Path | None) -> World:
    given = load_recipe(path, space=None, plan=None, folds=None, pretrained=True)
    values = {**SITUATIONS["a processor, with weights"], "space": given.space, "budget": 7200.0}
    world = World(situation(**values), opening=12.0)
    world.climb(plan_of(given.plan))
    return world


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_ablation_keeps_to_its_budget_and_asks_for_valid_configs(path):
    world = climbed(path)
    assert world.clock.spent() <= world.clock.budget - world.reserve() + 1e-6
    for config in world.ran:
        check(config, world.situation)


def test_each_ablation_lacks_what_it_is_named_after():
    full = climbed(None)
    assert {"refine", "backbone"} <= set(full.stages)
    assert not {"refine", "backbone"} & set(climbed(BENCHMARKS / "ablations" / "no_stages.py").stages)
    assert any(c.train == "features" for c in full.ran)
    assert not any(c.train == "features" for c in climbed(BENCHMARKS / "ablations" / "no_probe.py").ran)


def test_the_suite_of_the_benchmarks_is_understood_and_names_every_ablation():
    suite = read_suite(BENCHMARKS / "suite.toml")
    assert len(suite.sets) == 7
    named = {word for solver in suite.solvers for word in solver.options if word.endswith(".py")}
    assert named == {f"ablations/{path.name}" for path in FILES}
    assert {solver.command[0] for solver in suite.solvers if solver.command} == {"peers/run"}
