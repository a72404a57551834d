"""The delimiter of a csv."""

import re
from collections.abc import Sequence

SEPARATORS = ",;\t|"
DECLARED = re.compile(r'\ufeff?"?sep=(.)"?\s*', re.IGNORECASE)  # a line that Excel writes and understands
LOOKED_AT = 5  # lines below the first that separators, and columns of pixels, are recognised by


def separator_of(lines: Sequence[str]) -> tuple[str, int]:
    """The separator of a table, and the number of lines before its header: 1 where that line declares it, else 0.

    Candidates are the signs in the first line; the best cuts the lines below into as many cells, then into most cells.
    Commas between digits are no separators where another sign may be one.
    """
    if lines and (declared := DECLARED.fullmatch(lines[0])):
        return declared[1], 1
    present = [sign for sign in SEPARATORS if lines and sign in lines[0]]
    if len(present) < 2:
        return (present[0] if present else ","), 0
    looked_at = [line for line in lines[: LOOKED_AT + 1] if line.strip()]

    def rank(sign: str) -> tuple[bool, int]:
        counts = [cuts(line, sign) for line in looked_at]
        return counts[0] > 0 and len(set(counts)) == 1, counts[0]

    return max(present, key=rank), 0


def cuts(line: str, sign: str) -> int:
    """How often a sign cuts a line; a comma between digits does not."""
    return line.count(sign) if sign != "," else len(re.findall(r"(?<!\d),|,(?!\d)", line))


def first_lines(text: str, begin: int = 0, count: int = LOOKED_AT) -> list[str]:
    """The first lines of a text from `begin` on, with their line ends."""
    lines: list[str] = []
    while len(lines) < count and begin < len(text):
        end = text.find("\n", begin) + 1 or len(text)
        lines.append(text[begin:end])
        begin = end
    return lines
