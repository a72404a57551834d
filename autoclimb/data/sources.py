"""Sources: where an item's pixels are, in one string: files, places inside of files, channels, several pictures.

    photo.jpg                         a picture
    train.zip | a/7.jpg               a member of an archive (which may lie in another archive)
    train.npy | 17                    a row of an array; of an .npz: train.npz | images | 17
    train.json | 17 | band_1          a field of a row of a json file
    train.bson | 48211 | 0            the picture of that number in the document at that byte
    red.png + green.png + blue.png    channels of one picture, each from a place of its own
    site1.png / site2.png             several pictures of one item

The bars, pluses and slashes above are ASCII's own separators, which no other file uses. Names that hold one are
`unspeakable` and are not read, or a member's name could lead to another file. Sources are strings so that a Task is
plain and a run's record can hold them.
"""

import re
from collections.abc import Iterable

PART, CHANNEL, PICTURE = "\x1f", "\x1e", "\x1d"  # unit, record and group separator
UNSPEAKABLE = re.compile("[\0\x1d-\x1f\ud800-\udfff]")  # surrogates stand for bytes that are no UTF-8


def inside(file: str, *steps: str | int) -> str:
    """The source of a picture inside a file, by the steps to it: `inside("a.zip", "7.jpg")`."""
    return PART.join((file, *map(str, steps)))


def unspeakable(name: str) -> bool:
    """Whether a name holds a separator, or bytes that are no text, so that it must not become part of a source."""
    return UNSPEAKABLE.search(name) is not None


def channels(sources: Iterable[str]) -> str:
    """The source of one picture whose channels come from these sources, in order."""
    return CHANNEL.join(sources)


def pictures(sources: Iterable[str]) -> str:
    """The source of one item of several pictures, which may have channels."""
    return PICTURE.join(sources)


def parts_of(source: str) -> list[list[tuple[str, ...]]]:
    """The pictures of an item, each a list of channels, each a file and the steps into it."""
    return [[tuple(place.split(PART)) for place in one.split(CHANNEL)] for one in source.split(PICTURE)]


def first_picture(source: str) -> str:
    """The source of an item's first picture alone."""
    return source.partition(PICTURE)[0]


def files_of(source: str) -> list[str]:
    """The files that a source is read from, each once, in order."""
    return list(dict.fromkeys(place[0] for one in parts_of(source) for place in one))


def shown(source: str) -> str:
    """The source for people: `train.zip: a/7.jpg`."""
    return " / ".join(" + ".join(": ".join(place) for place in one) for one in parts_of(source))
