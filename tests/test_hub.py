"""The hub, by a stand-in on this machine: nets are found, downloaded once, looked at, fine-tuned; and what breaks."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from folders import competition
from huggingface_hub import constants, file_download
from huggingface_hub.utils import close_session
from inside import Inside
from safetensors.torch import save

import autoclimb
from autoclimb import solve
from autoclimb.config import Config
from autoclimb.learn.backbones import build_net
from autoclimb.learn.faults import Unbuildable
from autoclimb.learn.hub import hub_answers
from autoclimb.run import store
from autoclimb.search.frozen import frozen_net
from autoclimb.search.starting import candidates

NET = "test_efficientnet.r160_in1k"  # timm's own for tests: .4 million weights in the form of its large sisters
WEIGHTS = f"/timm/{NET}/resolve/main/model.safetensors"


@dataclass
class Hub:
    """What the stand-in has, how it fails, and what it was asked for."""

    files: dict[str, bytes]
    failing: str = ""  # "status": 500 to everything; "halves": a connection that ends within each file
    asked: list[str] = field(default_factory=list)

    def downloads(self) -> int:
        """How often the weights were sent."""
        return self.asked.count(f"GET {WEIGHTS}")


def handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    """A handler of requests that answers as the hub does where a file is no large one of its store."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            body = hub.files.get(self.path)
            self.send_response(500 if hub.failing == "status" else 404 if body is None else 200)
            if body is not None:
                self.send_header("ETag", f'"{len(body):064x}"')
                self.send_header("X-Repo-Commit", "c" * 40)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            body = hub.files.get(self.path, b"")
            self.wfile.write(body[: len(body) // 2] if hub.failing == "halves" else body)

        def log_message(self, *words: object) -> None:
            return None

    return Handler


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """Weights of the net as somebody may have trained them."""
    torch.manual_seed(3)
    return timm.create_model(NET, pretrained=False).state_dict()


@pytest.fixture
def hub(weights, tmp_path, monkeypatch) -> Iterator[Hub]:
    """A hub with the one net, where timm looks for its own: nothing leaves this machine."""
    hub = Hub({WEIGHTS: save(weights)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(file_download, "time", SimpleNamespace(sleep=lambda seconds: None))  # before each new try
        close_session()
        yield hub
        close_session()
        server.shutdown()


def test_a_hub_that_answers_is_known_to_and_one_that_was_ruled_out_is_not_asked(hub, monkeypatch):
    assert hub_answers()
    with monkeypatch.context() as mistyped:
        mistyped.setattr(constants, "ENDPOINT", "https://hub..example:99999")
        assert not hub_answers()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not hub_answers()


def test_a_net_of_the_hub_has_its_weights_there_and_a_head_of_its_own(hub, weights):
    built = build_net(Config(backbone=NET, weights="hub"), 3)
    loaded = built.net.state_dict()
    own = {name for name in weights if name.startswith("classifier.")}
    assert own
    assert all(torch.equal(loaded[name], weights[name]) for name in weights.keys() - own)
    assert loaded["classifier.weight"].shape[0] == 3


def test_a_net_that_was_downloaded_is_built_again_without_a_word_to_the_hub(hub):
    config = Config(backbone=NET, weights="hub")
    first = build_net(config, 3).net.state_dict()
    hub.asked.clear()
    hub.failing = "status"
    again = build_net(config, 3).net.state_dict()
    assert hub.asked == []
    assert all(torch.equal(first[name], again[name]) for name in first if not name.startswith("classifier."))


@pytest.mark.parametrize("failing", ["status", "halves"])
def test_a_download_that_fails_is_a_net_that_cannot_be_built(hub, failing, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the hub's client asks again after up to 8 s, five times
    hub.failing = failing
    with pytest.raises(Unbuildable, match=NET):
        build_net(Config(backbone=NET, weights="hub"), 3)


def test_a_file_of_the_hub_that_holds_no_weights_is_a_net_that_cannot_be_built(hub):
    hub.files[WEIGHTS] = b"a page that says: too many requests"
    with pytest.raises(Unbuildable, match=NET):
        build_net(Config(backbone=NET, weights="hub"), 3)


def looks_and_trains(history, situation):
    """Frozen features of the hub's net, then two folds of it."""
    [net] = candidates(situation)
    row = {"backbone": net.backbone, "weights": net.weights, "model_args": {}}
    yield [frozen_net(row, 32, situation, head="linear")]
    yield [net.vary(size=32, epochs=1.0, batch=8, folds=(0, 1), policy="none", tta="none")]


@pytest.mark.parametrize("failing", ["", "halves"])
def test_a_run_downloads_a_net_once_and_goes_on_where_it_cannot(hub, failing, tmp_path, monkeypatch):
    monkeypatch.setattr(solve, "Worker", Inside)
    hub.failing = failing
    notes: list[str] = []
    run = autoclimb.fit(
        competition(tmp_path / "data", train=30),
        metric="accuracy",
        budget=600,
        out=tmp_path / "run",
        space=autoclimb.SearchSpace(backbones=[NET]),
        plan=[looks_and_trains],
        tell=lambda event: notes.append(event.text),
    )
    assert any("timm's hub" in note for note in notes)
    trials = {t.config.train: t for t in store.all_trials(run.folder) if t.config.weights == "hub"}
    if failing:
        assert {t.status for t in trials.values()} == {"failed"}
        assert {t.facts["fault"] for t in trials.values()} == {"unbuildable"}
        assert run.submission.exists()
    else:
        assert {kind: t.status for kind, t in trials.items()} == {"features": "done", "net": "done"}
        assert hub.downloads() == 1
        assert np.isfinite(run.score)
