"""Npy, npz and idx files: a picture each, or all pictures of a split in one array, whose rows then make a Table."""

import io
import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np

from autoclimb.data.files import idx
from autoclimb.data.files.archives import read_member
from autoclimb.data.files.formats import MOST_NUMBERS, bomb
from autoclimb.data.files.spool import Stretch
from autoclimb.data.files.stacks import MOST_CHANNELS, axes_of, thinned
from autoclimb.data.files.table import Table
from autoclimb.data.sources import channels, inside, parts_of, pictures, unspeakable

MAGIC = b"\x93NUMPY"
FEWEST_ROWS = 17  # first dimension from which an array holds several pictures rather than channels of one
MOST_SLICES = 16  # of a volume that are looked at
MOST_ARRAYS = 64  # files that may be whole splits; where there are more, each is one picture
MOST_SPLITS = 8  # arrays of pictures that may be splits without labels beside them
LOOKED_AT = 8  # files whose shapes say what the axes mean
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    SyntaxError,  # numpy's for a header that is no literal
    TokenError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def header_of(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type of the npy file that begins here. Raises ValueError."""
    version = np.lib.format.read_magic(file)
    read: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


# --- pixels ----------------------------------------------------------------------------------------------------------


def mapped(data: Stretch) -> np.ndarray:
    """The array of an npy file, mapped, not read. Raises ValueError for objects: reading them would run code."""
    stream = data.stream()
    shape, fortran, dtype = header_of(stream)
    if dtype.hasobject or dtype.kind not in "biuf":
        raise ValueError(f"an array of {dtype} holds no pictures")
    start = stream.tell()
    if math.prod(shape) * dtype.itemsize > data.length - start:
        raise EOFError("the array is shorter than its header claims")
    return np.memmap(data.file, dtype, "r", data.start + start, shape, "F" if fortran else "C")


def one_item(array: np.ndarray, steps: tuple[str, ...] = ()) -> np.ndarray:
    """A copy of what lies at the steps into an array. Raises ValueError where it is larger than any picture."""
    for step in steps:
        array = array[int(step)]
    if array.size > MOST_NUMBERS:
        raise ValueError(f"an item of {array.size:,} numbers is taken for a bomb")
    return np.array(array)


def array_in(data: bytes | Stretch) -> np.ndarray:
    """All of an npy file that is one item. Raises ValueError or EOFError."""
    if isinstance(data, Stretch):
        return one_item(mapped(data))
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise ValueError("an array of this kind holds no pictures")
    return array


def first_array_in(data: bytes | Stretch) -> np.ndarray:
    """The first array of an npz file that is one item. Raises ValueError or EOFError."""
    source = data.stream() if isinstance(data, Stretch) else io.BytesIO(data)
    try:
        with zipfile.ZipFile(source) as archive:
            first = next(n for n in archive.infolist() if n.filename.endswith(".npy"))
            if reason := bomb(first.file_size, first.compress_size):
                raise ValueError(f"{first.filename} is {reason}")
            with archive.open(first) as file:
                if math.prod(header_of(file)[0]) > MOST_NUMBERS:
                    raise ValueError(f"{first.filename} claims more numbers than any picture has")
            return array_in(archive.read(first))
    except (zipfile.BadZipFile, StopIteration, RuntimeError, zlib.error) as error:
        raise ValueError(f"no array in an npz file: {error}") from error


# --- tables ----------------------------------------------------------------------------------------------------------


def shapes_of(path: str) -> dict[str, tuple[int, ...]]:
    """The shape of each array in an npy, idx ("" is its name) or npz file, by headers alone; {} where unreadable."""
    try:
        if idx.NAME.search(path):
            return {"": idx.shape_of(path)}
        if not path.endswith(".npz"):
            with open(path, "rb") as file:
                return {"": header_of(file)[0]}
        with zipfile.ZipFile(path) as archive:
            shapes = {}
            for name in archive.namelist():
                if name.endswith(".npy") and not unspeakable(name):
                    with archive.open(name) as member:
                        shapes[name[:-4]] = header_of(member)[0]
            return shapes
    except UNREADABLE:
        return {}


def is_stack(shape: tuple[int, ...]) -> bool:
    """Whether an array may hold a picture a row: `(N, H, W)` or `(N, H, W, C)`, N not small.

    Of three axes the last is short only where a picture is as small as that (`(1797, 8, 8)`): `(64, 64, 12)` is one
    picture of 12 channels.
    """
    if len(shape) not in (3, 4) or shape[0] < FEWEST_ROWS:
        return False
    return len(shape) == 4 or shape[2] > MOST_CHANNELS or (shape[2] > 4 and shape[1] <= MOST_CHANNELS)


def array_tables(root: Path, files: list[str], notes: list[str]) -> tuple[list[Table], list[str]]:
    """The tables of the arrays that hold whole splits, and the files that hold a picture each.

    More than MOST_SPLITS arrays with no labels of their length beside them are items, not splits.
    """
    if len(files) > MOST_ARRAYS:
        return [], files
    shapes = {where: shapes_of(str(root / where)) for where in files}
    stacks = [(where, key, s) for where, inner in shapes.items() for key, s in inner.items() if is_stack(s)]
    flat = {(where, key): s for where, inner in shapes.items() for key, s in inner.items() if is_flat(s)}
    lengths = {s[0] for s in flat.values()}
    if not stacks or (len(stacks) > MOST_SPLITS and not any(s[0] in lengths for _, _, s in stacks)):
        return [], files
    tables = []
    for where, key, shape in stacks:
        steps = [key] if key else []
        sources = tuple(inside(str(root / where), *steps, i) for i in range(shape[0]))
        cells = {"row": [str(i) for i in range(shape[0])]}
        for (other, name), s in flat.items():
            if s[0] == shape[0] and of_one_split((where, key), (other, name)):
                values = read_flat(str(root / other), name)
                if values is not None:
                    cells[name.strip("_") or "label"] = values
        if len(cells) > 1:
            notes.append(f"{where}: {shape[0]} pictures in one array, labels {', '.join(list(cells)[1:])} beside it")
        title = f"{where}/{key}" if key else where
        tables.append(Table(title.replace("t10k-", "test-") if idx.NAME.search(where) else title, cells, sources))
    used = {where for where, _, _ in stacks} | {where for where, _ in flat}
    return tables, [f for f in files if f not in used]


def is_flat(shape: tuple[int, ...]) -> bool:
    """Whether an array holds a value a row."""
    return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)


def of_one_split(stack: tuple[str, str], labels: tuple[str, str]) -> bool:
    """Whether labels belong to an array of pictures: neither has the other split's name."""
    one, other = ("/".join(names).lower() for names in (stack, labels))
    split = [next((s for s in ("train", "test", "val") if s in text), "") for text in (one, other)]
    return split[0] == split[1] or (not split[1] and split[0] != "test") or (stack[0] == labels[0] and not split[0])


def read_flat(path: str, name: str) -> list[str] | None:
    """The values of a flat array as text, None where they cannot be had without pickle."""
    try:
        if idx.NAME.search(path):
            return [str(value) for value in idx.values_in(path)]
        loaded = np.load(path, allow_pickle=False)
        values = loaded[name] if name else loaded
        return [str(v.decode() if isinstance(v, bytes) else v) for v in np.ravel(values).tolist()]
    except UNREADABLE:
        return None


def sources_of_items(files: Sequence[str]) -> tuple[list[str], int, str]:
    """The sources of npy files that hold an item each ("" for none), the channels of a picture, and a sentence.

    What the axes mean is decided once for all files, from the shapes of a few.
    """
    shapes = [shape for file in thinned([f for f in files if f], LOOKED_AT) if (shape := shape_at(file))]
    if not shapes:
        return list(files), 3, ""
    axes, count = axes_of(shapes)
    shown = " x ".join(map(str, shapes[0]))
    if axes == "slices":
        lengths = {file: (shape_at(file) or (1,))[0] for file in files if file}
        sources = [
            pictures(inside(file, k) for k in spread(lengths[file], MOST_SLICES)) if file else "" for file in files
        ]
        return sources, 3, f"an item is an array of {shown}, of which {MOST_SLICES} slices at most are looked at"
    if axes == "channels first":
        sources = [channels(inside(file, k) for k in range(shapes[0][0])) if file else "" for file in files]
        return sources, count, f"a picture is an array of {shown}, channels first, read with {count} channels"
    how = ", channels last" if axes == "channels last" else ""
    return list(files), count, f"a picture is an array of {shown}{how}, read with {count} channels"


def shape_at(source: str) -> tuple[int, ...]:
    """The shape of the npy file at a source, () where it cannot be read."""
    file, *steps = parts_of(source)[0][0]
    try:
        if steps:
            return header_of(io.BytesIO(read_member(file, *steps)))[0]
        with open(file, "rb") as opened:
            return header_of(opened)[0]
    except UNREADABLE:
        return ()


def spread(count: int, most: int) -> list[int]:
    """At most so many of 0..count-1, evenly spaced, the middles of equal parts."""
    if count <= most:
        return list(range(count))
    return [int((k + 0.5) * count / most) for k in range(most)]
