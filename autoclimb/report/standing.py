"""A score's place on a competition's leaderboard: rank, percentile and medal, and how certain they are."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoclimb.errors import Mistake

# names of the column of scores, by preference
COLUMNS = ("score", "private score", "privatescore", "public score", "publicscore")
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
    """The scores in a leaderboard's csv: its column `Score`, or the only column that holds numbers.

    Teams without a score are left out. Raises Mistake where the file cannot be read, has no such column, or has a score
    that is no number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            rows = list(csv.DictReader(file, delimiter=max(",;\t", key=first.count)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Mistake(f"--against {path} cannot be read ({error}); give a csv with a column Score") from error
    columns = {name: [(row[name] or "").strip() for row in rows] for name in (rows[0] if rows else {}) if name}
    by_name = {name.strip().lower(): name for name in columns}
    named = next((by_name[name] for name in COLUMNS if name in by_name), "")
    numbers = [
        name for name, cells in columns.items() if all(_number(c) is not None for c in cells if c) and any(cells)
    ]
    if not named and len(numbers) != 1:
        raise Mistake(f"--against {path} has no column Score, but {', '.join(columns) or 'nothing'}; name one Score")
    cells = [cell for cell in columns[named or numbers[0]] if cell]
    wrong = next((cell for cell in cells if _number(cell) is None), None)
    if wrong is not None or not cells:
        fault = f"holds {wrong!r}, which is no number" if wrong else "holds no score"
        raise Mistake(f"--against {path}: column {named or numbers[0]} {fault}; mend or leave out such rows")
    return [score for cell in cells if (score := _number(cell)) is not None]


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
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
    """Two lines for people: where the score would stand, and where the ends of its interval would."""
    place = standing_of(score, scores, greater_is_better)
    ends = sorted((standing_of(end, scores, greater_is_better) for end in interval), key=lambda end: end.rank)
    teams = len(scores)
    medals = list(dict.fromkeys(end.medal or "no medal" for end in ends))
    return (
        f"against {teams} teams: rank {place.rank}, top {place.percentile:.1f} %, {place.medal or 'no medal'}\n"
        f"by the out-of-fold interval: rank {ends[0].rank} to {ends[-1].rank}, {' to '.join(medals)}; "
        "other test pictures than the train pictures' kind can move it further"
    )
