"""The whole story on small real folders: a command, a kill, the same command again, and the Python side of a run."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from faulty import raising
from folders import picture
from inside import Inside
from PIL import Image

import autoclimb
from autoclimb import solve
from autoclimb.budget import SLACK, Clock
from autoclimb.disk import write_json
from autoclimb.errors import Mistake
from autoclimb.run import result, store
from autoclimb.run.decoded import Decoded, OutOfTime
from autoclimb.run.setup import Setup
from autoclimb.run.trials import prepare, run_trial, seconds_for
from autoclimb.types import Event

pytestmark = pytest.mark.long

COMMAND = [sys.executable, "-m", "autoclimb", "fit"]
BUDGET = "10m"


def stripes_folder(folder: Path, n: int = 60, m: int = 12) -> Path:
    """A competition of noisy stripes: `along` or `across`; one test picture is no picture at all."""
    draw = np.random.default_rng(0)
    wave = 60 * np.sin(np.arange(32) * 0.8)
    rows = []
    for i in range(n + m):
        label = "across" if i % 2 else "along"
        lines = wave[None, :, None] if i % 2 else wave[:, None, None]
        picture = (128 + lines + draw.normal(0, 15, (32, 32, 3))).clip(0, 255).astype(np.uint8)
        place = folder / ("train" if i < n else "test") / f"p{i:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place)
        rows.append((f"p{i:03d}", label))
    (folder / "test" / f"p{n + m - 1:03d}.png").write_text("this is no picture")
    pd.DataFrame(rows[:n], columns=["id", "label"]).to_csv(folder / "train.csv", index=False)
    pd.DataFrame([(i, "along") for i, _ in rows[n:]], columns=["id", "label"]).to_csv(
        folder / "sample_submission.csv", index=False
    )
    return folder


PLAN = '''"""Features, then a small net for so many epochs: a plan that ends by itself on any machine."""

from autoclimb import Config


def two(history, situation):
    yield [Config(train="features", backbone="gradients", folds=tuple(range(situation.folds)))]
    narrow = (("channels", (8, 8, 16, 16)),)
    yield [Config(backbone="resnet10t", model_args=narrow, size=32, policy="none", batch=16, epochs=10.0)]


RECIPE = {"plan": [two]}
'''


def shortened_plan(folder: Path) -> Path:
    """A recipe of two short trials."""
    path = folder / "two_trials.py"
    path.write_text(PLAN)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return stripes_folder(tmp_path_factory.mktemp("data") / "stripes")


@pytest.fixture(scope="module")
def killed_and_continued(data, tmp_path_factory):
    """A run killed after its first trial and gone on with by the same command; its folder, and both outputs.

    Its plan ends long before its budget does, however busy the machine is.
    """
    out = tmp_path_factory.mktemp("runs") / "run"
    words = [*COMMAND, str(data), "--metric", "accuracy", "--budget", BUDGET, "--no-pretrained", "--out", str(out)]
    words += ["--recipe", str(shortened_plan(out.parent))]
    first = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as going:
        for line in going.stdout:
            first.append(line)
            if "blend of 1" in line:
                os.kill(going.pid, signal.SIGKILL)
                break
    valid_then = len(pd.read_csv(out / "submission.csv"))
    before = {p.parent.name: p.stat().st_mtime_ns for p in out.glob("trials/*/trial.json")}
    again = subprocess.run(words, capture_output=True, text=True, check=True)
    return out, "".join(first), again.stdout, before, valid_then


def test_a_killed_run_had_a_valid_submission_and_goes_on_from_its_finished_trials(killed_and_continued):
    out, first, second, before, valid_then = killed_and_continued
    assert valid_then == 12
    assert before
    assert "trial 1" in first
    after = {p.parent.name: p.stat().st_mtime_ns for p in out.glob("trials/*/trial.json")}
    assert all(after[key] == written for key, written in before.items())
    assert len(after) > len(before)
    assert "out of fold" in second
    assert "this run goes on: " in second
    assert "this run goes on: " not in first
    assert "of the speed that was measured before" in second, "said at the end, though the plan knows no finalists"


def test_an_exhausted_plan_ends_early_and_the_answers_are_right(killed_and_continued):
    out = killed_and_continued[0]
    run = autoclimb.open_run(out)
    assert run.finished
    assert run.spent < 600
    assert "plan is exhausted" in run.words
    assert run.score > 0.9
    answers = pd.read_csv(run.submission)
    assert list(answers.columns) == ["id", "label"]
    assert (answers.label[:11] == ["along" if i % 2 == 0 else "across" for i in range(11)]).mean() > 0.9


def test_the_unreadable_picture_was_named_and_answered(killed_and_continued):
    out, first, *_ = killed_and_continued
    assert "1 unreadable pictures" in first
    assert "p071" in first
    assert pd.read_csv(out / "submission.csv").label.isin(["along", "across"]).all()


def test_a_finished_run_says_so_and_ends_at_once(killed_and_continued, data):
    out = killed_and_continued[0]
    events: list[Event] = []
    recipe = shortened_plan(out.parent)
    run = autoclimb.fit(
        data, metric="accuracy", budget=BUDGET, pretrained=False, out=out, recipe=recipe, tell=events.append
    )
    assert "finished before" in events[0].text
    assert len(events) == 1
    assert run.finished


def test_another_metric_or_seed_in_the_same_folder_is_a_mistake(killed_and_continued, data):
    out = killed_and_continued[0]
    for change in ({"metric": "log-loss"}, {"metric": "accuracy", "seed": 3}):
        with pytest.raises(Mistake, match="--out"):
            autoclimb.fit(data, budget="2h", pretrained=False, out=out, recipe=shortened_plan(out.parent), **change)


def test_a_run_shows_its_trials_and_predicts_its_own_test_pictures_as_it_submitted_them(killed_and_continued, data):
    out = killed_and_continued[0]
    run = autoclimb.open_run(out)
    board = run.leaderboard()
    assert len(board) == len(list(out.glob("trials/*/trial.json"))) + 1
    assert run.oof.shape == (60, 2)
    pictures = sorted((data / "test").glob("*.png"))[:-1]
    answers = run.predict(pictures)
    submitted = pd.read_csv(run.submission)
    assert answers.columns.tolist() == ["id", "label"]
    assert (answers.label == submitted.label[:11]).all()
    with pytest.raises(Mistake, match="cannot be read"):
        run.predict(data / "test")


@pytest.fixture
def inside(monkeypatch):
    """Runs whose worker answers in this process."""
    for module in (solve, result):
        monkeypatch.setattr(module, "Worker", Inside)


def test_a_folder_without_test_pictures_ends_with_nets_that_predict_others(data, inside, tmp_path):
    for row in pd.read_csv(data / "train.csv").itertuples():
        (tmp_path / "photos" / row.label).mkdir(parents=True, exist_ok=True)
        shutil.copy(data / "train" / f"{row.id}.png", tmp_path / "photos" / row.label)
    events = []
    out, plan = tmp_path / "run", shortened_plan(tmp_path)
    how = {"metric": "accuracy", "budget": BUDGET, "pretrained": False, "recipe": plan}
    run = autoclimb.fit(tmp_path / "photos", out=out, tell=events.append, **how)
    assert any("no test pictures" in event.text for event in events)
    assert not any(event.facts.get("submission") for event in events)
    assert not run.submission.exists()
    assert run.score > 0.8
    answers = run.predict(sorted((data / "test").glob("*.png"))[:-1])
    assert answers.columns.tolist() == ["id", "label"]
    assert (answers.label == ["along", "across"] * 5 + ["along"]).mean() > 0.8


def test_a_run_without_the_time_to_get_ready_keeps_the_nets_that_the_user_has_room_for(
    data, inside, tmp_path, monkeypatch
):
    def at(*how):
        raise OutOfTime

    setups = []
    monkeypatch.setattr(Decoded, "at", at)
    monkeypatch.setattr(solve, "publish_unblended", setups.append)
    run = autoclimb.fit(data, metric="accuracy", budget=60, out=tmp_path / "run", nets_gb=7.0, label_shift=False)
    assert (setups[0].nets_limit, setups[0].label_shift) == (7e9, False)
    assert "nothing was learnt" in run.words


def test_a_run_whose_card_is_gone_answers_what_is_finished_and_goes_on_when_it_is_back(
    data, inside, tmp_path, monkeypatch
):
    def frozen(history, situation):
        for size in sizes:
            yield [autoclimb.Config(train="features", backbone="gradients", size=size, folds=(0, 1, 2))]

    def gone(*how):
        raise Mistake("--device 'cuda': torch sees 0 CUDA devices here; write cpu or auto")

    events, sizes = [], [64]
    how = {"metric": "accuracy", "budget": 120, "out": tmp_path / "run", "pretrained": False, "plan": [frozen]}
    with monkeypatch.context() as without:
        without.setattr(Inside, "greet", gone)
        with pytest.raises(Mistake, match=r"^--device 'cuda'"):
            autoclimb.fit(data, **how)
    constant = (tmp_path / "run" / "submission.csv").read_text()
    with monkeypatch.context() as killed:
        killed.setattr(solve, "finish", raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            autoclimb.fit(data, **how)
    (tmp_path / "run" / "submission.csv").write_text(constant)
    (tmp_path / "run" / "blend.json").unlink()  # as if it had been killed before it was blended
    sizes.append(32)
    with monkeypatch.context() as without:
        without.setattr(Inside, "greet", gone)
        run = autoclimb.fit(data, **how, tell=events.append)
    assert run.submission.read_text() != constant
    assert run.words.endswith(
        "no more can be trained: " + "--device 'cuda': torch sees 0 CUDA devices here; write cpu or auto"
    )
    assert (run.folder / "report.html").exists()
    assert any("of the seconds planned" in event.text for event in events)
    run = autoclimb.fit(data, **how)
    assert run.words.endswith("the plan is exhausted")
    assert len(run.leaderboard()) == 3
    asked_again = []
    autoclimb.fit(data, **how, tell=asked_again.append)
    assert "finished before" in asked_again[0].text


def test_python_takes_a_metric_a_space_and_a_plan_of_the_users_own(data, inside, tmp_path):
    import albumentations as A

    def mostly_right(truth, answers):
        return float((truth == answers).mean()) ** 2

    def two_nets_and_their_student(history, situation):
        net = autoclimb.Config(backbone="resnet10t", size=32, epochs=1, batch=16, policy="mine", folds=(0, 1))
        net = net.vary(preprocess="trim+crop+clahe")
        yield [net, net.vary(lr=1e-3)]
        yield [net.vary(teachers=(net.nets_key, net.vary(lr=1e-3).nets_key), seed=1)]

    run = autoclimb.fit(
        data,
        metric=autoclimb.Metric("squared-accuracy", mostly_right, wants="label"),
        budget=600,
        out=tmp_path / "run",
        space=autoclimb.SearchSpace(policies={"mine": A.Compose([A.HorizontalFlip()])}),
        plan=[two_nets_and_their_student],
        pretrained=False,
    )
    assert run.metric.name == "squared-accuracy"
    board = run.leaderboard()
    trials = board[board.stage == "two_nets_and_their_student"]
    assert trials.status.tolist() == ["done"] * 3
    assert trials.config.str.contains("student of 2").sum() == 1
    assert np.isfinite(run.score)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["finished"]
    assert list(run.hello(tmp_path).pipelines) == ["mine"]
    assert autoclimb.open_run(tmp_path / "run").score == pytest.approx(run.score)
    shown = json.loads((tmp_path / "run" / "gallery" / "gallery.json").read_text())
    assert shown["sheet"]["trial"] in {trial.key for trial in store.all_trials(run.folder)}
    assert set(shown["maps"]) <= {"trial", "note"}
    assert "augmented in training: mine" in (run.folder / "report.html").read_text()


def test_a_trial_whose_pixels_do_not_fit_on_the_disk_fails_and_the_run_goes_on(tmp_path, monkeypatch):
    files = [str(picture(tmp_path / f"{i}.png", seed=i)) for i in range(4)]
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=100))
    store.open_folder(tmp_path / "run")
    events, clock = [], Clock(60)
    decoded = Decoded(tmp_path / "cache", tuple(files), clock, events.append)
    setup = Setup(None, None, None, tmp_path / "run", None, decoded, clock, events.append)  # type: ignore[arg-type]
    trial = run_trial(setup, autoclimb.Config(size=16), "resize")
    assert trial.status == "failed"
    assert "do not fit" in trial.note
    assert store.recall_trial(tmp_path / "run", trial.config).status == "failed"
    prepare(setup, trial.config)


def test_features_may_not_take_all_the_time_before_a_trial_is_done(tmp_path):
    now = [20.0]
    clock = Clock(100.0, now=lambda: now[0], start=0.0)
    nobody: Any = None
    setup = Setup(nobody, nobody, nobody, tmp_path, nobody, nobody, clock, nobody)
    features = autoclimb.Config(train="features", backbone="patches")
    assert seconds_for(setup, features) == pytest.approx(SLACK.first_features_share * 80)
    assert 70 < seconds_for(setup, autoclimb.Config(seconds=5.0)) < 80
    write_json(tmp_path / "blend.json", {"score": 0.5})
    assert 70 < seconds_for(setup, features) < 80


def test_a_wrong_preprocess_is_said_before_anything_is_read(tmp_path):
    with pytest.raises(Mistake, match=r"'stretch'.*squash"):
        autoclimb.fit(tmp_path / "absent", budget=9, space=autoclimb.SearchSpace(preprocess=["trim+stretch"]))


def test_an_unknown_name_in_a_space_is_said_before_anything_is_trained(data, inside, tmp_path):
    space = autoclimb.SearchSpace(losses=["focal", "nosuch"])
    with pytest.raises(Mistake, match=r"'nosuch'.*focal"):
        autoclimb.fit(data, metric="accuracy", budget=60, out=tmp_path / "run", pretrained=False, space=space)
    assert not store.all_trials(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("budget", [30, 60])
def test_the_whole_plan_uses_its_budget_and_keeps_to_it(budget, data, tmp_path):
    run = autoclimb.fit(data, metric="accuracy", budget=budget, pretrained=False, out=tmp_path / "run")
    assert run.finished
    assert run.spent <= budget
    assert run.spent >= 0.9 * budget or "plan is exhausted" in run.words
    assert run.score > 0.9
