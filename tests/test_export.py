"""A blend as a file: every part of the graph gives what `predict` gives, and so does the whole of it."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from inside import Inside
from nets import CPU
from PIL import Image
from safetensors.torch import save_file

from autoclimb.arrays import read_target
from autoclimb.blend.blenders import BLENDERS
from autoclimb.blend.choose import blend_of
from autoclimb.blend.mixture import apply, mixed
from autoclimb.blend.rows import Rows
from autoclimb.blend.sharpen import sharpened as sharpened_by_numpy
from autoclimb.budget import Clock
from autoclimb.config import Config
from autoclimb.data.decoding import Decoding
from autoclimb.data.pixels import build_pixels
from autoclimb.disk import read_json, write_array, write_json
from autoclimb.errors import Mistake
from autoclimb.learn import closed_form, features, handmade
from autoclimb.learn.backbones import build_net
from autoclimb.learn.blended import COMBINED, combined, sharpened, without_graph
from autoclimb.learn.fold import predict_fold, save_net
from autoclimb.learn.graph import BlendGraph, FrozenTrunk, Heads, Part, TrainedNet
from autoclimb.learn.handmade import Gradients, Patches
from autoclimb.learn.material import Material, Watch
from autoclimb.learn.trial import run_trial
from autoclimb.learn.views import VIEWS
from autoclimb.run import exported as export_use
from autoclimb.run import exporting, result, store
from autoclimb.run.result import describe_metric, describe_task, open_run
from autoclimb.run.worker import Died
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.score.decide import learn_rule
from autoclimb.score.metrics import metric_named
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Form, Goal, Task, Trial

NARROW = (("channels", (8, 8, 16, 16)),)
TINY = Config(backbone="resnet10t", model_args=NARROW, size=32, policy="none", batch=8, epochs=1.0, tta="flip")
GOALS = {
    "log mean": Goal(metric_named("rmsle"), "regression"),
    "median": Goal(metric_named("mae"), "regression"),
    "rank mean": Goal(metric_named("auc"), "binary"),
    "two-level ridge": Goal(metric_named("f2"), "multilabel"),
}
DOCS = Path(__file__).parent.parent / "docs"
NOTEBOOK = DOCS / "notebook.ipynb"


def material_of(pixels: np.ndarray, kind: str = "multiclass", width: int = 3) -> Material:
    return Material(kind, width, np.zeros((0, width), np.float32), np.zeros(0, np.int64), pixels)


def pictures(count: int, side: int) -> np.ndarray:
    """Noise, and in it shapes of one colour."""
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 256, (count, side, side, 3), np.uint8)
    noise[: count // 2, side // 4 :, : side // 2] = draw.integers(0, 256, (count // 2, 1, 1, 3))
    return noise


# --- the parts -------------------------------------------------------------------------------------------------------


def predictions_for(goal: Goal, rows: int = 300) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """A truth and three members' predictions that know something of it."""
    draw = np.random.default_rng(1)
    if goal.kind == "regression":
        truth = draw.gamma(3, 2, rows)
        return truth, tuple((truth + draw.normal(0, 1, rows))[:, None].clip(0, None) for _ in range(3))
    if goal.kind == "multilabel":
        truth = (draw.random((rows, 4)) < 0.4).astype(np.uint8)
        return truth, tuple((0.5 * truth + 0.5 * draw.random(truth.shape)).clip(0, 1) for _ in range(3))
    width = 2 if goal.kind == "binary" else 4
    truth = draw.integers(0, width, rows)
    mixed = [0.5 * np.eye(width)[truth] + draw.random((rows, width)) for _ in range(3)]
    return truth, tuple(p / p.sum(1, keepdims=True) for p in mixed)


@pytest.mark.parametrize("name", [name for name in COMBINED if not BLENDERS[name].needs_metadata])
@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_a_graph_blends_as_the_blender_does(name, kind):
    plain = {"multiclass": "accuracy", "multilabel": "f2", "regression": "mae"}
    goal = GOALS.get(name, Goal(metric_named(plain[kind]), kind))
    if not BLENDERS[name].suits(goal):
        pytest.skip(f"{name} is not for {kind}")
    truth, members = predictions_for(goal)
    model = BLENDERS[name].learn(Rows(goal, members, truth, np.arange(len(truth))))
    picked = [members[i] for i in model["picked"]]
    expected = BLENDERS[name].predict(model, picked)
    model = json.loads(json.dumps(model))  # as it lies on disk
    got = COMBINED[name](model, [torch.from_numpy(p).float() for p in picked]).numpy()
    assert np.abs(got - expected).max() < 1e-5


class EveryBlender(torch.nn.Module):
    """All rows for a kind of task, side by side."""

    def __init__(self, goal: Goal) -> None:
        super().__init__()
        truth, self.members = predictions_for(goal)
        rows = Rows(goal, self.members, truth, np.arange(len(truth)))
        names = [n for n in COMBINED if BLENDERS[n].suits(goal) and not BLENDERS[n].needs_metadata]
        self.models = {name: json.loads(json.dumps(BLENDERS[name].learn(rows))) for name in names}

    def forward(self, *p: torch.Tensor) -> torch.Tensor:
        each = [COMBINED[name](model, [p[i] for i in model["picked"]]) for name, model in self.models.items()]
        return torch.cat([sharpened("multilabel" if p[0].shape[1] > 1 else "regression", q, 1.2) for q in each], 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "goal", [Goal(metric_named("accuracy"), "multiclass"), *GOALS.values()], ids=lambda goal: goal.metric.name
)
def test_every_blender_can_be_written_as_onnx(goal, tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    every = EveryBlender(goal)
    members = [torch.from_numpy(p[:40]).float() for p in every.members]
    shapes = {"p": tuple({0: torch.export.Dim("batch")} for _ in members)}
    program = torch.export.export(every, tuple(members), dynamic_shapes=shapes)
    names = ["a", "b", "c"]
    torch.onnx.export(program, (), input_names=names, verbose=False).save(tmp_path / "every.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "every.onnx", providers=["CPUExecutionProvider"])
    [got] = session.run(None, dict(zip(names, [p.numpy() for p in members], strict=True)))
    assert np.abs(got - every(*members).numpy()).max() < 1e-5


def test_a_graph_averages_blends_as_a_mixture_does():
    goal = Goal(metric_named("f2"), "multilabel")
    truth, members = predictions_for(goal)
    shares = [("greedy", 0.25), ("log odds mean", 0.25), ("two-level ridge", 0.25), ("greedy", 0.25)]
    rows = Rows(goal, members, truth, np.arange(len(truth)))
    model = mixed([(name, share, BLENDERS[name].learn(rows)) for name, share in shares])
    picked = [members[i] for i in model["picked"]]
    got = combined(json.loads(json.dumps(model)), [torch.from_numpy(p).float() for p in picked]).numpy()
    assert np.abs(got - apply(model, picked)).max() < 1e-5
    assert not without_graph(model)
    assert without_graph(mixed([("mean", 0.5, model), ("lightgbm", 0.5, model)])) == ["lightgbm"]


def test_only_trees_have_no_place_in_a_graph():
    assert set(BLENDERS) - set(COMBINED) == {"lightgbm"}


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_a_graph_sharpens_as_the_blend_does(kind):
    p = predictions_for(Goal(metric_named("accuracy"), kind))[1][0]
    got = sharpened(kind, torch.from_numpy(p).float(), 1.7).numpy()
    assert np.abs(got - sharpened_by_numpy(kind, p, 1.7)).max() < 1e-5


def test_hand_made_features_are_the_same_in_a_graph(tmp_path):
    pixels = pictures(12, 64)
    (tmp_path / "cache").mkdir()
    for name in handmade.FEATURES:
        config = Config(train="features", backbone=name, size=64, tta="none")
        expected = features.features_of(config, pixels, tmp_path / "cache", CPU, Watch())
        module = Gradients(64, 32)
        if name == "patches":
            file = handmade.dictionary_file(tmp_path / "cache", "squash")
            module = Patches(module, handmade.read_dictionary(file), 32)
        assert np.abs(module(torch.from_numpy(pixels)).numpy() - expected).max() < 1e-4


@pytest.mark.parametrize(
    "changes", [{}, {"tta": "flip"}, {"layers": 3}, {"layers": 2, "top": 1, "tta": "flip"}], ids=str
)
def test_frozen_features_are_the_same_in_a_graph(changes, tmp_path):
    (tmp_path / "cache").mkdir()
    weights = tmp_path / "resnet10t.safetensors"
    torch.manual_seed(0)
    save_file(build_net(TINY, 4, 3).net.state_dict(), weights)
    config = TINY.vary(**{"train": "features", "tta": "none", "weights": str(weights), **changes})
    pixels = pictures(4, 32)
    full_net = config.vary(top=0)  # of new pictures nothing is kept
    expected = features.features_of(full_net, pixels, tmp_path / "cache", CPU, Watch(), exactly=True)
    with torch.inference_mode():
        got = FrozenTrunk(config, 3).eval()(torch.from_numpy(pixels)).numpy()
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("head", closed_form.HEADS)
@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_a_head_in_closed_form_is_the_same_in_a_graph(head, kind):
    draw = np.random.default_rng(2)
    x = draw.normal(size=(120, 30)).astype(np.float32)
    target = (
        (x[:, :3] > 0).astype(np.float32) if kind != "multiclass" else np.eye(3, dtype=np.float32)[x[:, :3].argmax(1)]
    )
    target = 50 * x[:, :1] if kind == "regression" else target
    config = Config(train="features", backbone="resnet10t", head=head)
    rows = [np.arange(0, 120, 2), np.arange(30, 110)]
    fitted = [closed_form.fit_head(config, x[r], target[r], kind) for r in rows]
    expected = np.mean([closed_form.head_predictions(f, x[:40], kind) for f in fitted], 0)
    shared, unknown = Heads(fitted, rows, kind), Heads(fitted, [r[1:] for r in rows], kind)
    if head == "kernel":
        assert (len(shared.points), len(unknown.points)) == (len({*rows[0], *rows[1]}), 140)
    got = shared(torch.from_numpy(x[:40])).numpy()
    assert np.abs(got - unknown(torch.from_numpy(x[:40])).numpy()).max() / max(1, np.abs(expected).max()) < 1e-5
    assert np.abs(got - expected).max() / max(1, np.abs(expected).max()) < 1e-5


def saved_net(config: Config, folder: Path, width: int = 3) -> Path:
    torch.manual_seed(0)
    built = build_net(config, width, 3)
    if config.neighbours:
        built.head.remember(torch.randn(9, built.head.centres.shape[-1]), torch.arange(9) % width)
    path = folder / "fold0.safetensors"
    save_net(built.net.state_dict(), built, 0.0, 1.0, path)
    return path


NETS = {tta: TINY.vary(tta=tta) for tta in VIEWS}
NETS |= {
    "a grid": TINY.vary(grid=2, size=64, tta="flip"),
    "neighbours": TINY.vary(loss="arcface", neighbours=3),
    "sub-centres": TINY.vary(loss="subcentre-arcface"),
    "sparsemax": TINY.vary(loss="sparsemax"),
    "gem": TINY.vary(pool="gem"),
    "another size": TINY.vary(test_size=48),
}


@pytest.mark.parametrize("name", NETS)
def test_a_net_is_the_same_in_a_graph(name, tmp_path):
    from safetensors.torch import load_file

    config = NETS[name]
    file = saved_net(config, tmp_path)
    pixels = pictures(4, config.seen_size)
    if config.grid:
        pixels[0, 32:] = 128  # two tiles of the first are empty, all of the second
        pixels[1] = 128
    expected = predict_fold(config, load_file(file), material_of(pixels), CPU, exactly=True)
    with torch.inference_mode():
        got = TrainedNet(config, file, "multiclass", 3, 3).eval()(torch.from_numpy(pixels)).numpy()
    assert np.abs(got - expected).max() < 1e-5


@pytest.mark.parametrize("loss", ["corn", "coral", "grade-mse", "expected-grade"])
def test_a_net_of_grades_is_the_same_in_a_graph(loss, tmp_path):
    from safetensors.torch import load_file

    config = TINY.vary(loss=loss)
    file, pixels = saved_net(config, tmp_path), pictures(4, 32)
    expected = predict_fold(config, load_file(file), material_of(pixels, "ordinal"), CPU, exactly=True)
    with torch.inference_mode():
        got = TrainedNet(config, file, "ordinal", 3, 3).eval()(torch.from_numpy(pixels)).numpy()
    assert np.abs(got - expected).max() < 1e-5


# --- a run -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_of_two(tmp_path_factory):
    """A run of two trials, hand-made features over two folds and a net of one, and a folder of new pictures."""
    folder = tmp_path_factory.mktemp("run")
    images = folder / "images"
    images.mkdir()
    draw = np.random.default_rng(0)
    files = []
    for i in range(40):
        colour = (200, 60, 40) if i % 2 else (40, 60, 200)
        image = np.array(colour) // 2 + draw.integers(0, 120, (70, 90, 3))
        files.append(str(images / f"p{i:02d}.{'jpg' if i % 3 else 'png'}"))
        Image.fromarray(image.astype(np.uint8)).save(files[-1])
    run = folder / "run"
    (run / "cache").mkdir(parents=True)
    goal, truth = Goal(metric_named("accuracy"), "multiclass"), np.arange(30) % 2
    fold_of = np.arange(30) % 2
    write_array(run / "target.npy", truth)
    target = read_target(run / "target.npy", 2)
    write_array(run / "fold_of.npy", fold_of)
    ids = tuple(f"p{i}" for i in range(30, 40))
    form = Form(("id", "label"), ids, "label")
    task = Task("colours", "multiclass", ("blue", "red"), (), (), truth, ids, (), form)
    write_json(run / "task.json", describe_task(task))
    trials = []
    for config in (
        Config(train="features", backbone="patches", size=64, tta="none", folds=(0, 1)),
        TINY.vary(folds=(0, 1)),
    ):
        pixels = build_pixels(files, Decoding(config.seen_size, "squash"), run / "cache")
        material = Material("multiclass", 2, target, fold_of, pixels.array)
        out, nets = store.trial_folder(run, config), store.nets_folder(run, config)
        reply = run_trial(config, material, out, nets, run / "cache", CPU)
        assert reply["status"] == "done", reply["note"]
        oof, test = store.predictions_of(run, config)
        scored = cross_fitted_score(TrainRows(goal, truth, fold_of), oof)
        trials.append(Trial(config, "baseline", "done", scored.score, scored.stderr, 1.0, oof, test))
        store.save_trial(run, trials[-1])
    blend = blend_of(trials, TrainRows(goal, truth, fold_of), allow=("mean",))
    store.save_blend(run, blend, learn_rule(goal, truth, blend.oof).to_json())
    store.update_run(run, Clock(60.0), metric=describe_metric(goal.metric), finished=True, words="two trials")
    return run, images


@pytest.fixture(scope="module")
def exported(run_of_two, tmp_path_factory):
    """The blend as both kinds of file."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    place, run = tmp_path_factory.mktemp("exported"), open_run(run_of_two[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "Worker", Inside)
        return [run.export("onnx", out=place / "blend.onnx"), run.export("torch", out=place / "blend.pt2")]


def test_an_exported_blend_answers_as_predict_does(exported):
    for each in exported:
        assert each.deviation < 1e-5
        assert each.pictures == 10
        assert "off predict on 10 pictures" in each.words


def test_the_description_says_what_using_the_file_takes(exported):
    for each in exported:
        about = json.loads(exporting.description_of(each.path).read_text())
        assert about["classes"] == ["blue", "red"]
        assert {row["name"]: row["size"] for row in about["inputs"]} == {"pictures_64": 64, "pictures_32": 32}
        assert about["decision"]["name"] == "argmax"
        assert about["check"]["pictures"] == 10
        assert all(seconds > 0 for seconds in about["check"]["seconds_a_picture"].values())
        assert len(about["members"]) == 2


def test_a_torch_file_holds_no_pickle(exported):
    with zipfile.ZipFile(exported[1].path) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        assert archive.getinfo(names["data/sample_inputs/model.pt"]).file_size == 0
        for kind in ("weights", "constants"):
            config = json.loads(archive.read(names[f"data/{kind}/model_{kind}_config.json"]))
            assert not any(payload["use_pickle"] for payload in config["config"].values())
        assert json.loads(archive.read(names["extra/autoclimb.json"]))["classes"] == ["blue", "red"]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_the_command_writes_the_best_trial_alone(run_of_two, format, tmp_path):
    file = tmp_path / f"best{exporting.ENDINGS[format]}"
    words = ["export", str(run_of_two[0]), "--format", format, "--best", "--images", str(run_of_two[1]), "--out"]
    done = subprocess.run([sys.executable, "-m", "autoclimb", *words, str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "off predict on 32 pictures" in done.stdout
    assert len(json.loads(exporting.description_of(file).read_text())["members"]) == 1


@pytest.mark.usefixtures("in_fp32")
def test_the_page_on_export_answers_as_predict_does(run_of_two, exported, tmp_path, monkeypatch):
    folder, images = run_of_two
    (tmp_path / "new-images").symlink_to(images)
    (tmp_path / "blend.onnx").symlink_to(exported[0].path)
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python3\n(.*?)```", (DOCS / "export.md").read_text(), re.DOTALL)
    assert code
    values: dict = {}
    exec(compile(code[1], "export.md", "exec"), values)
    monkeypatch.setattr(result, "Worker", Inside)
    run = open_run(folder)
    expected = run.predictions(images)
    assert np.abs(values["predictions"] - expected).max() < 1e-4
    assert values["names"] == run.predict(images)["label"].tolist()


def test_the_best_trial_alone_has_a_decision_and_a_score_of_its_own(run_of_two):
    run = open_run(run_of_two[0])
    alone, trials = exporting.best_alone(run, exporting.trials_of(run))
    assert len(trials) == len(alone.blend.members) == 1
    assert trials[0].score == max(trial.score for trial in exporting.trials_of(run))
    assert alone.rule["name"] == "argmax"


def test_a_file_that_is_off_is_not_written(run_of_two, tmp_path, monkeypatch):
    off = exporting.Comparison(np.full((3, 2), 0.5), np.full((3, 2), 0.6), {})
    monkeypatch.setattr(exporting, "write_and_compare", lambda *_: off)
    with pytest.raises(Mistake, match=r"1\.0e-01 off .* nothing was written"):
        open_run(run_of_two[0]).export("torch", out=tmp_path / "blend.pt2")
    assert not list(tmp_path.iterdir())


class Dying(Inside):
    """A worker that the system kills when it is asked for anything."""

    def ask(self, request, *given):
        if request["do"] == "hello":
            return super().ask(request, *given)
        raise Died("the worker process ended (killed, most likely for want of memory)", "memory")


def test_a_worker_that_dies_is_a_mistake_of_predict_and_of_export(run_of_two, tmp_path, monkeypatch):
    folder, images = run_of_two
    monkeypatch.setattr(result, "Worker", Dying)
    monkeypatch.setattr(exporting, "Worker", Dying)
    with pytest.raises(Mistake, match="want of memory"):
        open_run(folder).predict(images)
    with pytest.raises(Mistake, match="want of memory"):
        open_run(folder).export("torch", out=tmp_path / "blend.pt2")


def test_predicting_only_reads_the_runs_folder(run_of_two, monkeypatch):
    monkeypatch.setattr(result, "Worker", Inside)
    folder, images = run_of_two
    before = {path for path in folder.rglob("*") if path.name != "worker.log"}
    assert len(open_run(folder).predict(images)) == 40
    assert {path for path in folder.rglob("*") if path.name != "worker.log"} == before


# --- predict by the export --------------------------------------------------------------------------------------------


class Absent:
    """A worker that nobody may start."""

    def __init__(self, command: list[str], log: Path) -> None:
        raise AssertionError("the nets were asked")


@pytest.fixture
def with_export(run_of_two, exported, tmp_path, monkeypatch):
    """The run with its export in its place, ten times as fast as its nets, on a machine without a card."""
    folder = shutil.copytree(run_of_two[0], tmp_path / "run")
    file = exporting.place_of(folder, "blend", "onnx")
    file.parent.mkdir()
    shutil.copy(exported[0].path, file)
    about = read_json(exporting.description_of(exported[0].path))
    about["check"]["seconds_a_picture"] = {"nets": 0.1, "file": 0.01}
    write_json(exporting.description_of(file), about)
    monkeypatch.setattr(export_use, "has_card", lambda: False)
    return folder, run_of_two[1]


def changed(folder: Path, **values: object) -> None:
    """The export's description with other values."""
    path = exporting.description_of(exporting.place_of(folder, "blend", "onnx"))
    write_json(path, {**read_json(path), **values})


@pytest.mark.usefixtures("in_fp32")
def test_predict_asks_a_faster_export_instead_of_the_nets(with_export, monkeypatch):
    folder, images = with_export
    notes: list[str] = []
    monkeypatch.setattr(result, "Worker", Absent)
    got = open_run(folder).predictions(images, lambda event: notes.append(event.text))
    answers = open_run(folder).predict(images)
    assert "predicting by export/blend.onnx" in notes
    monkeypatch.setattr(export_use, "has_card", lambda: True)
    monkeypatch.setattr(result, "Worker", Inside)
    assert np.abs(open_run(folder).predictions(images) - got).max() < 1e-5
    assert open_run(folder).predict(images).equals(answers)


@pytest.mark.parametrize("count", [1, 17])
def test_an_export_answers_any_number_of_pictures(with_export, count, monkeypatch):
    folder, images = with_export
    monkeypatch.setattr(result, "Worker", Absent)
    files = sorted(images.iterdir())
    every = open_run(folder).predictions(files)
    assert np.abs(open_run(folder).predictions(files[:count]) - every[:count]).max() < 1e-5


def other_blend(folder: Path) -> None:
    changed(folder, digest="of another one")


def slower_file(folder: Path) -> None:
    changed(folder, check={"seconds_a_picture": {"nets": 0.1, "file": 0.09}})


def untimed_file(folder: Path) -> None:
    changed(folder, check={})


def damaged_file(folder: Path) -> None:
    exporting.place_of(folder, "blend", "onnx").write_bytes(b"no graph")


def damaged_description(folder: Path) -> None:
    exporting.description_of(exporting.place_of(folder, "blend", "onnx")).write_text('{"digest": ')


def file_of_another_blend(folder: Path) -> None:
    file = exporting.place_of(folder, "blend", "onnx")
    digest = read_json(exporting.description_of(file))["digest"].encode()
    assert digest in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(digest, b"0" * len(digest)))


def description_without_inputs(folder: Path) -> None:
    path = exporting.description_of(exporting.place_of(folder, "blend", "onnx"))
    write_json(path, {"check": read_json(path)["check"]})


def times_that_are_no_numbers(folder: Path) -> None:
    changed(folder, check={"seconds_a_picture": {"nets": 0.1, "file": None}})


@pytest.mark.parametrize(
    ("spoil", "note"),
    [
        (other_blend, "of an earlier blend: the nets predict"),
        (slower_file, ""),
        (untimed_file, ""),
        (damaged_file, "does not run"),
        (damaged_description, ""),
        (file_of_another_blend, "holds another blend than export/blend.onnx.json says"),
        (description_without_inputs, "of an earlier blend: the nets predict"),
        (times_that_are_no_numbers, ""),
    ],
)
def test_the_nets_answer_where_the_export_cannot(with_export, spoil, note, monkeypatch):
    folder, images = with_export
    notes: list[str] = []
    spoil(folder)
    monkeypatch.setattr(result, "Worker", Inside)
    assert len(open_run(folder).predictions(images, lambda event: notes.append(event.text))) == 40
    assert "predicting" in notes
    assert not note or any(note in text for text in notes)


def test_without_onnxruntime_the_nets_answer_and_a_note_says_what_is_missing(with_export, monkeypatch):
    folder, images = with_export
    notes: list[str] = []
    monkeypatch.setattr(export_use, "find_spec", lambda name: None)
    monkeypatch.setattr(result, "Worker", Inside)
    assert len(open_run(folder).predictions(images, lambda event: notes.append(event.text))) == 40
    assert any("with onnxruntime" in text for text in notes)


def test_another_score_of_a_member_is_another_blend(run_of_two):
    run = open_run(run_of_two[0])
    trials = exporting.trials_of(run)
    again = [replace(trials[0], score=trials[0].score + 1e-9), *trials[1:]]
    assert exporting.digest_of(run.blend, trials) == exporting.digest_of(open_run(run.folder).blend, trials)
    assert exporting.digest_of(run.blend, again) != exporting.digest_of(run.blend, trials)


@pytest.mark.parametrize(("file", "card"), [("nvidia0", True), ("nvidiactl", False), ("kfd", True), ("null", False)])
def test_a_card_is_known_by_its_device(file, card, tmp_path):
    (tmp_path / file).touch()
    assert export_use.has_card(tmp_path) == card


@pytest.mark.slow
def test_the_notebook_answers_a_folder_of_pictures(run_of_two, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    import nbformat

    folder, images = run_of_two
    monkeypatch.setenv("AUTOCLIMB_RUN", str(folder))
    monkeypatch.setenv("AUTOCLIMB_IMAGES", str(images))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    assert len((tmp_path / "submission.csv").read_text().splitlines()) == 41
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    kinds = {kind for output in shown for kind in output.get("data", ())}
    assert {"text/html", "image/png"} <= kinds


def test_the_notebook_is_kept_without_outputs():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "coreml"}, "choose from onnx, torch"),
        ({"format": "torch", "out": "blend.onnx"}, r"must end with \.pt2"),
    ],
)
def test_a_wrong_option_of_export_is_said_before_anything_is_written(run_of_two, options, message):
    with pytest.raises(Mistake, match=message):
        open_run(run_of_two[0]).export(**options)


def test_a_missing_package_is_named_with_the_command_that_installs_it(run_of_two, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(Mistake, match=r"needs onnxscript: pip install 'autoclimb\[export\]'"):
        open_run(run_of_two[0]).export("onnx")


def test_a_blend_of_trees_says_what_to_export_instead(tmp_path):
    with pytest.raises(Mistake, match=r"lightgbm cannot be exported.*--best"):
        BlendGraph([], {"method": "lightgbm"}, material_of(pictures(1, 8)), 3, tmp_path)


def test_hand_made_features_at_another_size_say_what_to_export_instead(tmp_path):
    config = Config(train="features", backbone="gradients", size=96)
    model = {"method": "best", "seeds": [[0]], "weights": [1.0], "sharpness": 1.0}
    with pytest.raises(Mistake, match="only of 64"):
        BlendGraph([Part(config, tmp_path, 0)], model, material_of(pictures(1, 8)), 3, tmp_path)


def test_a_run_whose_nets_go_by_other_names_today_is_refused(tmp_path):
    run = SimpleNamespace(folder=tmp_path, finished_blend=lambda: SimpleNamespace(members=("of older code",)))
    with pytest.raises(Mistake, match="made by an older autoclimb"):
        exporting.trials_of(run)
