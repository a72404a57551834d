"""Archives and numbers in files: each kind gives what was put in, reads it once, and refuses what could do harm."""

import bz2
import gzip
import io
import json
import lzma
import struct
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import py7zr
import pytest
from broken import tarred, zipped
from hypothesis import given, settings
from hypothesis import strategies as st

from autoclimb.data.files import formats, opening
from autoclimb.data.files.archives import members_of, read_member, unsafe
from autoclimb.data.files.bson import BINARY, FEWEST_BYTES, fields_of
from autoclimb.data.files.opening import content_at
from autoclimb.data.files.spool import Stretch
from autoclimb.data.files.table import Table
from autoclimb.data.files.table_formats import tables_at
from autoclimb.data.sources import inside, parts_of
from autoclimb.errors import Mistake

MEMBERS = {"train/1.jpg": b"one" * 500, "train/2.jpg": b"", "three.jpg": bytes(range(256)) * 40}


def contents(file: Path | str, *way: object) -> bytes | np.ndarray:
    data = content_at(str(file), *map(str, way))[1]
    return data.read() if isinstance(data, Stretch) else data


def seven_zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", filters=[{"id": py7zr.FILTER_LZMA2, "preset": 0}]) as archive:
        for name, data in members.items():
            archive.writestr(data, name)
    return out.getvalue()


ARCHIVES: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "a.zip": zipped,
    "stored.zip": lambda members: zipped(members, zipfile.ZIP_STORED),
    "a.tar": tarred,
    "a.tar.gz": lambda members: gzip.compress(tarred(members)),
    "a.tgz": lambda members: gzip.compress(tarred(members)),
    "a.tar.bz2": lambda members: bz2.compress(tarred(members)),
    "a.tar.xz": lambda members: lzma.compress(tarred(members)),
    "plain.tar.gz": tarred,  # a plain tar under that name
    "a.7z": seven_zipped,
}
each_archive = pytest.mark.parametrize("name", ARCHIVES)


@each_archive
def test_every_member_of_an_archive_is_what_was_put_in(tmp_path, name):
    (tmp_path / name).write_bytes(ARCHIVES[name](MEMBERS))
    for member, data in MEMBERS.items():
        assert contents(tmp_path / name, member) == data
    with pytest.raises(KeyError):
        contents(tmp_path / name, "absent.jpg")
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]


@each_archive
def test_archives_may_lie_in_archives(tmp_path, name):
    inners = ("a.zip", "a.tar", "a.tgz", "a.7z")
    (tmp_path / name).write_bytes(ARCHIVES[name]({f"deep/{inner}": ARCHIVES[inner](MEMBERS) for inner in inners}))
    for inner in inners:
        assert contents(tmp_path / name, f"deep/{inner}", "three.jpg") == MEMBERS["three.jpg"]


@each_archive
def test_many_threads_read_one_archive(tmp_path, name):
    members = {f"{i}.bin": bytes([i]) * (1000 + i) for i in range(40)}
    (tmp_path / name).write_bytes(ARCHIVES[name](members))
    wrong: list[str] = []

    def read() -> None:
        wrong.extend(n for n, data in members.items() if contents(tmp_path / name, n) != data)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_solid_archive_is_decompressed_once(tmp_path, monkeypatch):
    (tmp_path / "a.7z").write_bytes(seven_zipped(MEMBERS))
    calls = []
    extract = py7zr.SevenZipFile.extractall
    monkeypatch.setattr(py7zr.SevenZipFile, "extractall", lambda *a, **k: calls.append(1) or extract(*a, **k))
    for _ in range(3):
        for member, data in MEMBERS.items():
            assert contents(tmp_path / "a.7z", member) == data
    assert calls == [1]


def test_an_archive_that_changed_is_opened_again(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"x": b"old"}))
    assert contents(tmp_path / "a.zip", "x") == b"old"
    (tmp_path / "a.zip").write_bytes(zipped({"x": b"newer"}))
    assert contents(tmp_path / "a.zip", "x") == b"newer"


def test_no_more_than_so_many_containers_stay_open(tmp_path):
    for i in range(opening.MOST_OPEN + 5):
        (tmp_path / f"{i}.zip").write_bytes(zipped({"x": bytes([i])}))
        assert contents(tmp_path / f"{i}.zip", "x") == bytes([i])
    assert len(opening.shelf) <= opening.MOST_OPEN
    assert contents(tmp_path / "0.zip", "x") == b"\0"


@pytest.mark.parametrize(
    "name",
    ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "..\\x.jpg", "C:\\x.jpg", "C:x.jpg", "\\x.jpg", "\\\\host\\share\\x"],
)
def test_a_member_that_points_outside_of_its_archive_is_refused(tmp_path, name):
    assert unsafe(name)
    for archive, build in (("a.zip", zipped), ("a.tar", tarred), ("a.tgz", ARCHIVES["a.tgz"])):
        (tmp_path / archive).write_bytes(build({name: b"harm"}))
        assert [member.refused for member in members_of(str(tmp_path / archive))] == [
            "its path leads out of the archive"
        ]
        with pytest.raises(ValueError, match="leads out"):
            contents(tmp_path / archive, name)
        with pytest.raises((ValueError, KeyError)):
            read_member(str(tmp_path / archive), name)


def test_links_in_a_tar_are_no_members(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("x.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        archive.addfile(link)
    with pytest.raises(KeyError):
        contents(tmp_path / "a.tar", "x.jpg")


@each_archive
def test_an_archive_that_ends_early_is_an_error_not_a_crash(tmp_path, name):
    content = ARCHIVES[name]({"a": bytes(range(256)) * 200, "b": b"x" * 5000})
    for share in (0.1, 0.5, 0.9):
        (tmp_path / name).write_bytes(content[: int(len(content) * share)])
        with pytest.raises((ValueError, OSError, EOFError, KeyError)):
            contents(tmp_path / name, "b")


def test_a_zip_member_that_claims_too_much_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "LARGE", 10_000)
    (tmp_path / "a.zip").write_bytes(zipped({"bomb": bytes(10_000_000), "fine": b"x" * 100}))
    with pytest.raises(ValueError, match="bomb"):
        contents(tmp_path / "a.zip", "bomb")
    assert contents(tmp_path / "a.zip", "fine") == b"x" * 100


def test_a_zip_member_that_needs_a_password_is_refused(tmp_path):
    raw = bytearray(zipped({"x": b"secret"}))
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(ValueError, match="password"):
        contents(tmp_path / "a.zip", "x")


@pytest.mark.parametrize("name", ["a.7z", "a.tar.gz"])
def test_an_archive_that_grows_too_much_is_refused_once(tmp_path, monkeypatch, name):
    monkeypatch.setattr(formats, "LARGE", 1 << 20)
    (tmp_path / name).write_bytes(ARCHIVES[name]({"zeros": bytes(9 << 20)}))
    for _ in range(2):
        with pytest.raises(ValueError, match="bomb"):
            contents(tmp_path / name, "zeros")


@pytest.mark.parametrize("name", ["a.zip", "a.7z", "a.tar.gz"])
def test_a_bomb_is_refused_by_one_rule_when_listed_taken_and_read(tmp_path, monkeypatch, name):
    file = str(tmp_path / name)
    honest, zeros = {"table.csv": b"id,label\n" * 1000}, {"zeros.csv": bytes(5 << 20)}
    (tmp_path / name).write_bytes(ARCHIVES[name](honest | zeros))
    assert [member.refused for member in members_of(file)] == ["", ""], "5 MB are no harm however they are packed"
    monkeypatch.setattr(formats, "LARGE", 1 << 20)
    monkeypatch.setattr(formats, "MOST_GROWTH", 500)
    with suppress(ValueError):  # a packed tar is refused as a whole
        assert ["bomb" in member.refused for member in members_of(file)] == [False, True]
    for read in (read_member, contents):
        with pytest.raises(ValueError, match="bomb"):
            read(file, "zeros.csv")


def test_a_full_disk_is_said_before_decompressing(tmp_path, monkeypatch):
    (tmp_path / "a.7z").write_bytes(seven_zipped(MEMBERS))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(Mistake, match="larger disk"):
        contents(tmp_path / "a.7z", "three.jpg")


def test_a_7z_without_its_package_is_a_mistake_that_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.7z").write_bytes(seven_zipped(MEMBERS))
    monkeypatch.setitem(sys.modules, "py7zr", None)
    with pytest.raises(Mistake, match=r"autoclimb\[archives\]"):
        contents(tmp_path / "a.7z", "three.jpg")


# --- npy and npz -----------------------------------------------------------------------------------------------------


def saved(array: np.ndarray, **options: object) -> bytes:
    out = io.BytesIO()
    np.save(out, array, **options)  # type: ignore[arg-type]
    return out.getvalue()


STACK = np.arange(5 * 6 * 7, dtype=np.float32).reshape(5, 6, 7)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("inner", [False, True])
def test_a_row_of_an_array_is_that_row_of_whatever_it_lies_in(tmp_path, order, inner):
    data = saved(np.asarray(STACK, order=order))  # type: ignore[call-overload]
    if inner:
        (tmp_path / "a.zip").write_bytes(zipped({"x.npy": data}))
        assert (contents(tmp_path / "a.zip", "x.npy", 3) == STACK[3]).all()
    else:
        (tmp_path / "x.npy").write_bytes(data)
        assert (contents(tmp_path / "x.npy", 3) == STACK[3]).all()
        assert (contents(tmp_path / "x.npy", 3, 2) == STACK[3, 2]).all()
        with pytest.raises(IndexError):
            contents(tmp_path / "x.npy", 5)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_row_of_a_named_array_of_an_npz(tmp_path, save):
    save(tmp_path / "x.npz", images=STACK, labels=np.zeros(5))
    assert (contents(tmp_path / "x.npz", "images", 2) == STACK[2]).all()


def test_arrays_of_objects_are_never_loaded(tmp_path):
    (tmp_path / "x.npy").write_bytes(saved(np.array([{}, {}], dtype=object), allow_pickle=True))
    with pytest.raises(ValueError, match="no pictures"):
        contents(tmp_path / "x.npy", 0)


def test_an_array_shorter_than_its_header_is_refused(tmp_path):
    (tmp_path / "x.npy").write_bytes(saved(STACK)[:-1])
    with pytest.raises(EOFError):
        contents(tmp_path / "x.npy", 0)


# --- json ------------------------------------------------------------------------------------------------------------

ROWS = [{"id": f"r{i}", "band_1": [i + 0.5] * 9, "deep": {"band": [[i, 2], [3, 4]]}, "angle": "na"} for i in range(50)]


@pytest.mark.parametrize("form", ["list", "indented", "lines"])
@pytest.mark.parametrize("piece", [7, 1 << 22])
def test_a_field_of_a_row_of_json_is_its_numbers(tmp_path, monkeypatch, form, piece):
    monkeypatch.setattr("autoclimb.data.files.json_numbers.PIECE", piece)
    text = {
        "list": json.dumps(ROWS),
        "indented": "\ufeff " + json.dumps(ROWS, indent=2),
        "lines": "\n".join(map(json.dumps, ROWS)),
    }[form]
    (tmp_path / "t.json").write_text(text, encoding="utf-8")
    assert contents(tmp_path / "t.json", 17, "band_1").tolist() == [17.5] * 9
    assert contents(tmp_path / "t.json", 49, "deep", "band").tolist() == [[49, 2], [3, 4]]
    for way in ((17, "angle"), (50, "band_1"), (17,)):
        with pytest.raises(KeyError):
            contents(tmp_path / "t.json", *way)


def test_json_may_be_bare_rows_or_columns_of_one_object(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([[1, 2, 3, 4], [5, 6, 7, 8]]))
    (tmp_path / "columns.json").write_text(json.dumps({"x": {"0": [1, 2], "1": [3, 4]}, "y": [[5, 6], [7, 8]]}))
    assert contents(tmp_path / "rows.json", 1).tolist() == [5, 6, 7, 8]
    assert contents(tmp_path / "columns.json", "x", 1).tolist() == [3, 4]
    assert contents(tmp_path / "columns.json", "y", 0).tolist() == [5, 6]


def test_json_inside_a_7z_is_parsed_once(tmp_path, monkeypatch):
    (tmp_path / "t.json.7z").write_bytes(seven_zipped({"data/t.json": json.dumps(ROWS).encode()}))
    calls = []
    decode = json.JSONDecoder.raw_decode
    monkeypatch.setattr(json.JSONDecoder, "raw_decode", lambda *a, **k: calls.append(1) or decode(*a, **k))
    for i in range(50):
        assert contents(tmp_path / "t.json.7z", "data/t.json", i, "band_1")[0] == i + 0.5
    assert len(calls) == 50


@pytest.mark.parametrize("text", ["", "[1, 2]", '[{"a": [1]}', '{"a": [1', "hello", "[" * 100_000, '[{"a": [1]}, x]'])
def test_broken_json_is_an_error_not_a_crash(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises((ValueError, KeyError)):
        contents(tmp_path / "t.json", 5, "a")


# --- bson ------------------------------------------------------------------------------------------------------------


def bson(document: dict) -> bytes:
    """One document of whole numbers, floats, texts, bytes, documents, lists and None."""
    out = b""
    for key, value in document.items():
        name = str(key).encode() + b"\0"
        if isinstance(value, bytes):
            out += b"\x05" + name + struct.pack("<i", len(value)) + b"\0" + value
        elif isinstance(value, str):
            out += b"\x02" + name + struct.pack("<i", len(value.encode()) + 1) + value.encode() + b"\0"
        elif isinstance(value, list | dict):
            inner = bson(dict(enumerate(value)) if isinstance(value, list) else value)
            out += (b"\x04" if isinstance(value, list) else b"\x03") + name + inner
        elif isinstance(value, float):
            out += b"\x01" + name + struct.pack("<d", value)
        elif value is None:
            out += b"\x0a" + name
        else:
            out += b"\x12" + name + struct.pack("<q", value)
    return struct.pack("<i", len(out) + 5) + out + b"\0"


values = st.recursive(
    st.binary(max_size=20) | st.text("aé日\0", max_size=5) | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=12,
)


def blobs(value: object) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [blob for one in inner for blob in blobs(one)]


def binaries(document: bytes) -> list[bytes]:
    fields = fields_of(document, 0, len(document))
    return [document[start : start + length] for _, kind, _, _, start, length in fields if kind == BINARY]


@given(st.dictionaries(st.sampled_from("abcdef"), values, max_size=5))
def test_the_binary_values_of_a_document_come_out_in_order(document):
    assert binaries(bson(document)) == blobs(document)


@settings(max_examples=200)
@given(st.data())
def test_a_spoilt_document_is_an_error_and_ends(data):
    content = bytearray(bson({"_id": 5, "imgs": [{"picture": b"one"}, {"picture": b"two"}], "name": "x"}))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        assert len(binaries(bytes(content))) <= 10


def shot(*numbers: int) -> bytes:
    """Bytes that are long enough to be a picture."""
    return bytes(numbers) + bytes(FEWEST_BYTES)


def tables_of(file: Path, *way: str) -> list[Table]:
    notes: list[str] = []
    tables = tables_at(way[-1] if way else file.name, inside(str(file), *way), notes, lambda cell: False)
    assert not notes
    return tables


@pytest.mark.parametrize("packed", [False, True])
def test_every_picture_that_a_table_of_bson_lists_is_the_one_that_is_read(tmp_path, packed):
    documents = [
        {"_id": i, "md5": bytes(16), "imgs": [{"hash": b"x" * 20, "picture": shot(i, k)} for k in range(i)], "n": None}
        for i in range(4)
    ]
    data = b"".join(map(bson, documents))
    file = tmp_path / ("t.zip" if packed else "t.bson")
    file.write_bytes(zipped({"t.bson": data}) if packed else data)
    (table,) = tables_of(file, *(["t.bson"] if packed else []))
    assert table.cells == {"_id": ["0", "1", "2", "3"]}
    for i, source in enumerate(table.sources):
        places = [place for (place,) in parts_of(source)] if source else []
        assert [contents(*place) for place in places] == [shot(i, k) for k in range(i)]


def test_a_document_that_is_not_there_is_an_error(tmp_path):
    (tmp_path / "t.bson").write_bytes(bson({"picture": shot(1)}))
    length = (tmp_path / "t.bson").stat().st_size
    assert contents(tmp_path / "t.bson", 0, 0) == shot(1)
    for way in ((0, 1), (1, 0), (length, 0), (-4, 0), (length - 3, 0)):
        with pytest.raises((ValueError, IndexError, EOFError)):
            contents(tmp_path / "t.bson", *way)
