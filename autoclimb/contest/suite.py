"""Reading a suite from its TOML file: sets whose answers are known, solvers, budgets and seeds."""

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from autoclimb.budget import seconds_of
from autoclimb.errors import Mistake
from autoclimb.report.standing import MEDALS
from autoclimb.score.own import metric_from
from autoclimb.types import Metric

PLACES = ("data", "metric", "budget", "out", "seed")  # names in braces that a command's arguments may hold
PLACE = re.compile(r"(?<!\$)\{(\w+)\}")  # ${NAME} is the shell's
GIVEN = re.compile(r"--(metric|budget|seed|out)(=.*)?|-[qy]*[mbo].*", re.DOTALL)  # options of fit that a cell decides
KEYS = {
    "the suite": ("sets", "solvers", "budgets", "seeds"),
    "a set": ("data", "answers", "metric", "medals", "known"),
    "a solver": ("options", "command"),
}


@dataclass(frozen=True)
class Solver:
    """A command that solves a set: `autoclimb fit` with `options` or, where `command` is not empty, that command."""

    name: str
    options: tuple[str, ...] = ()
    command: tuple[str, ...] = ()  # may hold {data}, {metric}, {budget} (seconds), {out} (a csv) and {seed}


@dataclass(frozen=True)
class KnownSet:
    """A competition whose answers are known. Paths and an own metric's file are relative to the suite's folder."""

    name: str
    data: str
    answers: str  # a csv in the submission's form
    metric: str
    medals: tuple[tuple[str, float], ...] = ()  # (medal, the worst score that won one)
    known: tuple[tuple[str, float], ...] = ()  # (name, score) of others, for comparison


@dataclass(frozen=True)
class Suite:
    """A comparison: every solver on every set, at every budget, with every seed."""

    name: str
    folder: Path
    sets: tuple[KnownSet, ...]
    solvers: tuple[Solver, ...]
    budgets: tuple[float, ...]  # seconds
    seeds: tuple[int, ...]

    def metric_text(self, known_set: KnownSet) -> str:
        """The set's metric as `--metric` takes it: a name, or FILE.py:FUNCTION with the file's full path."""
        path, colon, name = known_set.metric.rpartition(":")
        return f"{self.folder / path}:{name}" if colon else known_set.metric

    def metric_of(self, known_set: KnownSet) -> Metric:
        """The set's metric; raises Mistake where it is unknown."""
        return metric_from(self.metric_text(known_set))

    def set_named(self, name: str) -> KnownSet:
        """The set of that name; raises Mistake where there is none."""
        (known_set,) = _named("set", self.sets, [name])
        return known_set

    def cells(self) -> "list[Cell]":
        """Every cell, a seed at a budget after the other, so that solvers can be compared early."""
        return [
            Cell(solver, known_set, budget, seed)
            for seed in self.seeds
            for budget in self.budgets
            for known_set in self.sets
            for solver in self.solvers
        ]


@dataclass(frozen=True)
class Cell:
    """One solver on one set, with one budget (seconds) and one seed."""

    solver: Solver
    known_set: KnownSet = field(repr=False)
    budget: float
    seed: int

    @property
    def definition(self) -> str:
        """A digest of the solver and the set as the suite defines them, so that a changed command is another cell."""
        definition = {name: value for name, value in asdict(self.known_set).items() if name not in ("medals", "known")}
        text = json.dumps([asdict(self.solver), definition], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    @property
    def folder(self) -> str:
        """The name of the cell's folder: unique, and plain whatever characters the names hold."""
        words = [
            re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII)[:40] for text in (self.known_set.name, self.solver.name)
        ]
        return "-".join([*words, f"{self.budget:.10g}s", f"seed{self.seed}", self.definition])


# --- reading ---------------------------------------------------------------------------------------------------------


def read_suite(path: str | Path) -> Suite:
    """The suite in a TOML file; its solver is autoclimb's default plan where it names none, its seed is 0 likewise.

    Raises Mistake for whatever in it cannot be used.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise Mistake(f"suite {path} cannot be read ({error.strerror or error}); name a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Mistake(f"suite {path} is no TOML: {error}") from error
    _check_keys(path.name, "the suite", values)
    suite = Suite(
        name=path.stem,
        folder=path.resolve().parent,
        sets=tuple(_read_set(f"{path.name}, set {n!r}", n, row) for n, row in _tables(path.name, values, "sets")),
        solvers=tuple(
            _read_solver(f"{path.name}, solver {n!r}", n, row) for n, row in _tables(path.name, values, "solvers")
        )
        or (Solver("autoclimb"),),
        budgets=budgets_from(values.get("budgets", ())),
        seeds=seeds_from(values.get("seeds", (0,))),
    )
    if not suite.sets:
        example = '[sets.NAME] with data = "FOLDER", answers = "FILE.csv", metric = "NAME"'
        raise Mistake(f"{path.name} names no set; write {example}")
    for known_set in suite.sets:
        try:
            _check_medals(known_set, suite.metric_of(known_set))
        except Mistake as mistake:
            raise Mistake(f"{path.name}, set {known_set.name!r}: {mistake}") from mistake
    return suite


def selected(
    suite: Suite,
    *,
    solvers: Sequence[str] | None = None,
    sets: Sequence[str] | None = None,
    budgets: Sequence[str | float] | None = None,
    seeds: Sequence[str | int] | None = None,
) -> Suite:
    """The suite with these solvers and sets only, and with these budgets and seeds instead of its own.

    Raises Mistake for unknown names, for sets whose files do not exist, and where no budget is given.
    """
    selection = replace(
        suite,
        solvers=_named("solver", suite.solvers, solvers),
        sets=_named("set", suite.sets, sets),
        budgets=suite.budgets if budgets is None else budgets_from(budgets),
        seeds=suite.seeds if seeds is None else seeds_from(seeds),
    )
    if not selection.budgets:
        raise Mistake(f'{suite.name} has no budgets; give --budgets 60s,5m or write budgets = ["60s", "5m"] in it')
    for known_set in selection.sets:
        _check_files(suite, known_set)
    return selection


def check_out(suite: Suite, folder: Path) -> None:
    """Raises Mistake where the bench's folder lies among a set's data."""
    for known_set in suite.sets:
        if _is_inside(folder, suite.folder / known_set.data):
            raise Mistake(
                f"--out {folder} lies inside the data of set {known_set.name!r} and would be read as a part of it; "
                "name a folder elsewhere"
            )


def budgets_from(values: Any) -> tuple[float, ...]:
    """Budgets in seconds, in the given order without repetition; raises Mistake where `values` is no list of them."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise Mistake(f'budgets = {values!r} is no list; write budgets = ["60s", "5m"]')
    wrong = [value for value in values if isinstance(value, bool) or not isinstance(value, str | int | float)]
    if wrong:
        raise Mistake(f'budgets hold {wrong[0]!r}; write budgets = ["60s", "5m"]')
    return tuple(dict.fromkeys(seconds_of(value) for value in values))


def seeds_from(values: Any) -> tuple[int, ...]:
    """Seeds, in the given order without repetition; raises Mistake where `values` is no list of whole numbers >= 0."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise Mistake(f"seeds = {values!r} is no list; write seeds = [0, 1]")
    texts = [str(value) for value in values]
    wrong = [text for text in texts if not text.strip().isdecimal()]
    if wrong or not texts:
        raise Mistake(f"seeds hold {wrong[0]!r}; give whole numbers" if wrong else "seeds is empty; write seeds = [0]")
    return tuple(dict.fromkeys(int(text) for text in texts))


def _named(kind: str, rows: tuple[Any, ...], names: Sequence[str] | None) -> tuple[Any, ...]:
    """The rows (solvers or sets, as `kind` says) with these names, all for None; raises Mistake for an unknown name."""
    if names is None:
        return rows
    if isinstance(names, str) or not names:
        raise Mistake(f'{kind}s = {names!r} is no list of names; write {kind}s = ["{rows[0].name}"]')
    by_name = {row.name: row for row in rows}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise Mistake(f"{kind} {unknown[0]!r} is not in the suite; it has {', '.join(by_name)}")
    return tuple(by_name[name] for name in dict.fromkeys(names))


def _tables(where: str, values: Mapping[str, Any], key: str) -> list[tuple[str, Mapping[str, Any]]]:
    rows = values.get(key, {})
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise Mistake(f"{where}: {key} is no table of tables; write [{key}.NAME] above the lines of each")
    return list(rows.items())


def _check_keys(where: str, table: str, values: Mapping[str, Any]) -> None:
    unknown = [key for key in values if key not in KEYS[table]]
    if unknown:
        raise Mistake(f"{where} has {unknown[0]!r}; {table} takes {', '.join(KEYS[table])}")


def _read_set(where: str, name: str, row: Mapping[str, Any]) -> KnownSet:
    _check_keys(where, "a set", row)
    for key in ("data", "answers", "metric"):
        if not isinstance(row.get(key), str) or not row[key]:
            raise Mistake(f'{where} has no {key}; write {key} = "..."')
    medals, known = _numbers(where, "medals", row), _numbers(where, "known", row)
    wrong = [colour for colour, _ in medals if colour not in MEDALS]
    if wrong:
        raise Mistake(f"{where} has a medal {wrong[0]!r}; medals are {', '.join(MEDALS)}")
    return KnownSet(name, row["data"], row["answers"], row["metric"], medals, known)


def _check_medals(known_set: KnownSet, metric: Metric) -> None:
    """Raises Mistake where a lesser medal takes a better score than a greater one."""
    needed = dict(known_set.medals)
    scores = [needed[medal] for medal in MEDALS if medal in needed]
    if scores != sorted(scores, reverse=metric.greater_is_better):
        words = ", ".join(f"{medal} = {needed[medal]:g}" for medal in MEDALS if medal in needed)
        better = "higher" if metric.greater_is_better else "lower"
        raise Mistake(
            f"medals have {words}, but a {better} {metric.name} is better; write the worst score that won each"
        )


def _numbers(where: str, key: str, row: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    values = row.get(key, {})
    valid = isinstance(values, dict) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values.values()
    )
    if not valid:
        raise Mistake(f"{where}: {key} = {values!r} is no table of scores; write {key} = {{ gold = 0.95 }}")
    return tuple((name, float(value)) for name, value in values.items())


def _read_solver(where: str, name: str, row: Mapping[str, Any]) -> Solver:
    _check_keys(where, "a solver", row)
    for key in ("options", "command"):
        words = row.get(key, [])
        if not isinstance(words, list) or not all(isinstance(word, str) and "\0" not in word for word in words):
            raise Mistake(f'{where}: {key} = {words!r} is no list of words; write {key} = ["--folds", "3"]')
    solver = Solver(name, tuple(row.get("options", ())), tuple(row.get("command", ())))
    if solver.options and solver.command:
        raise Mistake(f"{where} has options, which are autoclimb's, and a command; keep one of them")
    given = next((word for word in solver.options if GIVEN.fullmatch(word)), None)
    if given is not None:
        raise Mistake(f"{where} has the option {given}, which the bench gives itself; leave it out")
    places = PLACE.findall(" ".join(solver.command))
    unknown = [place for place in places if place not in PLACES]
    known = ", ".join(f"{{{place}}}" for place in PLACES)
    if unknown:
        raise Mistake(f"{where}: its command has {{{unknown[0]}}}, which is unknown; it may have {known}")
    if "command" in row and "out" not in places:
        raise Mistake(
            f"{where}: its command does not say where the csv goes; write {{out}} there (it may have {known})"
        )
    return solver


def _check_files(suite: Suite, known_set: KnownSet) -> None:
    where = f"{suite.name}, set {known_set.name!r}"
    if not (suite.folder / known_set.data).exists():
        raise Mistake(f"{where}: data {known_set.data} does not exist; write a path from {suite.folder}")
    if not (suite.folder / known_set.answers).is_file():
        raise Mistake(f"{where}: answers {known_set.answers} is no file; write a path from {suite.folder}")
    if _is_inside(suite.folder / known_set.answers, suite.folder / known_set.data):
        raise Mistake(
            f"{where}: answers {known_set.answers} lie inside the data, where solvers read them; move them out"
        )


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a path is the folder or lies in it."""
    return path.resolve().is_relative_to(folder.resolve())
