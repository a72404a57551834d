"""A bank of trials, and the controller replayed against it: an hour of search in a second, thousands a night.

    uv run python benchmarks/bank.py rows --sets leaf99
    uv run python benchmarks/bank.py record --sets leaf99,elpv_defect [--minutes 30]
    uv run python benchmarks/bank.py adopt --bench autoclimb-runs/bench
    uv run python benchmarks/bank.py rates --sets leaf99
    uv run python benchmarks/bank.py replay --budgets 5m,10m,30m,2h

`record` trains the configs of `rows` over all folds of a set and adds each, as it ends, to `bank/SET.npz`: its
predictions out of fold, those of the first fold's net and of all nets for the test rows, and what it told of itself.
There are no labels in it; a row of leaf99, with 99 classes, takes 83 kB. It goes on from that file, on any machine:
what else a recording leaves on disk (`--work`) may be deleted. The most important configs come first, and with
`--minutes` none is started after so many. `rows` lists them with the seconds that they are planned to take; on two
quiet cores of an AMD EPYC, by the speeds in LOG.md, in all:

| rows | leaf99, elpv_defect, sign_digits, fod_multilabel | intel_scenes | cifar10 |
|---|---|---|---|
| 10: frozen features | 2 to 3 minutes | 5 | 10 |
| 18: and nets of every part that trains, all of the smaller one at two lengths | 60 | 70 | 135 |
| 25: and what `fixed` asks for at 30 minutes, other sizes | 100 | 125 | 250 |
| 37: and seeds, policies, mixing, whole nets at 224 px | 225 | 310 | 600 |

The files in `bank/` were recorded on an NVIDIA H100 with 16 cores, all six sets at once in 278 s: 16 rows of each, 13
of cifar10; row 15, and 18 of three sets, on two cores. Where a recording was made does not matter to a replay. Those of
elpv_defect and fod_multilabel have plain folds: a run puts copies into one fold, and groups like pictures where the
test is farther from them, as labs do since; a recording of the two begins anew, from a deleted file.

`adopt` adds nets that the runs of a bench trained over all folds, of whatever solver, as long as they were: what
`fixed` and random search chose is then played by itself. Since a bench deals the same folds as a recording, nothing is
trained for it; runs with other folds are left out.

`rates` measures how fast the nets of the box and those from scratch are, the best of several looks, on a machine that
does nothing else, and keeps that in rates.json, with the machine. A replay takes all its times from there, or without
that file from the table of dry runs; never from how long a recording took, which may have had company.

`replay` runs the real controller with its real stages and blend on a clock that only trials move. A trial that is
asked for is played by the recorded one most like it, at the nearest recorded length; of a net that was not recorded by
another of its family. Shorter lengths are trainings of their own: half of one cycle is no short training. How unlike
the recordings are to what was asked for stands beside each replay, "apart": 1 is another policy, or a recording half as
long; 4 half the pixels a side; 6 another net. Above 3 or so a replay says little.
Solvers are rows of SOLVERS: a change of the controller is judged against `fixed`, `random` and its own ablations on the
same bank, set by set and seed by seed.
"""

import argparse
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from bank_rows import planned, rows, situation_for, words_of
from lab import FOLDS, SUITE, Lab, opened
from record import append, heading, show
from recordings import Record, load, save
from replays import HEAD, SOLVERS, SUMMARY, Cell, Replay, known_set, replay, row_of, summary
from speeds import measure_of, measure_rates, nets_to_measure, words_of_rates

import autoclimb
from autoclimb import Config
from autoclimb.arrays import read_predictions
from autoclimb.budget import in_words, seconds_of
from autoclimb.contest.suite import read_suite
from autoclimb.disk import read_json, write_json
from autoclimb.run import store
from autoclimb.score.crossfit import cross_fitted_score

BANK = Path(__file__).parent / "bank"
RATES = Path(__file__).parent / "rates.json"
WORK = Path("autoclimb-runs") / "bank"
TRIAL_LIMIT = 6 * 3600.0  # seconds of one trial, far beyond what the longest takes beside other work
Rows = Callable[[Lab, list[Record]], Iterator[Config]]  # of a set, with the records that it has when they are asked


def record_set(
    suite: Path, name: str, path: Path, work: Path, configs: Rows, minutes: float = math.inf
) -> list[Record]:
    """The records of a set's file, which gets each of the `configs` as it ends.

    What is there is not trained again, nothing is started after `minutes`, and a trial that was ended goes on from the
    folds that it left in `work`, if they are still there.
    """
    folder, began = work / name, time.monotonic()
    with opened(suite, name, folder) as lab:
        records, fold_of = load(path) if path.exists() else ([], lab.fold_of)
        if not np.array_equal(fold_of, lab.fold_of):
            raise SystemExit(f"{path} was recorded with other rows or folds; delete it to record the set anew")
        for number, config in enumerate(configs(lab, records), 1):
            if any(record.config == config for record in records):
                continue
            if time.monotonic() - began > 60 * minutes:
                print(f"{name}: {len(records)} configs recorded after {minutes:g} minutes", flush=True)
                break
            start = time.monotonic()
            record, words = recorded(lab, config, folder / config.key)
            if record is not None:
                records.append(record)
                save(path, records, fold_of)
            shutil.rmtree(folder / config.key, ignore_errors=True)  # a trial may fail before it has a folder
            print(f"{name} {number} {words_of(config)}: {words} in {in_words(time.monotonic() - start)}", flush=True)
    return records


def adopted(bench: Path, name: str, fold_of: np.ndarray) -> Iterator[Record]:
    """The nets over all folds of a bench's runs on the set, each of the length that it had when its time was over."""
    for run in sorted(bench.glob(f"cells/{name}-*/run")):
        if not np.array_equal(store.read_folds(run), fold_of):
            print(f"{run}: other folds than the bank's, left out", flush=True)
            continue
        for trial in store.all_trials(run):
            if (trial.status, trial.config.train, len(trial.config.folds)) != ("done", "net", FOLDS):
                continue
            oof = np.asarray(trial.oof)
            by_first = by_first_net(run, oof[fold_of == 0])
            if by_first is not None and trial.test is not None:
                config = trial.config.vary(seconds=0.0, epochs=trial.facts["epochs"])
                yield Record(config, trial.facts, oof, np.asarray(trial.test), by_first)


def by_first_net(run: Path, held_out: np.ndarray) -> np.ndarray | None:
    """The test predictions of the run's net that predicted the first fold's rows so; None where it is gone.

    A folder of nets is named after what a config was made of in its time, so the predictions say which one it is.
    """
    for path in run.glob("nets/*/fold0.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            own = arrays["oof_pred"]
            if own.shape == held_out.shape and np.array_equal(own.astype(np.float32), held_out, equal_nan=True):
                return arrays["test_pred"]
    return None


def adopt(bench: Path, path: Path) -> None:
    """Adds a bench's nets to the file of a set, those that it does not have."""
    records, fold_of = load(path)
    before = len(records)
    for record in adopted(bench, path.stem, fold_of):
        if record.config not in {known.config for known in records}:
            records.append(record)
            print(f"{path.stem}: {words_of(record.config)}", flush=True)
    if len(records) > before:
        save(path, records, fold_of)


def recorded(lab: Lab, config: Config, out: Path) -> tuple[Record | None, str]:
    """The record of a config's trial, None where it has not all folds, and its score or fault in words."""
    reply = lab.trial(config, out, TRIAL_LIMIT)
    if (reply["status"], reply["folds"]) != ("done", FOLDS):
        return None, f"{reply['status']}, {reply['folds']} folds: {reply['note']}"
    oof = np.asarray(read_predictions(out / "oof"))
    with np.load(out / "nets" / "fold0.npz", allow_pickle=False) as arrays:
        first = arrays["test_pred"]
    scored = cross_fitted_score(lab.train, oof)
    words = f"{lab.metric.name} {lab.metric.shown(scored.score):.4f}"
    return Record(config, reply["facts"], oof, np.load(out / "test.npy", allow_pickle=False), first), words


def main() -> None:
    """List rows, record, adopt, measure rates, or replay."""
    parser = argparse.ArgumentParser(description="Record a bank of trials, or replay the controller against one.")
    parser.add_argument("do", choices=("rows", "record", "adopt", "rates", "replay"))
    parser.add_argument("--suite", type=Path, default=SUITE, help="names the sets, as autoclimb bench has them")
    parser.add_argument("--bank", type=Path, default=BANK, help="folder of bank files")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for what recording leaves on disk")
    parser.add_argument("--sets", default="", help="names, comma separated; default all in the bank")
    parser.add_argument("--minutes", type=float, default=math.inf, help="of recording a set, start no trial after them")
    parser.add_argument("--first", type=int, help="record only so many configs: to see that it works")
    parser.add_argument("--bench", type=Path, help="folder of a bench whose nets are adopted")
    parser.add_argument("--budgets", default="5m,10m,30m,2h")
    parser.add_argument("--solvers", default=",".join(SOLVERS))
    parser.add_argument("--against", default="fixed,random", help="whom the summary compares with")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    names = options.sets.split(",") if options.sets else [path.stem for path in sorted(options.bank.glob("*.npz"))]
    rates = read_json(RATES) if RATES.exists() else {}
    if not names:
        parser.error(f"{options.bank} holds no bank; name sets by --sets")
    if options.do == "rows":
        list_rows(options, names, rates)
    elif options.do == "record":
        options.bank.mkdir(parents=True, exist_ok=True)
        for name in names:
            path = options.bank / f"{name}.npz"
            record_set(options.suite, name, path, options.work, first_rows(options.first), options.minutes)
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB" if path.exists() else f"{name}: nothing", flush=True)
    elif options.do == "adopt":
        if options.bench is None:
            parser.error("name the bench whose nets are adopted by --bench")
        for name in names:
            adopt(options.bench, options.bank / f"{name}.npz")
    elif options.do == "rates":
        write_json(RATES, measure_rates(options.suite, names[0], options.work, rates, nets_to_measure()))
    else:
        replay_all(options, names, rates)


def first_rows(count: int | None) -> Rows:
    """The first `count` rows of a lab's set, None for all."""
    return lambda lab, records: islice(rows(situation_for(lab.task, lab.metric), records), count)


def list_rows(options: argparse.Namespace, names: Sequence[str], rates: dict[str, Any]) -> None:
    """Prints what is recorded of each set, and how long it is planned to take."""
    print(words_of_rates(rates))
    whole = read_suite(options.suite)
    for name in names:
        one, path = whole.set_named(name), options.bank / f"{name}.npz"
        metric = whole.metric_of(one)
        s = situation_for(autoclimb.read_task(whole.folder / one.data, metric), metric)
        configs = list(islice(rows(s, load(path)[0] if path.exists() else []), options.first))
        print(f"\n{name}", *planned(replace(s, measure=measure_of(rates)), configs), sep="\n")


def replay_all(options: argparse.Namespace, names: Sequence[str], rates: dict[str, Any]) -> None:
    """Replays everything asked for and appends both tables, rows as they come."""
    ended: dict[Cell, Replay] = {}
    sets = {name: known_set(options.suite, name, options.bank / f"{name}.npz") for name in names}
    measure = measure_of(rates)
    title = heading("the controller replayed against the bank").rstrip("\n")
    append(options.out, f"{title}\n- {words_of_rates(rates)}\n\n{HEAD}")
    for name, known in sets.items():
        for budget in map(seconds_of, options.budgets.split(",")):
            for solver in options.solvers.split(","):
                for seed in range(options.seeds):
                    cell = (name, budget, solver, seed)
                    played = replay(known, SOLVERS[solver], budget, seed, measure)
                    if played is None:
                        print(
                            f"{name}, {in_words(budget)}, {solver}: nothing like its trials is in the bank", flush=True
                        )
                        continue
                    ended[cell] = played
                    row = row_of(cell, played, known.goal)
                    show(options.out, row)
    goals = {name: known.goal for name, known in sets.items()}
    table = SUMMARY + "".join(summary(ended, goals, options.against.split(",")))
    append(options.out, table)
    print(table)


if __name__ == "__main__":
    main()
