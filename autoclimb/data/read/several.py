"""Several files of one item -> one source: which are channels, which are further pictures, which slices of a volume."""

import re
from collections import Counter
from collections.abc import Sequence

from autoclimb.data.files.npy import MOST_SLICES, spread
from autoclimb.data.read.looking import NO_RASTER, first_raster
from autoclimb.data.sources import channels, parts_of, pictures

COLOURS = ("red", "green", "blue")  # the order of the first three channels where files are named so
MOST_CHANNELS = 16
GREY = ("1", "L", "I", "I;16", "I;16B", "I;16L", "F", "LA")


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key by which 2 comes before 10."""
    return [(0, int(t), "") if t.isdigit() else (1, 0, t) for t in re.findall(r"\d+|\D+", name.lower())]


def by_colour(name: str) -> tuple[int, list]:
    """A sort key: red, green, blue, then others."""
    low = name.lower()
    return (COLOURS.index(low) if low in COLOURS else len(COLOURS)), natural(name)


def arrange(items: Sequence[Sequence[tuple[str, str]]]) -> tuple[list[str], int, str]:
    """The source of each item, the channels of its pictures, and a sentence on what was made of its files.

    An item's files are pairs (what its name adds to the item's, source); an item without files gets "". Names that
    add folders are series of slices, one folder a modality; others differ in tokens: site and channel, a colour, a
    number.
    """
    some = next((item for item in items if item), None)
    if some is None:
        return ["" for _ in items], 3, ""
    grey = single_channel(some[0][1])
    if any("/" in name for item in items[:50] for name, _ in item):
        return series(items, grey)
    return tokens(items, grey)


def series(items: Sequence[Sequence[tuple[str, str]]], grey: bool) -> tuple[list[str], int, str]:
    """Items whose files lie in folders of their own: slices of each modality, the modalities as channels."""
    split: list[dict[str, list[tuple[str, str]]]] = []
    for item in items:
        folders: dict[str, list[tuple[str, str]]] = {}
        for name, source in item:
            folder, _, last = name.rpartition("/")
            folders.setdefault(folder.strip("/"), []).append((last, source))
        split.append({f: sorted(files, key=lambda x: natural(x[0])) for f, files in folders.items()})
    counts = Counter(folder for folders in split for folder in folders)
    there = sum(1 for item in items if item)
    names = sorted((f for f, n in counts.items() if n >= 0.9 * there), key=by_colour)
    together = grey and 2 <= len(names) <= MOST_CHANNELS
    sources = []
    for folders in split:
        if not folders:
            sources.append("")
            continue
        if together:
            have = [folders.get(n) or next(iter(folders.values())) for n in names]
            slices = min(MOST_SLICES, max(map(len, have)))
            sources.append(
                pictures(
                    channels(files[int((k + 0.5) * len(files) / slices)][1] for files in have) for k in range(slices)
                )
            )
        else:
            flat = [source for f in sorted(folders, key=natural) for _, source in folders[f]]
            sources.append(pictures(flat[k] for k in spread(len(flat), MOST_SLICES)))
    lengths = sorted({len(f) for folders in split for f in folders.values()})
    span = f"{lengths[0]} to {lengths[-1]}" if len(lengths) > 1 else f"{lengths[0]}"
    words = f"an item is a folder of {span} slices"
    if together:
        words += f" in {', '.join(names)}, which are read as channels"
        lacking = sum(1 for folders in split if folders and not set(names) <= set(folders))
        words += f"; {lacking} items lack one of them and show another in its place" if lacking else ""
    return sources, len(names) if together else 3, words + f"; {MOST_SLICES} slices at most are looked at"


def tokens(items: Sequence[Sequence[tuple[str, str]]], grey: bool) -> tuple[list[str], int, str]:
    """Items whose files differ in tokens of their names: the last that varies counts channels where files are grey."""
    ordered = [sorted(item, key=lambda x: natural(x[0])) for item in items]
    usual = Counter(tuple(name for name, _ in item) for item in ordered if item).most_common(1)[0][0]
    cut = [re.split(r"[_\-. ]+", name) for name in usual]
    even = len({len(c) for c in cut}) == 1
    varies = [k for k in range(len(cut[0])) if len({c[k] for c in cut}) > 1] if even else []
    last = sorted({c[varies[-1]] for c in cut}, key=by_colour) if varies else []
    first = sorted({tuple(c[: varies[-1]]) for c in cut}, key=lambda t: natural("/".join(t))) if varies else []
    if not (grey and 2 <= len(last) <= MOST_CHANNELS and len(first) * len(last) == len(usual)):
        flat = [pictures(item[k][1] for k in spread(len(item), MOST_SLICES)) if item else "" for item in ordered]
        most = max(map(len, ordered))
        return flat, 3, f"an item has up to {most} pictures ({', '.join(usual[:4])})" if most > 1 else ""
    place = {(tuple(c[: varies[-1]]), c[varies[-1]]): name for c, name in zip(cut, usual, strict=True)}
    sources, lacking = [], 0
    for item in ordered:
        have = dict(item)
        complete = [channels(have[place[f, t]] for t in last) for f in first if all(place[f, t] in have for t in last)]
        lacking += bool(item) and not complete
        sources.append(pictures(complete) if complete else "")
    words = f"{len(last)} grey files make one picture ({', '.join(last)})"
    words += f", {len(first)} pictures an item" if len(first) > 1 else ""
    words += f"; {lacking} items lack a file and are left out" if lacking else ""
    return sources, len(last), words


def single_channel(source: str) -> bool:
    """Whether the picture at a source has one channel; so are dcm files and arrays taken to be."""
    if parts_of(source)[0][0][-1].lower().endswith((".dcm", ".npy")):
        return True
    try:
        with first_raster(source) as image:
            return image.mode in GREY
    except NO_RASTER:
        return False
