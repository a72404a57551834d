"""Refinement by Optuna: it suggests values around the best config; its study can be opened in optuna-dashboard."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autoclimb.config import Config
from autoclimb.search.effects import single_fold
from autoclimb.search.fidelity import slots
from autoclimb.search.frozen import of_nets
from autoclimb.search.portfolio import tta_for
from autoclimb.search.situation import Situation
from autoclimb.search.stages import DOZEN, first_net, leader, search_base
from autoclimb.seeds import seed_of
from autoclimb.types import History

JOURNAL = "study.journal"
MOST_SUGGESTIONS = 60


@of_nets
def refinement(history: History, s: Situation, journal: Path | None = None) -> Iterator[list[Config]]:
    """Rates, decay, mixing, smoothing and dropout near the best single-fold config, suggested by TPE.

    The study is rebuilt each time, so that a resumed run asks for the same configs and finds them on record. Its
    journal is written from the beginning too, since one with a torn last line could not be continued.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    base = first_net(history, s)
    beyond = max(0, slots(s, base) - 1 - DOZEN)
    count = min((beyond + 1) // 2, MOST_SUGGESTIONS)  # stages.allowed hands out the other half
    if not count:
        return
    logging.getLogger("optuna").setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = None
    if journal is not None:
        journal.unlink(missing_ok=True)
        storage = JournalStorage(JournalFileBackend(str(journal)))
    sampler = optuna.samplers.TPESampler(seed=seed_of(s.seed, "refine") % 2**31, n_startup_trials=5)
    study = optuna.create_study(study_name="refine", direction="maximize", storage=storage, sampler=sampler)
    centre = leader(history, s)
    for trial in single_fold(history, search_base(history, s)):
        if (trial.config.backbone, trial.config.size) == (centre.backbone, centre.size):
            known_values = _values(trial.config, centre, s)
            if known_values is None:
                continue  # its values could not have been drawn
            study.enqueue_trial(known_values, user_attrs={"key": trial.key})
            enqueued = study.ask()
            _suggested(enqueued, centre, s)  # sets its distributions, so that the sampler learns from it
            study.tell(enqueued, trial.score)
    for _ in range(count):
        suggestion = study.ask()
        config = _suggested(suggestion, centre, s)
        suggestion.set_user_attr("key", config.key)
        suggestion.set_user_attr("config", json.dumps(config.to_json()))
        before = len(history.trials)
        yield [config]
        asked_for = (t for t in history.trials[before:] if t.config.nets_key == config.nets_key)
        done = next((t for t in asked_for if t.status == "done"), None)
        if done is None:
            study.tell(suggestion, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(suggestion, done.score)


def _ranges(centre: Config, s: Situation) -> dict[str, tuple[float, float]]:
    """Low and high of each value that is drawn: the user's, or around the centre's."""
    ranges: dict[str, Any] = {
        "lr": s.space.lr or (centre.lr and (centre.lr / 4, centre.lr * 4)),
        "weight_decay": s.space.weight_decay or (0.005, 0.3),
        "mixup": s.space.mixup or (0.0, 0.6),
        "cutmix": s.space.cutmix or (0.0, 1.0),
        "smoothing": s.space.smoothing or (0.0, 0.2),
        "dropout": s.space.dropout or (0.0, 0.5),
    }
    ranges |= {name: values for name, values in s.space.also.items() if isinstance(values, tuple)}
    if s.kind == "regression":
        ranges.pop("smoothing")
    if not ranges["lr"]:
        ranges.pop("lr")  # each trial finds its own
    return ranges


def _suggested(trial: Any, centre: Config, s: Situation) -> Config:
    """The centre with the values that Optuna's trial suggests."""
    drawn: dict[str, Any] = {}
    for name, values in _ranges(centre, s).items():
        if isinstance(values, list):
            drawn[name] = trial.suggest_categorical(name, values)
        else:
            drawn[name] = round(trial.suggest_float(name, *values, log=name in ("lr", "weight_decay")), 6)
    for name, choices in _menus(s).items():
        drawn[name] = trial.suggest_categorical(name, choices)
    for name in s.space.also.keys() & _menus(s).keys():
        drawn[name] = json.loads(drawn[name])
    if "policy" in drawn and "tta" not in drawn:
        drawn["tta"] = tta_for(drawn["policy"], s.space)
    return Config.from_json({**centre.to_json(), **drawn})


def _values(config: Config, centre: Config, s: Situation) -> dict[str, Any] | None:
    """A config's values under the names that are drawn, None where one of them could not have been drawn."""
    drawn: dict[str, Any] = {}
    for name, values in _ranges(centre, s).items():
        drawn[name] = getattr(config, name)
        drawable = drawn[name] in values if isinstance(values, list) else values[0] <= drawn[name] <= values[1]
        if not drawable:
            return None
    for name, choices in _menus(s).items():
        drawn[name] = getattr(config, name)
        drawn[name] = json.dumps(drawn[name]) if name in s.space.also else drawn[name]
        if drawn[name] not in choices:
            return None
    return drawn


def _menus(s: Situation) -> dict[str, list[str]]:
    """The menus to draw from: those of which the user named several rows."""
    space = s.space
    named = {"policy": space.names(), "optimizer": space.optimizers, "schedule": space.schedules, "tta": space.tta}
    named |= {"pool": space.pools, "class_weights": space.class_weights, "sampler": space.samplers}
    named |= {name: [json.dumps(row) for row in rows] for name, rows in space.also.items() if isinstance(rows, list)}
    return {name: rows for name, rows in named.items() if rows and len(rows) > 1}
