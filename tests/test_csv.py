"""Csv tables: separators, decimal commas, and single bad lines, which are mended or left out and named."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoclimb.data.files.csv import tables_in
from autoclimb.data.files.spool import on_disk
from autoclimb.data.files.table import Table, TableFile

NAMES = [f"a_{i:03d}.jpg" for i in range(40)]


def read(text: str, name: str = "t.csv") -> tuple[Table | None, list[str]]:
    notes: list[str] = []
    data = on_disk(name, text.encode())
    tables = tables_in(TableFile(name, name, data, notes, lambda cell: cell in NAMES))
    return (tables[0] if tables else None), notes


cells = st.text("ab1 é'\"", max_size=4)


@given(st.sampled_from(",;\t|"), st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=8))
def test_every_separator_gives_back_the_cells_that_were_written(separator, rows):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, quoting=csv.QUOTE_ALL)
    writer.writerows([("x", "y", "z"), *rows])
    table, _ = read(out.getvalue())
    assert table.separator == separator
    assert list(zip(*table.cells.values(), strict=True)) == [tuple(c.strip() for c in row) for row in rows]


@pytest.mark.parametrize("declared", ["sep=;\n", '"sep=;"\r\n', "SEP=;\n"])
def test_a_line_that_declares_the_separator_is_no_row(declared):
    table, notes = read(declared + "id;label,other\n1;a\n2;b\n")
    assert table.cells == {"id": ["1", "2"], "label,other": ["a", "b"]}
    assert not notes


def test_of_several_signs_the_one_that_cuts_all_lines_alike_is_the_separator():
    table, _ = read("id,labels;names\na,x;y\nb,x\nc,y;z;x\n")
    assert table.columns == ["id", "labels;names"]
    table, _ = read("a_000.jpg;7,5\na_001.jpg;7,25\n")
    assert table.cells == {"column 1": NAMES[:2], "column 2": ["7.5", "7.25"]}


@pytest.mark.parametrize(
    ("values", "read_as"),
    [
        (["10,15", "0,5", "-3,0", "7"], ["10.15", "0.5", "-3.0", "7"]),
        (["0,05", "", "0,75", "0,5"], ["0.05", "", "0.75", "0.5"]),
        (["1,2", "3,5", "2,3", "4"], None),  # sets of codes
        (["1,2,3", "3", "2,3", "4"], None),
        (["1,x", "2,5", "3,5", "3,1"], None),
    ],
)
def test_decimal_commas_are_read_where_every_cell_is_a_number(values, read_as):
    table, notes = read("id;w\n" + "".join(f"{i};{v}\n" for i, v in enumerate(values)))
    assert table.cells["w"] == (read_as or values)
    assert notes == (["t.csv: the numbers of 'w' have decimal commas"] if read_as else [])
    table, _ = read("id,w\n" + "".join(f'{i},"{v}"\n' for i, v in enumerate(values)))
    assert table.cells["w"] == values, "with commas between cells they are not numbers"


def products(*odd: tuple[int, str]) -> str:
    lines = [f"{1000 + i},{'mf'[i % 2]},{['red', 'green', 'blue'][i % 3]},Shirt of kind {i}" for i in range(40)]
    for i, line in odd:
        lines[i] = line
    return "id,gender,colour,name\n" + "\n".join(lines) + "\n"


def test_a_cell_too_many_is_joined_where_only_one_place_fits_the_other_rows():
    table, notes = read(products((7, "1007,m,red,Shirt, with belt"), (23, "1023,f,blue,A, B, and C")))
    assert table.rows == 40
    assert (table.cells["colour"][7], table.cells["name"][7]) == ("red", "Shirt,with belt")
    assert table.cells["name"][23] == "A,B,and C"
    assert notes == ["t.csv: 2 lines (9, 25) have more cells than the header, of which two or more are joined"]


def test_a_row_that_fits_nowhere_is_left_out_and_named():
    table, notes = read(products((7, "1007,m,x,y,Shirt")))
    assert (table.rows, "1007" in table.cells["id"]) == (39, False)
    assert notes == ["t.csv: line 9 has more cells than the header and is left out; quote cells with separators"]


def test_a_table_of_many_bad_rows_is_not_guessed_at():
    table, notes = read(products(*((i, f"10{i:02d},m,x,y,Shirt") for i in range(12))))
    assert table is None
    assert "could not be read" in notes[0]


def test_blank_cells_beyond_the_header_are_cut():
    table, notes = read(products((7, "1007,m,red,Shirt,,")))
    assert (table.rows, notes) == (40, [])


def test_a_row_of_too_few_cells_is_kept_and_named():
    table, notes = read(products((7, "1007,m")))
    assert (table.rows, table.cells["colour"][7]) == (40, "")
    assert notes == ["t.csv: line 9 has fewer cells than the header; the last are blank"]


def test_a_quote_that_is_never_closed_is_taken_off():
    table, notes = read(products((7, '1007,m,red,"Shirt of 12')))
    assert (table.rows, table.cells["name"][7], table.cells["name"][8]) == (40, "Shirt of 12", "Shirt of kind 8")
    assert notes == ["t.csv: a quote in line 9 is never closed and is taken off"]


def test_a_text_file_is_a_table_only_where_it_lists_pictures():
    assert read("a b c\nd e f\n", "readme.txt") == (None, [])
    table, _ = read("".join(f"{name} {i % 3}\n" for i, name in enumerate(NAMES)), "train.txt")
    assert table.cells["column 1"] == NAMES


def test_lines_are_counted_as_in_the_file(tmp_path):
    text = "sep=,\n" + products((7, "1007,m,x,y,Shirt"))
    assert read(text)[1] == [
        "t.csv: line 10 has more cells than the header and is left out; quote cells with separators"
    ]
