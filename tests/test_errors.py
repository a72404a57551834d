"""Errors in words: one line, whatever an error says of itself."""

import errno

import pytest

from autoclimb.data.files import table_formats
from autoclimb.errors import Mistake, first_line, writing_to


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (OSError("\n  too long\n"), "too l"),
        (EOFError(), "EOFError"),
        (ValueError(" \n"), "ValueError"),
    ],
    ids=repr,
)
def test_the_first_line_of_an_error_is_short_and_never_empty(error, line):
    assert first_line(error, 5 if line == "too l" else 80) == line


def test_a_table_that_fails_without_a_word_is_left_out_with_the_kind_of_its_failure(tmp_path, monkeypatch):
    def silent(file):
        raise EOFError  # as of a zip whose member is cut short

    (tmp_path / "train.csv").write_text("id,label\n")
    monkeypatch.setitem(table_formats.TABLE_FORMATS, ".csv", silent)
    notes: list[str] = []
    assert table_formats.tables_at("train.csv", str(tmp_path / "train.csv"), notes, lambda name: False) == []
    assert notes == ["train.csv could not be opened and is ignored (EOFError)"]


def test_what_cannot_be_written_asks_for_another_of_its_kind(tmp_path):
    words = r"--out .*x cannot be written \(Permission denied\); name another folder"
    with pytest.raises(Mistake, match=words), writing_to(tmp_path / "x", "folder"):
        raise PermissionError(errno.EACCES, "Permission denied")
