"""Bytes -> text: UTF-8 first, then the encoding in which the most characters are usual ones.

Own code: tables of labels hold a few short words, too few for the libraries that detect encodings. Of 162 such tables
(nine encodings, two to five words of ten, 6 to 300 rows) charset-normalizer 3.5.3 read 80 rightly, this file 143.
"""

import re
from bisect import bisect
from collections.abc import Callable
from itertools import pairwise

SAMPLED = 1 << 18  # bytes of lines beyond ASCII by which the encoding is chosen
MENDED = 4  # valid characters beyond ASCII for each bad byte from which a text is UTF-8 with faults
SYLLABLES = 4  # different ones; so many read as Chinese would all be common characters by chance once in eight texts
NAMED = 3  # lines that a note names
BAD = re.compile("[\udc80-\udcff]")  # what stands for a byte that is not UTF-8


def text_of(name: str, data: bytes, notes: list[str]) -> str:
    """The text of a file's bytes, "" for bytes that are no text; `notes` get a sentence where it is not plain UTF-8."""
    wide = wide_encoding(data)
    if wide:
        text = data.decode(wide, "replace").lstrip("\ufeff")
        if not text or "\0" in text[:4096]:
            return ""
        notes.append(f"{name} is not UTF-8 and is read as {wide.removesuffix('-le').removesuffix('-be')}")
        return text
    if b"\0" in data[:4096]:
        return ""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("utf-8-sig", "surrogateescape")
    places = [match.start() for match in BAD.finditer(text)]
    beyond = len(text) - len(text.encode("ascii", "ignore")) - len(places)
    if beyond >= MENDED * len(places):
        count = f"{len(places)} bytes are" if len(places) > 1 else "1 byte is"
        notes.append(f"{name}: {count} not UTF-8 and read as cp1252 ({lines_at(text, places)})")
        return BAD.sub(lambda match: bytes([ord(match[0]) - 0xDC00]).decode("cp1252", "replace"), text)
    encoding = likeliest_encoding(data)
    notes.append(f"{name} is not UTF-8 and is read as {encoding} ({lines_at(text, places)})")
    text = data.decode(encoding, "replace")
    places = [match.start() for match in re.finditer("\ufffd", text)]
    if places:
        notes.append(f"{name}: {len(places)} characters cannot be read as {encoding} ({lines_at(text, places)})")
    return text


def wide_encoding(data: bytes) -> str:
    """The encoding of a text of two bytes a character, "" for other bytes."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    start = data[:4096]
    if start.count(0) <= len(start) // 4:
        return ""
    return "utf-16-le" if start[1:2] == b"\0" else "utf-16-be"


def lines_at(text: str, places: list[int]) -> str:
    """The lines of some characters, by index, as words: "lines 3, 17 ..."."""
    ends = [match.start() for match in re.finditer("\n", text)]
    numbers = sorted({bisect(ends, place - 1) + 1 for place in places})
    more = " ..." if len(numbers) > NAMED else ""
    return f"line{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:NAMED]))}{more}"


# --- which encoding --------------------------------------------------------------------------------------------------

ASCII_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
SIGNS = frozenset("°µ±²€£§©®–—‘’“”„…×")


def likeliest_encoding(data: bytes) -> str:
    """The encoding in which most characters beyond ASCII are usual, the first of equals."""
    lines = [line for line in data.split(b"\n") if not line.isascii()]
    sample = b"\n".join(dict.fromkeys(lines))[:SAMPLED]
    syllables = {sign for sign in sample.decode("cp949", "replace") if sign > "\x7f"}
    # Korean syllables read as Chinese characters are usual, too; a random character is usual with a chance of .6
    order = ["cp949", *ENCODINGS] if len(syllables) >= SYLLABLES else list(ENCODINGS)
    return max(order, key=lambda encoding: usual_share(sample, encoding))


def usual_share(data: bytes, encoding: str) -> float:
    """The share of the characters beyond ASCII that are usual in texts of this encoding."""
    text = f" {data.decode(encoding, 'replace')} "
    is_usual = ENCODINGS[encoding]
    trios = [(before, sign, after) for (before, sign), after in zip(pairwise(text), text[2:], strict=False)
             if sign > "\x7f"]  # fmt: skip
    return sum(is_usual(*trio) for trio in trios) / max(1, len(trios))


def latin(before: str, sign: str, after: str) -> bool:
    """An accented letter beside a plain one, or a common sign."""
    return (sign.isalpha() and sign not in "ªº" and not ASCII_LETTERS.isdisjoint((before, after))) or sign in SIGNS


def alphabet(first: str, last: str, frequent: str) -> Callable[[str, str, str], float]:
    """A letter of an alphabet beside no Latin one, and a capital only where a word begins.

    Frequent letters count more: KOI8's small letters are capitals in cp1251, but seldom the frequent ones.
    """

    def is_usual(before: str, sign: str, after: str) -> float:
        if not first <= sign <= last or not ASCII_LETTERS.isdisjoint((before, after)):
            return 0.0
        if not sign.islower() and before.islower():
            return 0.0
        return 1.0 if sign.lower() in frequent else 0.8

    return is_usual


def two_bytes(encoding: str, *leads: tuple[int, int]) -> Callable[[str, str, str], bool]:
    """A character whose first byte lies in the rows of an encoding where the common ones are."""

    def is_usual(before: str, sign: str, after: str) -> bool:
        try:
            code = sign.encode(encoding)
        except UnicodeEncodeError:
            return False
        return len(code) == 2 and any(low <= code[0] <= high for low, high in leads)

    return is_usual


ENCODINGS: dict[str, Callable[[str, str, str], float]] = {
    "cp1252": latin,
    "cp1250": latin,
    "gb18030": two_bytes("gb2312", (0xA3, 0xA3), (0xB0, 0xD7)),  # the 3,755 characters of the first level
    "cp949": two_bytes("euc_kr", (0xB0, 0xC8)),  # the 2,350 common syllables
    "cp932": two_bytes("cp932", (0x81, 0x84), (0x88, 0x97)),  # kana, the first level
    "euc_jp": two_bytes("euc_jp", (0xA4, 0xA5), (0xB0, 0xCF)),
    "big5": two_bytes("big5", (0xA4, 0xC6)),  # the first level
    "cp1251": alphabet("Ѐ", "ӿ", "оеаинтср"),
    "koi8_r": alphabet("Ѐ", "ӿ", "оеаинтср"),
    "cp1253": alphabet("Ͱ", "Ͽ", "αοιετσνη"),
}
