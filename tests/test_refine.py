"""Refinement: Optuna suggests around the best, its journal can be opened, and a replay asks the same."""

import json
import warnings
from dataclasses import replace

import pytest
from fakes import check, situation, trial

from autoclimb.config import Config
from autoclimb.search.order import PLAN, plan_of
from autoclimb.search.refine import JOURNAL
from autoclimb.search.space import SearchSpace
from autoclimb.search.stages import leader
from autoclimb.types import History

HOURS = 96 * 3600.0


def ready(**changes) -> tuple:
    """A situation with time for refinement, and the history of a baseline and some moves."""
    s = situation(**{"budget": HOURS, "rows": 500, **changes})
    history = History()
    for batch in PLAN["baseline"](history, s):
        for config in batch:
            history.add(trial(config, "baseline"))
    base = leader(history, s)
    history.add(trial(base.vary(mixup=0.3), "augmentation"))
    return s, history


def refined(s, history, journal=None, ends="done", most=8) -> list[Config]:
    """What refinement asks for, at most that many."""
    (_, stage), _ = plan_of(["refine", "finalists"], journal.parent if journal else None)
    matches = []
    for [config] in stage(history, s):
        matches.append(config)
        history.add(trial(config, "refine", ends))
        if len(matches) == most:
            break
    return matches


def study_in(journal):
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    return optuna.load_study(study_name="refine", storage=JournalStorage(JournalFileBackend(str(journal))))


def test_what_is_suggested_is_valid_and_near_the_best():
    s, history = ready()
    centre = leader(history, s)
    found = refined(s, history)
    assert len({config.key for config in found}) == 8
    for config in found:
        check(config, s)
        assert centre.lr / 4 <= config.lr <= centre.lr * 4
        assert (config.backbone, config.size, config.seconds) == (centre.backbone, centre.size, centre.seconds)


def test_a_short_budget_is_not_refined():
    s, history = ready(budget=60.0)
    assert refined(s, history) == []


def test_the_journal_holds_the_trials_and_what_went_before(tmp_path):
    s, history = ready()
    before = [t.key for t in history.done(train="net")]
    found = refined(s, history, tmp_path / JOURNAL)
    study = study_in(tmp_path / JOURNAL)
    by_key = {t.user_attrs.get("key"): t for t in study.trials}
    assert set(by_key) >= {*before, *(config.key for config in found)}
    for config in found[:-1]:  # the last was not told: the generator was left
        assert by_key[config.key].value == trial(config).score
        assert Config.from_json(json.loads(by_key[config.key].user_attrs["config"])) == config


def test_the_journal_knows_the_values_of_earlier_trials(tmp_path):
    space = SearchSpace(policies=["flip", "medium"], optimizers=["adamw", "sgd"])
    s, history = ready(space=space)
    history.add(replace(trial(leader(history, s).vary(policy="medium", optimizer="sgd", lr=1e-3)), score=0.99))
    earlier = {t.key: t.config for t in history.done(train="net")}
    refined(s, history, tmp_path / JOURNAL, most=2)
    for known in study_in(tmp_path / JOURNAL).trials:
        config = earlier.get(known.user_attrs.get("key", ""))
        if config is not None:
            assert known.params == {name: getattr(config, name) for name in known.params}


def test_a_torn_journal_does_not_hurt(tmp_path):
    journal = tmp_path / JOURNAL
    s, history = ready()
    first = refined(s, history, journal)
    with journal.open("ab") as file:
        file.write(b'{"op_code": 4, "worker_id": "half')
    s, history = ready()
    assert refined(s, history, journal) == first
    assert len(study_in(journal).trials) >= len(first)


def test_a_replay_asks_the_same():
    assert refined(*ready()) == refined(*ready())


def test_another_seed_asks_for_something_else():
    first, second = refined(*ready()), refined(*ready(seed=1))
    assert not {config.lr for config in first} & {config.lr for config in second}


@pytest.mark.parametrize("status", ["failed", "late"])
def test_trials_that_fail_are_told_as_failed(tmp_path, status):
    s, history = ready()
    found = refined(s, history, tmp_path / JOURNAL, ends=status)
    states = {t.user_attrs.get("key"): t.state.name for t in study_in(tmp_path / JOURNAL).trials}
    assert {states[config.key] for config in found[:-1]} == {"FAIL"}


def test_an_earlier_trial_that_failed_is_no_knowledge():
    s, history = ready()
    history.add(trial(leader(history, s).vary(cutmix=1.0), status="failed"))
    assert len(refined(s, history)) == 8


def test_the_users_ranges_are_kept_to():
    space = SearchSpace(lr=(1e-3, 3e-3), dropout=(0.1, 0.2), smoothing=(0.05, 0.05))
    s, history = ready(space=space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = refined(s, history)
    for config in found:
        assert 1e-3 <= config.lr <= 3e-3
        assert 0.1 <= config.dropout <= 0.2
        assert config.smoothing == 0.05


def test_the_users_lists_are_drawn_from():
    space = SearchSpace(mixup=[0.2, 0.4], policies=["flip", "medium"], schedules=["onecycle", "cosine"])
    s, history = ready(space=space)
    for config in refined(s, history):
        assert config.mixup in (0.2, 0.4)
        assert config.policy in ("flip", "medium")
        assert config.schedule in ("onecycle", "cosine")


def test_numbers_are_not_smoothed_like_labels():
    s, history = ready(kind="regression", wants="number", metric="rmse")
    assert {config.smoothing for config in refined(s, history)} == {0.0}


def test_further_values_of_a_config_are_drawn_from_their_range_or_list(tmp_path):
    also = {"layer_decay": (0.6, 0.9), "swa": [0.0, 0.25], "scales": [[], [0.8, 1.2]]}
    s, history = ready(space=SearchSpace(also=also))
    found = refined(s, history, tmp_path / JOURNAL)
    assert all(0.6 <= config.layer_decay <= 0.9 for config in found)
    assert {config.swa for config in found} == {0.0, 0.25}
    assert {config.scales for config in found} == {(), (0.8, 1.2)}


def test_where_trials_find_their_own_rate_none_is_drawn():
    s, history = ready(space=SearchSpace(start={"lr": 0.0}))
    assert {config.lr for config in refined(s, history)} == {0.0}
