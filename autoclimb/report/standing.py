"""A score's place on a competition's leaderboard: rank, percentile and medal, and how certain they are."""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoclimb.errors import Mistake
from autoclimb.report.words import counted

# names of the column of scores, by preference
COLUMNS = ("score", "private score", "privatescore", "public score", "publicscore")
RANKS = ("rank", "#", "place", "position")  # names of columns of numbers that are no scores
MEDALS = ("gold", "silver", "bronze")


@dataclass(frozen=True)
class Standing:
    """A place among teams: the rank it would have had, counted from 1, and the medal ("" for none)."""

    rank: int
    teams: int
    medal: str

    @property
    def percentile(self) -> float:
        """Share of the teams that are ahead or level, in percent: small is good."""
        return 100 * self.rank / (self.teams + 1)


def read_scores(path: Path) -> list[float]:
    """The scores in a leaderboard's csv: its column `Score`, or the only column of numbers but ranks.

    Teams without a score are left out. A file of one column may lack a header; where semicolons part the columns, a
    comma may stand for the decimal point. Raises Mistake where the file cannot be read, has no such column or several,
    or has a score that is no number.
    """
    lines, delimiter = _lines_of(path)
    if lines and len(lines[0]) == 1 and _number(lines[0][0]) is not None:
        lines.insert(0, ["score"])
    names, rows = (lines[0], lines[1:]) if lines else ([], [])
    columns = [[row[i] for row in rows if i < len(row) and row[i]] for i in range(len(names))]
    scores = [[_number(cell, delimiter == ";") for cell in cells] for cells in columns]
    lowered = [name.lower() for name in names]
    title = next((name for name in COLUMNS if name in lowered), "")
    if title:
        places = [i for i, name in enumerate(lowered) if name == title]
    else:
        places = [i for i, name in enumerate(lowered) if name not in RANKS and scores[i] and None not in scores[i]]
    if len(places) != 1:
        fault = f"has {len(places)} columns {title}" if title else "has no column Score"
        raise Mistake(f"--against {path} {fault}, but {', '.join(names) or 'nothing'}; name one column Score")
    (place,) = places
    wrong = next((cell for cell, score in zip(columns[place], scores[place], strict=True) if score is None), None)
    if wrong is not None or not columns[place]:
        fault = f"holds {wrong!r}, which is no number" if wrong else "holds no score"
        raise Mistake(f"--against {path}: column {names[place]} {fault}; mend or leave out such rows")
    return [score for score in scores[place] if score is not None]


def _lines_of(path: Path) -> tuple[list[list[str]], str]:
    """The cells of a csv, line by line without blank ones, and its delimiter; raises Mistake where it is none."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            text = file.read().lstrip("\r\n")  # at once, since a pipe cannot be read again
        delimiter = _delimiter_of(re.split(r"[\r\n]", text, maxsplit=1)[0])
        # strict: a quote that nobody closes would swallow the teams below it
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        return [[cell.strip() for cell in line] for line in lines if any(line)], delimiter
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Mistake(f"--against {path} cannot be read ({error}); give a csv with a column Score") from error


def _delimiter_of(head: str) -> str:
    """What parts the columns of a first line: most of all what lets a column be named as scores are."""

    def names_scores(mark: str) -> bool:
        return any(name.strip(' "').lower() in COLUMNS for name in head.split(mark))

    return max(",;\t", key=lambda mark: (names_scores(mark), head.count(mark)))


def _number(cell: str, decimal_comma: bool = False) -> float | None:
    try:
        value = float(cell.replace(",", ".") if decimal_comma else cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def standing_of(score: float, scores: Sequence[float], greater_is_better: bool) -> Standing:
    """The score's place among others' scores; a team with the same score is ahead, since it was there first."""
    ahead = sum(other >= score if greater_is_better else other <= score for other in scores)
    return Standing(ahead + 1, len(scores), medal_of(ahead + 1, len(scores) + 1))


def medal_of(rank: int, teams: int) -> str:
    """The medal of a rank by Kaggle's rules (kaggle.com/progression), "" for none."""
    if teams < 250:
        gold, silver, bronze = (0.1 * teams if teams < 100 else 10), 0.2 * teams, 0.4 * teams
    elif teams < 1000:
        gold, silver, bronze = 10 + 0.002 * teams, 50, 100
    else:
        gold, silver, bronze = 10 + 0.002 * teams, 0.05 * teams, 0.1 * teams
    lines = zip(MEDALS, (gold, silver, bronze), strict=True)
    return next((medal for medal, last in lines if rank <= math.floor(last)), "")


def standing_text(score: float, interval: tuple[float, float], scores: Sequence[float], greater_is_better: bool) -> str:
    """Lines for people: where the score would stand, and where the ends of its interval would."""
    teams = counted(len(scores), "team")
    if math.isnan(score):
        return f"against {teams}: no place, since the run has no out-of-fold score"
    place = standing_of(score, scores, greater_is_better)
    words = f"against {teams}: rank {place.rank}, top {place.percentile:.1f} %, {place.medal or 'no medal'}"
    if any(map(math.isnan, interval)):
        return words
    ends = sorted((standing_of(end, scores, greater_is_better) for end in interval), key=lambda end: end.rank)
    medals = list(dict.fromkeys(end.medal or "no medal" for end in ends))
    return (
        f"{words}\n"
        f"by the out-of-fold interval: rank {ends[0].rank} to {ends[-1].rank}, {' to '.join(medals)}; "
        "test pictures of another kind than the train pictures can move it further"
    )
