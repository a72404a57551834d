"""Files on disk: written beside their place, synced, then renamed, so that nobody reads half a file.

A journal grows by lines instead; a line that was cut off by a kill is left out when the journal is read.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from autoclimb.errors import Mistake, writing_to


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it is renamed to `path` when the block ends without an error, deleted else.

    It keeps the ending of `path`, since some writers go by it. The contents are synced before the renaming, so that
    after a power cut there is the old file or the new one.
    """
    part = path.with_name(f".part-{os.getpid()}-{path.name}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def lock_folder(folder: Path, kind: str) -> TextIO:
    """An open file that locks a folder against other processes until it is closed or its process ends.

    The folder is made if need be; `kind` is the work in it, for the message. Raises Mistake where another process has
    the lock or the folder cannot be written. A file system without locks locks nothing.
    """
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Mistake(f"another {kind} is running in {folder}; wait for its end or name another --out") from None
    except OSError:
        pass
    return file


def write_text(path: Path, text: str) -> None:
    """Writes text in UTF-8; a character that it cannot hold, as of a file's name in another encoding, becomes `?`."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", errors="replace")


def write_json(path: Path, values: Any) -> None:
    """Writes json, one value a line; NaN and infinity as Python writes them."""
    write_text(path, json.dumps(values, indent=1, allow_nan=True))


def read_json(path: Path) -> Any:
    """The values that `write_json` wrote; raises ValueError where the file was damaged from outside."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_array(path: Path, array: np.ndarray) -> None:
    """Writes a `.npy` file."""
    with whole_file(path) as part, part.open("wb") as file:
        np.save(file, array)


def append_json(path: Path, values: Any) -> None:
    """Adds a line of json to a journal, in one write."""
    line = json.dumps(values, allow_nan=True, default=str) + "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(line)


def read_lines(path: Path) -> list[Any]:
    """A journal's values in the order they were added, lines that are not complete json left out; [] without a file."""
    values = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        with suppress(ValueError):
            values.append(json.loads(line))
    return values


def with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    """The values with lists, which json makes of tuples, as tuples again."""
    return {name: _tuples(value) for name, value in values.items()}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
