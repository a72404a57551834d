"""Where nets look and what augmentation makes of pictures: by the worker's room, and asked for at the end of a run."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import albumentations as A
import numpy as np
import pytest
import torch
from nets import CPU
from PIL import Image
from run_folders import run_folder

from autoclimb.budget import SLACK, Clock
from autoclimb.config import Config
from autoclimb.disk import write_array, write_json
from autoclimb.errors import Mistake
from autoclimb.learn.faults import Unbuildable
from autoclimb.learn.gradcam import Looking, class_maps, explain, in_places
from autoclimb.learn.material import Material
from autoclimb.learn.sheet import TILE, write_sheet
from autoclimb.learn.trial import run_trial
from autoclimb.learn.worker import setting_of
from autoclimb.protocol import request_of
from autoclimb.report.findings import errors_of
from autoclimb.run import gallery
from autoclimb.run.gallery import NO_TIME, complete_gallery, fill_gallery, read_gallery
from autoclimb.run.reporting import for_gallery, items_of, record_of
from autoclimb.run.result import open_run
from autoclimb.run.store import update_run
from autoclimb.run.worker import Died, Late

TINY = Config(
    backbone="resnet10t", model_args=(("channels", (4, 4, 8, 8)),), fine_stem=True, size=32, epochs=1, batch=8
)


def material_of(n: int = 12, size: int = 32, width: int = 2) -> Material:
    pixels = np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)
    target = np.eye(width, dtype=np.float32)[np.arange(n) % width]
    return Material("multiclass", width, target, np.arange(n) % 3, pixels)


def test_a_map_is_brightest_where_the_evidence_for_its_output_lies():
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    pixels[0, :8, :8, 0] = 255  # red, in the first corner
    pixels[0, -8:, -8:, 1] = 255  # green, in the last
    pixels[1] = pixels[0, ::-1, ::-1]
    material = replace(material_of(2), pixels=pixels)

    def see(x):
        features = torch.nn.functional.adaptive_avg_pool2d(x, 8).detach().requires_grad_()
        return features, features.mean((2, 3))

    looking = Looking(see, (0.0,) * 3, (1.0,) * 3, 3)
    maps = class_maps(looking, material, [0, 0, 1], [0, 1, 0], 32, CPU)
    assert maps.shape == (3, 8, 8)
    assert maps[0, 0, 0] == maps[1, -1, -1] == maps[2, -1, -1] == 255
    assert maps[0, -1, -1] == maps[1, 0, 0] == maps[2, 0, 0] == 0


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        TINY.vary(loss="arcface"),
        Config(backbone="vit_tiny_patch16_224", size=64, epochs=0.1, batch=8),
        Config(train="features", backbone="mobilenetv3_small_050", size=128, tta="flip"),
        Config(train="features", backbone="mobilenetv3_small_050", size=128, head="linear"),
        Config(train="features", backbone="resnet10t", size=128, tta="flip", layers=3, head="linear"),
    ],
    ids=["net", "cosines", "tokens", "kernel on features", "linear on features", "several layers"],
)
def test_the_net_that_held_a_row_out_looks_at_it(tmp_path, config):
    material = material_of()
    trial = config.vary(folds=(0, 1), policy="none")
    run_trial(trial, material, tmp_path / "out", tmp_path / "nets", tmp_path, CPU)
    reply = explain(trial, material, tmp_path / "nets", {0: 1, 1: 0, 2: 1, 3: 0}, CPU, tmp_path / "maps.npz")
    assert reply == {"shown": [0, 3, 1], "note": ""}  # row 2 is held out by a fold that was not trained
    with np.load(tmp_path / "maps.npz") as arrays:
        assert arrays["rows"].tolist() == [0, 3, 1]
        assert arrays["outputs"].tolist() == [1, 0, 0]
        assert arrays["maps"].dtype == np.uint8
        assert min(arrays["maps"].shape[1:]) >= 3
        assert arrays["maps"].max() == 255


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (TINY.vary(grid=2), "one by one"),
        (Config(train="features", backbone="gradients"), "hand-made"),
        (TINY.vary(backbone="resnet10t", fine_stem=False), "too few"),
    ],
    ids=["grid", "hand-made", "few places"],
)
def test_a_config_without_maps_gives_a_reason(tmp_path, config, why):
    material = material_of()
    if "few" in why:
        run_trial(config, material, tmp_path / "out", tmp_path, tmp_path, CPU)
    reply = explain(config, material, tmp_path, {0: 0}, CPU, tmp_path / "maps.npz")
    assert reply["shown"] == []
    assert why in reply["note"]
    assert not (tmp_path / "maps.npz").exists()


def test_without_time_no_net_is_built(tmp_path):
    material = material_of()
    run_trial(TINY, material, tmp_path / "out", tmp_path, tmp_path, CPU)
    reply = explain(TINY, material, tmp_path, {0: 0}, CPU, tmp_path / "maps.npz", left=lambda: 0.0)
    assert reply == {"shown": [], "note": ""}


def test_features_are_laid_out_by_place_whatever_a_net_does():
    x = torch.arange(2 * 5 * 4 * 4).view(2, 5, 4, 4).float()
    assert torch.equal(in_places(x, 5), x)
    assert torch.equal(in_places(x.permute(0, 2, 3, 1), 5), x)
    tokens = torch.cat([torch.zeros(2, 1, 5), x.flatten(2).transpose(1, 2)], 1)
    assert torch.equal(in_places(tokens, 5), x)
    with pytest.raises(Unbuildable, match="2 x 2 places"):
        in_places(x[:, :, :2, :2], 5)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_sheet_holds_pictures_as_decoded_and_below_as_augmented(tmp_path, channels):
    draw = np.random.default_rng(0)
    plain = draw.integers(0, 256, (12, 4, 4, channels), np.uint8).repeat(8, 1).repeat(8, 2)
    material = replace(material_of(), pixels=plain)
    blocks = [[0, 2, 4, 6], [1, 3, 5, 7]]
    for policy, alike in (("none", True), ("dihedral", False)):
        write_sheet(TINY.vary(policy=policy), material, blocks, tmp_path / "sheet.jpg")
        sheet = np.asarray(Image.open(tmp_path / "sheet.jpg"), float).reshape(2, 2, TILE, 4 * TILE, 3)
        assert (np.abs(sheet[:, 0] - sheet[:, 1]).mean() < 1) == alike


# --- asked for at the end of a run -----------------------------------------------------------------------------------


class Asked:
    """A worker that remembers what it was asked and answers from a list."""

    def __init__(self, *replies):
        self.replies, self.requests = list(replies), []

    def ask(self, request, seconds):
        self.requests.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


@pytest.fixture
def setup_for(tmp_path):
    folder = run_folder(tmp_path / "run")

    def setup(*replies, decoded_already=True):
        pixels = SimpleNamespace(path=Path("pixels.npy")) if decoded_already else None
        return SimpleNamespace(
            folder=folder,
            worker=Asked(*replies),
            clock=Clock(600.0, now=lambda: 0.0, start=0.0),
            decoded=SimpleNamespace(decoded_already=lambda *_: pixels),
            task=SimpleNamespace(train_files=("",), test_files=(), channels=3),
        )

    return setup


def filled(setup, record) -> None:
    fill_gallery(setup, record, errors_of(record), 5.0)


def notes_of(setup) -> dict:
    return json.loads((setup.folder / "gallery" / "gallery.json").read_text())


def test_the_worst_mistakes_are_asked_about_and_the_next_member_where_the_first_cannot(setup_for):
    setup = setup_for({"shown": [], "note": "no places"}, {"shown": [3], "note": ""}, {})
    record = record_of(open_run(setup.folder))
    fill_gallery(setup, record, errors_of(record), 5.0)
    first, second, sheet = setup.worker.requests
    assert first["rows"] == second["rows"]
    assert all(record.class_of[row] != output for row, output in zip(first["rows"], first["outputs"], strict=True))
    assert [len(rows) for rows in sheet["blocks"]] == [4, 4, 4]
    assert notes_of(setup)["maps"] == {"trial": gallery.members_by_weight(record)[1].key, "note": ""}
    assert notes_of(setup)["sheet"]["blocks"] == sheet["blocks"]


@pytest.mark.parametrize(
    ("reply", "note"), [(Late("ended"), NO_TIME), (Died("killed for want of memory"), "killed for want of memory")]
)
def test_a_worker_that_ends_is_a_note(setup_for, reply, note):
    setup = setup_for(reply, {})
    filled(setup, record_of(open_run(setup.folder)))
    assert notes_of(setup)["maps"] == {"note": note}
    assert "trial" in notes_of(setup)["sheet"]


def test_pictures_that_would_have_to_be_decoded_are_not_asked_for(setup_for):
    setup = setup_for(decoded_already=False)
    filled(setup, record_of(open_run(setup.folder)))
    assert {name: values["note"] for name, values in notes_of(setup).items()} == {
        "maps": gallery.NOT_CACHED,
        "sheet": gallery.NOT_CACHED,
    }


def test_a_blend_without_trained_nets_has_no_sheet_and_says_so(setup_for):
    setup = setup_for({"shown": [3], "note": ""})
    record = record_of(open_run(setup.folder))
    frozen = tuple(replace(t, config=t.config.vary(train="features")) for t in record.trials)
    blend = replace(record.blend, members=tuple(t.key for t in frozen))
    filled(setup, replace(record, trials=frozen, blend=blend))
    assert "without augmentation" in notes_of(setup)["sheet"]["note"]


def test_a_gallery_that_is_damaged_is_empty(setup_for):
    setup = setup_for({"shown": [3], "note": ""}, {})
    filled(setup, record_of(open_run(setup.folder)))
    assert read_gallery(setup.folder).maps == {}  # the worker wrote no maps after all
    assert read_gallery(setup.folder / "elsewhere").looked == ""


def test_only_time_that_charts_leave_goes_to_nets():
    assert for_gallery(SLACK.report_gallery_least) == 0.0
    assert 0 < for_gallery(6.0) < 6.0


# --- asked for afterwards --------------------------------------------------------------------------------------------


class Starting(Asked):
    """A worker that starts when it is made, and ends."""

    def __init__(self, *replies):
        super().__init__(*replies)
        self.command = self.hello = None
        self.ended = False

    def __call__(self, command, log):
        self.command = command
        return self

    def greet(self, hello, seconds):
        self.hello = hello

    def end(self):
        self.ended = True


@pytest.fixture
def finished_run(tmp_path):
    """A run whose pictures are in its cache as its nets look at them."""
    folder = run_folder(tmp_path / "run")
    config = record_of(open_run(folder)).trials[0].config
    (array,) = (folder / "cache").glob("*.npy")
    facts = {"rows": 92, "size": config.cached_size, "channels": 3, "bad": [], "preprocess": "squash", "grid": 0}
    size = config.cached_size
    write_array(array, np.zeros((92, size, size, 3), np.uint8))
    write_json(array.with_suffix(".json"), facts)
    return folder


def completed(folder, worker, monkeypatch):
    monkeypatch.setattr(gallery, "Worker", worker)
    run = open_run(folder)
    record = record_of(run)
    complete_gallery(folder, record, errors_of(record), items_of(run), run.hello)
    return json.loads((folder / "gallery" / "gallery.json").read_text())


def test_what_there_was_no_time_for_is_asked_of_a_worker_later_and_once(finished_run, monkeypatch):
    worker = Starting({"shown": [3], "note": ""}, {})
    notes = completed(finished_run, worker, monkeypatch)
    assert [request["do"] for request in worker.requests] == ["explain", "sheet"]
    assert all(Path(request["pixels"]).exists() for request in worker.requests)
    assert worker.hello["fold_of"] == str(finished_run / "fold_of.npy")
    assert worker.ended
    assert notes["maps"]["note"] == notes["sheet"]["note"] == ""
    assert completed(finished_run, Starting(), monkeypatch) == notes


def test_the_worker_asked_later_knows_the_users_own_policies(finished_run, monkeypatch):
    pipelines = {"mine": json.dumps(A.Compose([A.HorizontalFlip()]).to_dict())}
    update_run(finished_run, Clock(600.0, now=lambda: 0.0, start=0.0), pipelines=pipelines)
    worker = Starting({"shown": [3], "note": ""}, {})
    completed(finished_run, worker, monkeypatch)
    assert setting_of(request_of({**worker.hello, "device": "cpu"})).material.pipelines == pipelines


def test_later_only_what_lacks_is_asked_for(finished_run, monkeypatch):
    (finished_run / "gallery").mkdir()
    before = {"maps": {"note": "hand-made"}, "sheet": {"note": NO_TIME}}
    write_json(finished_run / "gallery" / "gallery.json", before)
    worker = Starting({})
    notes = completed(finished_run, worker, monkeypatch)
    assert [request["do"] for request in worker.requests] == ["sheet"]
    assert notes["maps"] == {"note": "hand-made"}


def test_no_worker_is_started_where_pictures_are_gone(finished_run, monkeypatch):
    for file in (finished_run / "cache").glob("squash*"):
        file.unlink()
    worker = Starting()
    notes = completed(finished_run, worker, monkeypatch)
    assert worker.command is None
    assert {name: values["note"] for name, values in notes.items()} == {
        "maps": gallery.NOT_CACHED,
        "sheet": gallery.NOT_CACHED,
    }


def test_a_bug_of_the_worker_is_a_note_of_one_line(finished_run, monkeypatch):
    bug = RuntimeError("in the worker:\nTraceback\nKeyError: 'policy'")
    notes = completed(finished_run, Starting(bug, Mistake("unknown policy")), monkeypatch)
    assert (notes["maps"]["note"], notes["sheet"]["note"]) == ("KeyError: 'policy'", "unknown policy")


def test_nets_of_a_run_in_progress_are_not_asked(tmp_path, monkeypatch):
    folder = run_folder(tmp_path / "run", finished=False)
    monkeypatch.setattr(gallery, "Worker", None)
    run = open_run(folder)
    record = record_of(run)
    complete_gallery(folder, record, errors_of(record), items_of(run), run.hello)
    assert not (folder / "gallery").exists()
