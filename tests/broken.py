"""Makers of competitions that are broken in one way each, as downloads, archives, tables and commands are."""

import io
import json
import os
import shutil
import socket
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from folders import competition, picture, table

Maker = Callable[[Path], object]


@dataclass(frozen=True)
class Broken:
    """A function that writes a broken folder, patterns that the message must match, and options of the command line.

    In options, {beside} is the folder that holds the data folder.
    """

    make: Maker
    patterns: tuple[str, ...]
    options: tuple[str, ...] = ()


def broken(make: Maker, *patterns: str, options: str = "") -> Broken:
    """The case, options as words."""
    return Broken(make, patterns, tuple(options.split()))


# --- pictures --------------------------------------------------------------------------------------------------------


def spoilt(place: str, data: bytes) -> Maker:
    """A competition with other bytes in one of its files."""

    def make(root: Path) -> None:
        competition(root)
        (root / place).write_bytes(data)

    return make


def truncated(root: Path) -> None:
    place = picture(competition(root) / "train" / "a_003.jpg", size=(64, 64))
    place.write_bytes(place.read_bytes()[:400])


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + b"\0\0\0\0IDAT"


def jpeg_header(width: int, height: int) -> bytes:
    """The beginning of a JPEG that claims a size."""
    return b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03\x01\x22\0\x02\x11\1\x03\x11\1"


def every_picture(data: bytes, split: str) -> Maker:
    """A competition with these bytes in all pictures of a split."""

    def make(root: Path) -> None:
        for file in (competition(root) / split).iterdir():
            file.write_bytes(data)

    return make


def saved(array: np.ndarray, whole: bool = True, pickled: bool = False) -> bytes:
    """An npy file's bytes, or the first half of them."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=pickled)
    return out.getvalue() if whole else out.getvalue()[: len(out.getvalue()) // 2]


def arrays(bad: bytes) -> Maker:
    """A competition of npy files, one of them bad."""

    def make(root: Path) -> None:
        competition(root, extension=".npy")
        for file in root.glob("*/*.npy"):
            file.write_bytes(saved(np.random.default_rng(len(file.stem)).integers(0, 255, (8, 8), dtype=np.uint8)))
        (root / "train" / "a_003.npy").write_bytes(bad)

    return make


def array_of_objects(root: Path) -> None:
    competition(root)
    things = np.array([{"run": "code"}] * 20, dtype=object)
    (root / "things.npz").write_bytes(zipped({"labels.npy": saved(things, pickled=True)}))


# --- archives --------------------------------------------------------------------------------------------------------


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip's bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(members: dict[str, bytes | tuple[bytes, str]]) -> bytes:
    """A tar's bytes; a pair is a member of another type and where it leads."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(data, tuple):
                info.type, info.linkname = data
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def train_members(root: Path) -> dict[str, bytes]:
    """A competition whose train pictures lie nowhere but in what comes back, by file name."""
    members = {file.name: file.read_bytes() for file in sorted((competition(root) / "train").iterdir())}
    shutil.rmtree(root / "train")
    return members


def packed(pack: Callable[[dict[str, bytes]], bytes], name: str) -> Maker:
    """A competition whose train pictures lie in an archive."""
    return lambda root: (members := train_members(root)) and (root / name).write_bytes(pack(members))


def with_more(*more: tuple[str, object]) -> Callable[[dict], dict]:
    """Members and these before them."""
    return lambda members: {**dict(more), **members}


def flipped(data: bytes) -> bytes:
    """The bytes, some in the middle spoilt."""
    middle = len(data) // 2
    return data[:middle] + bytes(255 - b for b in data[middle : middle + 40]) + data[middle + 40 :]


def locked(data: bytes) -> bytes:
    """A zip whose members say that they need a password."""
    raw, at = bytearray(data), 0
    for sign, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = raw.find(sign)
        while at >= 0:
            raw[at + offset] |= 1
            at = raw.find(sign, at + 4)
    return bytes(raw)


def claims(data: bytes, size: int) -> bytes:
    """A zip whose first member claims another size."""
    raw = bytearray(data)
    struct.pack_into("<I", raw, raw.index(b"PK\x01\x02") + 24, size)
    return bytes(raw)


# --- tables ----------------------------------------------------------------------------------------------------------


def rows(labels: Callable[[int], object] = lambda i: "xyz"[i % 3], n: int = 12) -> list[tuple[str, object]]:
    """Rows of a train table."""
    return [(f"a_{i:03d}", labels(i)) for i in range(n)]


def train_text(text: Callable[[str], str] | str, encoding: str = "utf-8", errors: str = "strict") -> Maker:
    """A competition whose train.csv is this text, or made of what it was."""

    def make(root: Path) -> None:
        place = competition(root) / "train.csv"
        before = place.read_text()
        place.write_bytes((text if isinstance(text, str) else text(before)).encode(encoding, errors))

    return make


def train_rows(*given: tuple) -> Maker:
    """A competition whose train.csv has these rows, the header first."""
    return lambda root: table(competition(root) / "train.csv", *given)


def sample_rows(*given: tuple) -> Maker:
    """A competition whose sample has these rows, the header first."""
    return lambda root: table(competition(root) / "sample_submission.csv", *given)


def wide(root: Path) -> None:
    competition(root)
    head = ("id", "label", *(f"c{i}" for i in range(20_000)))
    table(root / "train.csv", head, *((*row, *["0"] * 20_000) for row in rows()))


def test_table_of_others(root: Path) -> None:
    competition(root)
    table(root / "test.csv", ("id", "age"), *((f"z_{i}", i) for i in range(4)))


def coco(text: str) -> Maker:
    """A competition with a json file beside it."""
    return spoilt("annotations.json", text.encode())


def only_json(text: str) -> Maker:
    """A competition whose labels lie in json."""

    def make(root: Path) -> None:
        (competition(root) / "train.csv").unlink()
        (root / "train.json").write_text(text)

    return make


# --- folders ---------------------------------------------------------------------------------------------------------


def lacking(*names: str) -> Maker:
    """A competition without these."""

    def make(root: Path) -> None:
        competition(root)
        for name in names:
            for path in list(root.glob(name)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return make


def special(make: Callable[[Path], object], name: str) -> Maker:
    """A competition in which one file is something else."""

    def make_competition(root: Path) -> None:
        (competition(root) / name).unlink(missing_ok=True)
        make(root / name)

    return make_competition


def socket_at(place: Path) -> None:
    here = os.getcwd()
    os.chdir(place.parent)  # a socket's path may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as endpoint:
            endpoint.bind(place.name)
    finally:
        os.chdir(here)


def link_loops(root: Path) -> None:
    competition(root)
    (root / "train" / "up").symlink_to(root, target_is_directory=True)
    (root / "train" / "a_itself").symlink_to("a_itself")
    (root / "train" / "to").symlink_to("fro")
    (root / "train" / "fro").symlink_to("to")
    (root / "test" / "gone.jpg").symlink_to("nowhere.jpg")


def class_folders(*names: str) -> Maker:
    """Class folders of pictures with these file names."""

    def make(root: Path) -> None:
        for k, kind in enumerate(("ant", "bee")):
            for i, name in enumerate(names):
                picture(root / "train" / kind / f"{kind}{name}.jpg", seed=10 * k + i)
        for i, name in enumerate(names):
            picture(root / "test" / f"t{name}.jpg", seed=50 + i)

    return make


def odd_bytes(root: Path) -> None:
    competition(root)
    shutil.copy(root / "train" / "a_000.jpg", os.fsencode(root / "train") + b"/f\xe9e.jpg")


def names_of_sources(root: Path) -> None:
    """A member whose name, taken apart as a source is, leads to a file outside."""
    members = train_members(root)
    secret = picture(root.parent / "secret.jpg", seed=99)
    members[f"x\x1d{secret}"] = members["a_000.jpg"]
    (root / "train.zip").write_bytes(zipped(members))


def other_files(*names: str) -> Maker:
    """A folder of files that hold no pictures."""

    def make(root: Path) -> None:
        root.mkdir()
        for name in names:
            (root / name).write_bytes(b"x")

    return make


def beside(name: str, text: str, data: Maker = competition) -> Maker:
    """A competition with a file beside its folder."""

    def make(root: Path) -> None:
        data(root)
        (root.parent / name).write_text(text)

    return make


NUMBERS: Maker = lambda root: competition(root, label=lambda i: i * 1.5, sample=0.5)  # noqa: E731
OWN = "def own(truth, answers, *, wants='label'):\n    "
DEEP = "[" * 100_000 + "]" * 100_000

REFUSED: dict[str, Broken] = {
    # folders
    "data that does not exist": broken(lambda root: None, "does not exist", "give the folder"),
    "data that is a file": broken(lambda root: picture(root.parent / "p.jpg").rename(root), "is a file"),
    "an empty folder": broken(lambda root: root.mkdir(), "holds no pictures"),
    "no pictures": broken(lacking("train", "test"), "holds no pictures", r"pictures are"),
    "kinds that are not read": broken(other_files("a.h5", "b.pkl"), "holds no pictures", r"1 \.h5"),
    "pictures alone": broken(lacking("*.csv"), "no labels found", "--target"),
    "half of the train pictures missing": broken(
        lacking("train/a_00[0-5].jpg"), "6 of 12 values of column 'id' in train.csv name no picture", "a_000", "--id"
    ),
    "all test pictures missing": broken(lacking("test"), "4 of 4 ids of sample_submission.csv name no picture"),
    "a path too long for the system": broken(lambda root: None, "does not exist", options=f"--data {'x' * 5000}"),
    # tables
    "an empty train table": broken(train_text(""), "no labels found", "train.csv has no rows"),
    "a header only": broken(train_text("id,label\n"), "no labels found", "train.csv has no rows"),
    "NUL bytes": broken(train_text(lambda t: t.replace("dog", "d\0g")), "no labels found", "train.csv holds no text"),
    "NUL bytes far below": broken(
        train_rows(("id", "label"), *((f"a_{i % 12:03d}", "xyz"[i % 3] + "\0" * (i == 999)) for i in range(1000))),
        "no labels found",
        "train.csv",
        "NUL",
    ),
    "rows with a cell too many": broken(
        train_text(lambda t: t.replace(",cat", ",cat,striped")), "train.csv", "more cells than"
    ),
    "another separator below the header": broken(
        train_text("id,label\n" + "".join(f"{i};{c}\n" for i, c in rows())), "train.csv name no picture .*'a_000;x'"
    ),
    "the picture's name in no column": broken(
        train_rows(("id", "label"), *((f"q_{i}", "xy"[i % 2]) for i in range(12))), "name no picture|no labels found"
    ),
    "labels all NaN": broken(train_rows(("id", "label"), *rows(lambda i: "NaN")), "'label' holds no labels"),
    "one class only": broken(
        train_rows(("id", "label"), *rows(lambda i: "cat")), "every train row has the label 'cat'"
    ),
    "a constant number": broken(
        lambda root: competition(root, label=lambda i: 2.5, sample=1), "value 2.5", options="--metric rmse"
    ),
    "a label of its own for every row": broken(
        train_rows(("id", "label"), *rows(lambda i: f"text {i} of its own")), "no two train rows share a label"
    ),
    "numbers beyond what nets hold": broken(
        lambda root: competition(root, label=lambda i: f"{i}e300", sample=1), "e\\+?30", options="--metric rmse"
    ),
    "an infinite number": broken(
        train_rows(("id", "label"), *rows(lambda i: "inf" if i == 3 else i)), "holds 'inf'", options="--metric mae"
    ),
    "a sample of unknown columns": broken(
        sample_rows(("id", "north", "south"), ("b_000", 0, 0), ("b_001", 0, 0)), "asks for north, south", "--target"
    ),
    "a sample of other ids": broken(
        sample_rows(("id", "label"), *((f"z_{i}", "cat") for i in range(4))), "4 of 4 ids of sample_submission.csv"
    ),
    "json that breaks off": broken(only_json('[{"id": "a_000", "label": "x"}, {"id"'), "no labels", "train.json is no"),
    "json nested too deeply": broken(only_json(DEEP), "no labels found", "train.json is no json"),
    # pictures
    "every train picture a text": broken(every_picture(b"hello", "train"), "0 of 12 training pictures can be read"),
    "one readable class": broken(
        lambda root: (
            [(root / "train" / f"a_{i:03d}.jpg").write_bytes(b"") for i in range(12) if competition and i % 3]
            if competition(root)
            else None
        ),
        "all readable training pictures have the same target",
    ),
    # archives
    "a zip that is none": broken(
        lambda root: train_members(root) and (root / "train.zip").write_bytes(b"PK\x03\x04 nothing"),
        "train.zip cannot be read as an archive",
    ),
    "a zip locked by a password": broken(packed(lambda m: locked(zipped(m)), "train.zip"), "locked by a password"),
    "a zip out of its folder": broken(
        packed(lambda m: zipped({f"../../{n}": d for n, d in m.items()}), "train.zip"), "12 members refused .*leads out"
    ),
    "a tar of absolute paths": broken(
        packed(lambda m: tarred({f"/tmp/{n}": d for n, d in m.items()}), "train.tar"), "12 members refused .*leads out"
    ),
    "a tar of links": broken(
        packed(lambda m: tarred(dict.fromkeys(m, (tarfile.SYMTYPE, "/etc/passwd"))), "train.tar"), "12 members .*link"
    ),
    # commands
    "a budget of nothing": broken(competition, "budget '0s'", "at least 10s", options="--budget 0s"),
    "a budget below nothing": broken(competition, "budget '-5m'", "90s", options="--budget=-5m"),
    "a budget of ages": broken(competition, "budget '1e9d'", options="--budget 1e9d"),
    "a budget of a million years": broken(competition, "at most a year", options="--budget 365000000d"),
    "a budget in words": broken(competition, "budget 'abc'", "write it like", options="--budget abc"),
    "a budget of nan": broken(competition, "budget 'nan'", options="--budget nan"),
    "an unknown metric": broken(competition, "acuracy", "did you mean accuracy", options="--metric acuracy"),
    "a metric like none": broken(competition, "zzzz", "one of accuracy", options="--metric zzzz"),
    "a metric of numbers for names": broken(competition, "needs numbers", "'cat'", options="--metric rmse"),
    "a metric of labels for quantities": broken(NUMBERS, "quantity|regression", "--metric", options="--metric f2"),
    "an unknown --target": broken(competition, "no column 'colour'; it has label", options="--target colour"),
    "an unknown --id": broken(competition, "no column 'key'", "id, label", options="--id key"),
    "an unknown --group": broken(competition, "no column 'farm' to group by", options="--group farm"),
    "one fold": broken(competition, "--folds 1", options="--folds 1"),
    "no such device": broken(competition, "gpu", "cpu", options="--device gpu"),
    "an output that is a file": broken(
        beside("taken", "x"), "taken is a file; name a folder", options="--out {beside}/taken"
    ),
    "an output below a file": broken(
        beside("taken", "x"), "cannot be written", "another folder", options="--out {beside}/taken/run"
    ),
    "an output of other things": broken(competition, "holds other things", options="--out {beside}"),
    "an output where nothing can be written": broken(competition, "cannot be written", options="--out /proc/run"),
    "an output with too long a name": broken(competition, "cannot be written", options=f"--out {'y' * 300}"),
    "an output inside the data": broken(competition, "inside", "--out", options="--out {beside}/data/run"),
    "weights that are not there": broken(competition, "weights", "nowhere", options="--weights {beside}/nowhere"),
    "no such recipe": broken(competition, "recipe 'cook' is none of", options="--recipe cook"),
    "a recipe with a slip": broken(
        beside("r.py", "RECIPE = {'plan': [}\n"), "r.py cannot be imported", options="--recipe {beside}/r.py"
    ),
    "a recipe that raises": broken(
        beside("r.py", "RECIPE = {'folds': 1 // 0}\n"), "r.py .*division", options="--recipe {beside}/r.py"
    ),
    "a recipe that is a number": broken(beside("r.py", "RECIPE = 5\n"), "dict", options="--recipe {beside}/r.py"),
    "a recipe of unknown parts": broken(
        beside("r.py", "RECIPE = {'space': 5}\n"), "space", "SearchSpace", options="--recipe {beside}/r.py"
    ),
    "no such metric file": broken(competition, "no Python file", options="--metric {beside}/m.py:own"),
    "a metric file with a slip": broken(
        beside("m.py", "def own(:\n"), "m.py cannot be imported", options="--metric {beside}/m.py:own"
    ),
    "a metric file without the function": broken(
        beside("m.py", OWN + "return 1\n"), "has no 'other'; it has own", options="--metric {beside}/m.py:other"
    ),
    "a metric file that raises": broken(
        beside("m.py", "raise Exception('so')\n"), "m.py .*so", options="--metric {beside}/m.py:own"
    ),
    "a metric that raises": broken(
        beside("m.py", OWN + "raise KeyError('speed')\n"), "own.* KeyError.*speed", options="--metric {beside}/m.py:own"
    ),
    "a metric that returns words": broken(
        beside("m.py", OWN + "return 'good'\n"), "'good', which is no number", options="--metric {beside}/m.py:own"
    ),
    "a metric that is nan": broken(
        beside("m.py", OWN + "return float('nan')\n"), "own is NaN on 12 rows", options="--metric {beside}/m.py:own"
    ),
}

HANDLED: dict[str, Broken] = {
    # pictures
    "a truncated JPEG": broken(truncated, "1 unreadable pictures left out of training: a_003"),
    "a zero-byte file": broken(spoilt("train/a_003.jpg", b""), "1 unreadable pictures left out of training: a_003"),
    "a text called .jpg": broken(spoilt("test/b_001.jpg", b"hello"), "1 unreadable pictures answered .*: b_001"),
    "a PNG header of 50,000 by 50,000": broken(spoilt("train/a_003.jpg", png_header(50_000, 50_000)), "a_003"),
    "a JPEG header of 50,000 by 50,000": broken(spoilt("train/a_003.jpg", jpeg_header(50_000, 50_000)), "a_003"),
    "every test picture a text": broken(every_picture(b"hello", "test"), "4 unreadable pictures answered"),
    "an npy cut in half": broken(arrays(saved(np.ones((9, 9)), whole=False)), "left out of training: a_003"),
    "an npy of pickled objects": broken(
        arrays(saved(np.array([{"a": 1}, None], dtype=object), pickled=True)), "left out of training: a_003"
    ),
    "an npz of pickled objects": broken(array_of_objects, "12 train and 4 test"),
    # folders
    "a named pipe for a picture": broken(special(os.mkfifo, "train/a_003.jpg"), "no regular file", "1 train ids"),
    "a named pipe for a table": broken(special(os.mkfifo, "more.csv"), "no regular file", "12 train and 4 test"),
    "a named pipe for an archive": broken(special(os.mkfifo, "more.zip"), "no regular file", "12 train and 4 test"),
    "a socket for a picture": broken(special(socket_at, "test/b_001.jpg"), "no regular file", "1 test ids"),
    "links in circles": broken(link_loops, "12 train and 4 test", "links"),
    "a link to elsewhere for a picture": broken(
        special(lambda place: place.symlink_to("/etc/passwd"), "train/a_003.jpg"), "left out of training: a_003"
    ),
    "pictures named in other signs": broken(
        class_folders("é1", "日2", "a b3", "#4", "%5", "'6"), "12 train and 6 test"
    ),
    "line breaks in file names": broken(class_folders("a\n1", "b\r2", "c\t3", "d\\4"), "8 train and 4 test"),
    "very long file names": broken(class_folders("x" * 240 + "1", "y" * 240 + "2"), "4 train and 2 test"),
    "a file name that is no text": broken(odd_bytes, "12 train and 4 test", "1 files .*UTF-8"),
    "a folder too deep": broken(
        lambda root: picture(competition(root) / "/".join("abcdefghijklmnop") / "x.jpg"), "12 train and 4 test", "deep"
    ),
    "a few files missing": broken(
        lacking("train/a_00[0-2].jpg", "test/b_001.jpg"), "3 train ids have no picture", "1 test ids have no picture"
    ),
    # tables
    "no ids in some rows": broken(
        train_rows(("id", "label"), *rows(), ("", "x"), ("NaN", "y")), "12 train and 4 test", "2 train ids have no"
    ),
    "ids repeated": broken(
        train_rows(("id", "label"), *rows(), ("a_000", "x"), ("a_001", "z")),
        "2 train rows repeat",
        "1 id has rows of different labels",
    ),
    "ids out of the folder": broken(
        train_rows(("id", "label"), *rows(), ("../../../../etc/passwd", "x"), ("../../secret.jpg", "y")),
        "12 train and 4 test",
        "2 train ids have no picture",
    ),
    "ids that are absolute paths": broken(
        train_rows(("id", "label"), *rows(), ("/etc/passwd", "x"), ("/proc/self/environ", "y")),
        "12 train and 4 test",
        "2 train ids have no picture",
    ),
    "labels missing": broken(
        train_rows(("id", "label"), *rows(lambda i: "" if i < 3 else "xyz"[i % 3])), "3 train rows w"
    ),
    "latin-1": broken(
        train_text(lambda t: t.replace("dog", "dög"), "latin-1"), "read as cp1252 .lines 3, 6", "3 classes"
    ),
    "one bad byte": broken(
        train_text(
            lambda t: (
                t.replace("dog", "dög").encode().replace(b"a_001,d", b"a_001,d\xe9").decode("utf-8", "surrogateescape")
            ),
            errors="surrogateescape",
        ),
        "1 byte is not UTF-8 and read as cp1252 .line 3.",
        "4 classes",
    ),
    "GBK": broken(
        train_text(lambda t: t.replace("dog", "狗").replace("cat", "猫"), "gbk"), "read as gb18030", "3 classes"
    ),
    "a quote never closed": broken(
        train_text(lambda t: t.replace("a_001,", 'a_001,"')),
        "a quote in line 3 is never closed",
        "12 train",
        "3 classes",
    ),
    "a row with a cell too many": broken(
        train_text(lambda t: t.replace("a_003,cat", "a_003,cat,striped")),
        "line 5 has more cells than the header and is left out",
        "11 train",
        "3 classes",
    ),
    "a row with a cell too few": broken(
        train_text(lambda t: t.replace("a_003,cat", "a_003")), "line 5 has fewer cells", "11 train", "3 classes"
    ),
    "a separator that is declared": broken(
        train_text(lambda t: "sep=;\n" + t.replace(",", ";")), "12 train and 4 test", "3 classes"
    ),
    "utf-16": broken(train_text(lambda t: t.replace("dog", "dög"), "utf-16"), "read as utf-16", "3 classes"),
    "a byte order mark": broken(train_text(lambda t: t, "utf-8-sig"), "12 train and 4 test", "3 classes"),
    "other line ends": broken(train_text(lambda t: t.replace("\r\n", "\r")), "12 train and 4 test", "3 classes"),
    "2e4 columns": broken(wide, "20,002 columns", "12 train and 4 test"),
    "a column twice": broken(
        train_rows(("id", "label", "label"), *((*r, "q") for r in rows())), "'label' occurs twice", "3 classes"
    ),
    "a cell over several lines": broken(
        train_text(lambda t: t.replace("a_001,dog", 'a_001,"dog').replace("a_004,dog", 'a_004,dog"')),
        "train.csv.*line breaks",
    ),
    "a sample without a column to fill": broken(
        sample_rows(("id",), ("b_000",), ("b_001",)), "2 test pictures are not asked for", "written as id,label"
    ),
    "a sample of two rows": broken(
        sample_rows(("id", "label"), ("b_000", "cat"), ("b_001", "cat")),
        "2 test items",
        "2 test pictures are not asked",
    ),
    "a sample with ids without pictures": broken(
        sample_rows(("id", "label"), *((f"b_{i:03d}", "cat") for i in range(5))), "1 test ids have no picture .*b_004"
    ),
    "a sample with rows repeated": broken(
        sample_rows(("id", "label"), *((f"b_{i % 4:03d}", "cat") for i in range(8))), "4 test items"
    ),
    "a test table of other ids": broken(test_table_of_others, "test.csv", "not used"),
    "an id of 200,000 letters": broken(
        sample_rows(("id", "label"), *((f"b_{i:03d}", "cat") for i in range(4)), ("q" * 200_000, "cat")), "1 test ids"
    ),
    "broken json beside": broken(coco('{"images": [{"id": 1'), "annotations.json is no json", "12 train"),
    "deep json beside": broken(coco(DEEP), "annotations.json is no json", "12 train"),
    "json of other things": broken(coco(json.dumps({"a": {"b": [1, {"c": None}]}})), "12 train and 4 test"),
    # archives
    "a bomb in a zip": broken(
        packed(lambda m: claims(zipped({"0.jpg": bytes(9000), **m}), 4_000_000_000), "train.zip"),
        "1 members refused .*4000000000 bytes",
        "12 train and 4 test",
    ),
    "a real bomb in a zip": broken(
        packed(lambda m: zipped({"0.jpg": bytes(120 << 20), **m}), "train.zip"), "1 members refused", "12 train"
    ),
    "members out of a zip": broken(
        packed(lambda m: zipped({"../../../away/x.jpg": b"x", "/away/y.jpg": b"y", **m}), "train.zip"),
        "2 members refused .*leads out",
        "12 train and 4 test",
    ),
    "links and devices in a tar": broken(
        packed(
            lambda m: tarred(
                {
                    "l.jpg": (tarfile.SYMTYPE, "/etc/passwd"),
                    "h.jpg": (tarfile.LNKTYPE, "../../x"),
                    "d.jpg": (tarfile.CHRTYPE, ""),
                    "p.jpg": (tarfile.FIFOTYPE, ""),
                    **m,
                }
            ),
            "train.tar",
        ),
        "4 members refused .*links",
        "12 train and 4 test",
    ),
    "a zip with a spoilt member": broken(
        packed(lambda m: flipped(zipped(m, zipfile.ZIP_STORED)), "train.zip"), "unreadable pictures left out"
    ),
    "a member named like a source": broken(names_of_sources, "1 members refused", "12 train and 4 test"),
    "an archive that is none": broken(spoilt("more.7z", b"7z\xbc\xaf\x27\x1c spoilt"), "more.7z cannot be read"),
    "a gzip that is none": broken(spoilt("more.tar.gz", b"\x1f\x8b" + bytes(100)), "more.tar.gz cannot be read"),
}
