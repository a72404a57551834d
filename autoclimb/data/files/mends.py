"""Tables as people save them: titles above the header, the header again between rows, single quotes, json in cells."""

import json
import re

from autoclimb.data.files.delimiters import LOOKED_AT, SEPARATORS, first_lines

MOST_TITLES = 5  # lines above the header that say what the table is
MOST_KEYS = 100  # of all objects of a column: of more, keys are names of things, not of columns


def without_titles(text: str) -> str:
    """The text without a few lines at its beginning that have one cell each, where all lines below have several.

    Signs within double quotes are part of a cell: a column of lists has one cell a line, its name too.
    """
    lines = [line for line in first_lines(text, count=MOST_TITLES + LOOKED_AT) if line.strip()]
    bare = [re.sub(r'"[^"]*"', "", line) for line in lines]
    titles = next((i for i, line in enumerate(bare) if any(sign in line for sign in SEPARATORS)), 0)
    rest = bare[titles:]
    if not 0 < titles <= MOST_TITLES or len(rest) <= titles:
        return text
    even = any(sign in rest[0] and len({line.count(sign) for line in rest}) == 1 for sign in SEPARATORS)
    return text[text.index(lines[titles]) :] if even else text


def without_quotes(cells: dict[str, list[str]]) -> dict[str, list[str]]:
    """The cells without the single quotes that stand around every name of a column."""

    def quoted(word: str) -> bool:
        return len(word) > 1 and word[0] == word[-1] == "'"

    if not cells or not all(map(quoted, cells)):
        return cells
    return {title[1:-1]: [c[1:-1] if quoted(c) else c for c in column] for title, column in cells.items()}


def without_headers(name: str, cells: dict[str, list[str]], notes: list[str]) -> dict[str, list[str]]:
    """The cells without rows that repeat the header, as tables that were joined end to end have."""
    header = list(cells)
    first = cells[header[0]]
    again = [i for i, c in enumerate(first) if c == header[0] and [cells[t][i] for t in header] == header]
    if not again:
        return cells
    notes.append(f"{name}: {len(again)} rows repeat the header and are left out")
    out = set(again)
    return {title: [c for i, c in enumerate(column) if i not in out] for title, column in cells.items()}


def with_objects(cells: dict[str, list[str]]) -> dict[str, list[str]]:
    """The cells, columns of json objects turned into a column for each of their keys: VIA's {"class": "cat"}."""
    split: dict[str, list[str]] = {}
    for title, column in cells.items():
        first = next((c for c in column if c not in ("", "{}")), "")
        rows = [object_in(c) for c in column] if object_in(first) else []
        keys = list(dict.fromkeys(key for row in rows for key in row or ()))
        if None in rows or not 0 < len(keys) <= MOST_KEYS:
            split[title] = column
            continue
        for key in keys:
            named = key if key not in cells and key not in split else f"{title}.{key}"
            values = [row.get(key) if row else None for row in rows]
            split[named] = ["" if value is None else str(value).strip() for value in values]
    return split


def object_in(cell: str) -> dict[str, object] | None:
    """The object of plain values that a cell holds as json, None where it holds something else."""
    try:
        value = json.loads(cell) if cell else {}
    except (ValueError, RecursionError):
        return None
    plain = isinstance(value, dict) and not any(isinstance(v, dict | list) for v in value.values())
    return value if plain else None
