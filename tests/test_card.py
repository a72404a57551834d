"""The model card: what the hub's own reader finds in it, whatever the data are called."""

import re
from dataclasses import replace
from functools import partial

import pytest
from huggingface_hub import ModelCard
from run_folders import HOSTILE, METRICS, run_folder

from autoclimb.config import Config
from autoclimb.report import model_card as card
from autoclimb.report.model_card import card_text
from autoclimb.run.cards import write_card
from autoclimb.run.reporting import record_of
from autoclimb.run.result import open_run
from autoclimb.types import Event, Trial


def text_for(folder):
    return card_text(record_of(open_run(folder)))


@pytest.mark.parametrize("kind", METRICS)
def test_the_hub_reads_the_metric_and_its_value(kind, tmp_path):
    folder = run_folder(tmp_path / "run", kind)
    run = open_run(folder)
    data = ModelCard(text_for(folder)).data
    [result] = data.eval_results
    assert (result.metric_type, result.dataset_name) == (run.metric.name, "pets")
    assert result.metric_value == pytest.approx(run.score, abs=1e-6)
    assert data.library_name == "autoclimb"


def test_the_card_says_score_interval_rows_members_and_classes(tmp_path):
    folder = run_folder(tmp_path / "run")
    run, text = open_run(folder), text_for(folder)
    low, high = run.interval
    assert f"{run.score:.4f} | {run.stderr:.4f} | {low:.4f} to {high:.4f} | 90 |" in text
    assert text.count("± ") == 3
    assert re.search(r"\| owl \| \d+ \|", text)


def test_hostile_names_are_no_markup(tmp_path):
    folder = run_folder(tmp_path / "run", classes=HOSTILE, rows=200, name=HOSTILE[0])
    text = text_for(folder)
    body = text.split("---", 2)[2]
    assert "<script" not in body.replace("\\<", "")
    assert "\u202e" not in text
    for line in body.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (3, 4, 6)
    assert ModelCard(text).data.eval_results[0].dataset_name == card.safe(HOSTILE[0], card.LONGEST)


def test_the_licence_is_that_of_the_weights_that_training_began_from():
    def member(weights):
        return Trial(Config(backbone="resnet18", weights=weights), "nets", "done", 0.9, 0.1, 1.0)

    assert "from scratch" in card.licence_section([member("")])
    assert "Apache-2.0" in card.licence_section([member("box"), member("")])
    assert "its page names" in card.licence_section([member("hub")])
    words = card.licence_section([member("/home/someone/weights/net.pth")])
    assert "given by --weights" in words
    assert "someone" not in words


def test_a_run_without_a_blend_has_a_card_too(tmp_path):
    text = text_for(run_folder(tmp_path / "run", blended=False, trials=0))
    assert "nothing was learnt" in text
    assert ModelCard(text).data.eval_results is None


def test_a_card_that_fails_is_a_note(tmp_path, monkeypatch):
    def broken(record):
        raise ZeroDivisionError("no rows")

    monkeypatch.setattr("autoclimb.run.cards.card_text", broken)
    notes: list[Event] = []
    folder = run_folder(tmp_path / "run")
    write_card(folder, partial(record_of, open_run(folder)), 60.0, notes.append)
    assert [event.text for event in notes] == [
        "the model card failed (ZeroDivisionError: no rows); the submission stands"
    ]
    assert not (folder / "model_card.md").exists()


def test_a_card_says_that_test_pictures_differ_only_where_that_is_known(tmp_path):
    record = record_of(open_run(run_folder(tmp_path / "run")))
    words = "The test pictures differ from the train pictures"
    assert words in card_text(replace(record, drift={"auc": 0.9}))
    for drift in ({}, {"auc": None, "verdict": "too few"}, {"auc": 0.55}):
        assert words not in card_text(replace(record, drift=drift))
