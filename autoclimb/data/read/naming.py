"""How the text of an id is compared with the name of a file: exactly, then by what changes when files are moved.

Every row of RULES looks at some ids and at the stems of the pictures they may mean, and gives two functions, of an id
and of a stem, whose values are equal where the two mean the same; None where it does not apply. A rule is about all ids
of a column at once: what is left of a single id says little.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from urllib.parse import unquote

from autoclimb.data.files.formats import PICTURES

Key = Callable[[str], Hashable | None]  # None where the rule says nothing of this name
Rule = Callable[[Sequence[str], Sequence[str]], tuple[Key, Key] | None]

MOST = 0.9  # share of some names that must have a form before it is taken to mean nothing
LOOKED_AT = 200  # ids that a rule is learned from
SEARCHED = 30_000  # stems that are searched for an id within them
HASHES = (
    re.compile(r"^(?=[0-9a-f]*\d)[0-9a-f]{6,40}[-_.](?=.)", re.IGNORECASE),  # before the name, as upload forms write
    re.compile(r"[_-](?:jpe?g|png|bmp|tiff?)\.rf\.[0-9a-z]{16,}$", re.IGNORECASE),  # after it, as exports write
    re.compile(r"(?<=.)[-_.](?=[0-9a-f]*\d)[0-9a-f]{8,40}$", re.IGNORECASE),
    re.compile(
        r"(?<=.)_(?=[a-z0-9]*[A-Z])(?=[A-Za-z0-9]*[a-z0-9])[A-Za-z0-9]{7}$"
    ),  # names taken twice on a web server
)
DIGITS = re.compile(r"^(.*?)(\d+)(\D*)$", re.DOTALL)
WHOLE = re.compile(r"\d+(?:\.0*)?$")


def folded(text: str) -> str:
    """The text regardless of case and of how its accents are composed."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


def path_parts(text: str) -> list[str]:
    """The folders and the name in a cell: of Windows too, of a web address, without what climbs out of a folder."""
    if "/" not in text and "\\" not in text:
        return [text]
    if "://" in text:
        text = re.split(r"[?#]", text.split("://", 1)[1])[0]
        text = unquote(text) if "%" in text else text
    return [p for p in text.replace("\\", "/").split("/") if p not in ("", ".", "..")] or [""]


def file_stem(path: str) -> str:
    """The name of the file at a path of pictures without its ending, whatever that is."""
    return os.path.splitext(path.rsplit("/", 1)[-1])[0]


def stem_of(name: str) -> str:
    """The name without the ending of a picture; other dots stay."""
    stem, ending = os.path.splitext(name)
    return stem if ending.lower() in PICTURES else name


def whole(text: str) -> str:
    """A whole number without zeros before it and behind its point, other text as it is: 007 and 7.0 are 7."""
    if WHOLE.match(text):
        return text.split(".")[0].lstrip("0") or "0"
    if "e" in text.lower():
        try:
            value = float(text)
        except ValueError:
            return text
        return str(int(value)) if value == value and abs(value) < 1e15 and value == int(value) else text
    return text


def key_of(text: str) -> str:
    """An id as a key between tables: 7.0 is 7, 007 too, A_1.jpg is a_1."""
    return whole(folded(stem_of(path_parts(text)[-1])))


def is_bare(text: str) -> bool:
    """Whether a cell is a number and nothing else, as row numbers are."""
    return WHOLE.match(text) is not None


def by_number(ids: Sequence[str], stems: Sequence[str]) -> tuple[Key, Key] | None:
    """Both are whole numbers, written with other zeros: 7, 007, 7.0."""

    def key(text: str) -> Hashable | None:
        number = whole(folded(text))
        return number if number.isdigit() else None

    return (key, key) if sum(key(i) is not None for i in ids) > len(ids) / 2 else None


def by_counter(ids: Sequence[str], stems: Sequence[str]) -> tuple[Key, Key] | None:
    """Both end with a number after the same letters each: img_0007 for 7, id-7 for 0007; not a_007 for b_007."""
    one, other = frame_of([whole(i) for i in ids]), frame_of(stems)
    if one is None or other is None or not (one[0].endswith(other[0]) or other[0].endswith(one[0])):
        return None
    return counter_in(one), counter_in(other)


def frame_of(names: Sequence[str]) -> tuple[str, str] | None:
    """The text before and behind the number in nearly all of these names, None where names differ there."""
    cut = [DIGITS.match(n) for n in names]
    frames = Counter((folded(m[1]), folded(m[3])) for m in cut if m)
    if not frames:
        return None
    frame, n = frames.most_common(1)[0]
    return frame if n >= MOST * len(names) else None


def counter_in(frame: tuple[str, str]) -> Key:
    """The number within the frame."""

    def key(text: str) -> Hashable | None:
        cut = DIGITS.match(whole(text))
        if cut is None or (folded(cut[1]), folded(cut[3])) != frame:
            return None
        return int(cut[2])

    return key


def by_affix(ids: Sequence[str], stems: Sequence[str]) -> tuple[Key, Key] | None:
    """All stems have the same text around the id, or all ids the same around the stem."""
    for inner, outer, swapped in ((ids, stems, False), (stems, ids, True)):
        affix = affix_of(inner, outer)
        if affix:
            before, behind = affix

            def key(text: str, before: str = before, behind: str = behind) -> Hashable | None:
                low = folded(text)
                fits = low.startswith(before) and low.endswith(behind) and len(low) > len(before) + len(behind)
                return low[len(before) : len(low) - len(behind)] if fits else None

            return (key, folded) if swapped else (folded, key)
    return None


def affix_of(inner: Sequence[str], outer: Sequence[str]) -> tuple[str, str] | None:
    """The text around nearly all of the `inner` names within the `outer` ones, None where it differs."""
    if len(outer) > SEARCHED:
        return None
    some = [folded(i) for i in inner[:: max(1, len(inner) // 12)][:12]]
    text = "\n".join(["", *map(folded, outer), ""])
    around: Counter[tuple[str, str]] = Counter()
    for name in some:
        pairs: set[tuple[str, str]] = set()
        at = text.find(name)
        while name and at >= 0 and len(pairs) < 20:
            before = text[text.rfind("\n", 0, at) + 1 : at]
            behind = text[at + len(name) : text.find("\n", at + len(name))]
            if (before or behind) and not before[-1:].isalnum() and not behind[:1].isalnum():
                pairs.add((before, behind))
            at = text.find(name, at + 1)
        around.update(pairs)
    if not around:
        return None
    affix, n = around.most_common(1)[0]
    return affix if n >= MOST * len(some) and len(some) > 2 else None


def without_hash(ids: Sequence[str], stems: Sequence[str]) -> tuple[Key, Key] | None:
    """One of them has a hash before or behind the name that the other lacks."""
    for names, of_ids in ((stems, False), (ids, True)):
        some = names[:: max(1, len(names) // LOOKED_AT)]
        for pattern in HASHES:
            hashes = {m[0] for n in some if (m := pattern.search(n))}
            if len(hashes) > 1 and sum(pattern.search(n) is not None for n in some) >= MOST * len(some):

                def key(text: str, pattern: re.Pattern[str] = pattern) -> Hashable | None:
                    return folded(stem_of(pattern.sub("", text)))

                return (key, folded) if of_ids else (folded, key)
    return None


def by_letters(ids: Sequence[str], stems: Sequence[str]) -> tuple[Key, Key] | None:
    """Letters and digits are the same; signs, spaces and accents differ."""

    def key(text: str) -> Hashable | None:
        plain = unicodedata.normalize("NFKD", unquote(text)).casefold()
        return "".join(c for c in plain if c.isalnum()) or None

    return key, key


def by_tokens(ids: Sequence[str], stems: Sequence[str]) -> tuple[Key, Key] | None:
    """The words and numbers are the same, whatever signs part them: s1_0 for s1/0."""

    def key(text: str) -> Hashable | None:
        tokens = tuple(re.findall(r"[^\W_]+", folded(text)))
        return tokens if len(tokens) > 1 else None

    return key, key


RULES: dict[str, Rule] = {
    "as whole numbers, regardless of zeros": by_number,
    "by the number in them": by_counter,
    "without what all of them have in common": by_affix,
    "without the hash that an upload added": without_hash,
    "by letters and digits alone": by_letters,
}
PATH_RULE = "by the words of the folder and the name", by_tokens
