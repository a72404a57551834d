"""What do members of one kind bring a blend? Kept runs blended with and without them, scored on answers never seen.

    python benchmarks/members.py RUN ... --answers DIR --without head=knn [--out FILE]
    python benchmarks/members.py RUN ... --answers DIR --without share [--out FILE]

`--without` names a value of Config: trials that have it are left out; or the share that the nets' own blend has beside
frozen features. DIR/<set>.csv holds a run's answers in the submission's form. The gain is that of all members over the
others, with the standard error of the paired difference.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from honesty import head, row, test_truth
from record import append, heading

from autoclimb.blend.choose import blend_of
from autoclimb.blend.pools import NETS_SHARE
from autoclimb.run.reporting import record_of
from autoclimb.run.result import open_run
from autoclimb.score.crossfit import rule_of, standard_error
from autoclimb.score.rules import answer


def main() -> None:
    """Makes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--without", required=True, metavar="FIELD=VALUE|share")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.out:
        append(options.out, heading("kept runs blended with and without some members"))
    for line in compared(options.runs, options.answers, options.without):
        print(line, flush=True)
        if options.out:
            append(options.out, line + "\n")


def compared(runs: list[Path], answers: Path, without: str) -> Iterator[str]:
    """A row for each run, and the mean gain over runs in standard errors of their own."""
    yield head("run", "metric", "members", "out of fold, without", "with", "test, without", "with", "gain on the test")
    name, _, value = without.partition("=")
    sigmas = []
    for folder in runs:
        run = open_run(folder)
        record, target = record_of(run), test_truth(run, answers)
        done = [t for t in record.trials if t.status == "done"]
        others = [t for t in done if not value or str(getattr(t.config, name)) != value]
        cells, given = [], []
        for trials, nets_share in ((others, NETS_SHARE if value else 0.0), (done, NETS_SHARE)):
            blend = blend_of(trials, record.train, nets_share=nets_share)
            rule = rule_of(record.train, blend.oof)
            given.append(answer(rule, np.asarray(blend.test, np.float64)))
            cells.append(f"{run.metric.shown(blend.score):.4f} ± {blend.stderr:.4f}")
        scores = [record.goal.score(target, a) for a in given]
        gain, error = scores[1] - scores[0], standard_error(record.goal, target, given[1], None, given[0])
        sigmas.append(gain / error if error else 0.0)
        tests = [f"{run.metric.shown(score):.4f}" for score in scores]
        count = f"{len(done)}, {len(done) - len(others)} of them {value}" if value else f"{len(done)}"
        yield row(record.name, run.metric.name, count, *cells, *tests, f"{gain:+.4f} ± {error:.4f}")
    yield row("all", "", "", "", "", "", "", f"{np.mean(sigmas):+.2f} of their standard errors")


if __name__ == "__main__":
    main()
