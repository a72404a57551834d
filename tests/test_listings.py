"""Texts that list pictures: spaces, comments, counts above the header, relations by number, CVAT's xml."""

import pytest
from folders import picture

from autoclimb.data.files.csv import from_spaces, without_comments
from autoclimb.data.read.folder import read_folder
from autoclimb.data.read.survey import survey_of
from autoclimb.score.metrics import metric_named

HEAD = "# made by hand\n# name and class\n"


def tables_of(root, **texts):
    """The tables that a folder with pictures 0.jpg to 11.jpg and these texts has, as lists of rows."""
    for i in range(12):
        picture(root / "images" / f"{i}.jpg", seed=i)
    for name, text in texts.items():
        (root / name.replace("_dot_", ".")).write_text(text)
    return {t.name: (t.columns, list(zip(*t.cells.values(), strict=True))) for t in survey_of(root).tables}


def rows(form, count=12):
    return "".join(form.format(i=i, k=i % 3) + "\n" for i in range(count))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a,b\n1,2\n", "a,b\n1,2\n"),
        ("#a,b\n1,2\n", "a,b\n1,2\n"),
        (HEAD + "a,b\n1,2\n", "a,b\n1,2\n"),
        ("# one word more\n1 2\n", "1 2\n"),
        ("#", ""),
        ("", ""),
    ],
)
def test_comments_are_left_out_but_for_a_header(text, left):
    assert without_comments(text) == left


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("0.jpg   1\n1.jpg 2\n", "0.jpg\t1\n1.jpg\t2\n"),
        ("2\nred blue\n0.jpg  1 -1\n1.jpg -1  1\n", "image\tred\tblue\n0.jpg\t1\t-1\n1.jpg\t-1\t1\n"),
        ("file kind\n0.jpg 1\n1.jpg 2\n", "file\tkind\n0.jpg\t1\n1.jpg\t2\n"),
        ("some words of prose\nand a few more here\n", "some words of prose\nand a few more here\n"),
        ("a b,c\n0.jpg 1,2\n", "a b,c\n0.jpg 1,2\n"),
    ],
)
def test_any_number_of_spaces_may_stand_between_cells(text, read):
    assert from_spaces(text, lambda word: word.endswith(".jpg")) == read


def test_a_list_of_records_is_a_table(tmp_path):
    tables = tables_of(tmp_path, train_dot_lst=rows("{i}\t{k}.000000\timages/{i}.jpg"))
    columns, cells = tables["train.lst"]
    assert (len(columns), cells[1]) == (3, ("1", "1.000000", "images/1.jpg"))


def test_texts_of_number_and_value_are_tables_called_after_their_files(tmp_path):
    tables = tables_of(
        tmp_path,
        images_dot_txt=rows("1{i:02d} images/{i}.jpg"),
        kinds_dot_txt=rows("1{i:02d} {k}"),
        train_test_split_dot_txt=rows("1{i:02d} 1", 8) + rows("2{i:02d} 0", 4),
        notes_dot_txt="12 things to do\n11 of them today\n",
    )
    assert {name: columns for name, (columns, _) in tables.items()} == {
        "images.txt": ["number", "images"],
        "kinds.txt": ["number", "kinds"],
        "train_test_split.txt": ["number", "train"],
    }


def test_cvats_images_are_rows_of_their_labels(tmp_path):
    body = (
        '<image id="0" name="0.jpg"><tag label="cat"/></image>'
        '<image id="1" name="1.jpg"><box label="cat"/><box label="dog"/><box label="dog"/></image>'
        '<image id="2" name="2.jpg"></image>'
    )
    tables = tables_of(tmp_path, annotations_dot_xml=f"<annotations><meta/>{body}</annotations>")
    assert tables["annotations.xml"][1] == [("0.jpg", "cat"), ("1.jpg", "cat"), ("1.jpg", "dog"), ("2.jpg", "")]


@pytest.mark.parametrize("text", ["<annotation><object/></annotation>", "<annotations><image", "no xml"])
def test_other_xml_is_named_and_not_read(tmp_path, text):
    tables_of(tmp_path, a_dot_xml=text)
    notes = [note for note in survey_of(tmp_path).notes if note.about == "a.xml"]
    assert [note.kind for note in notes] == ["ignored"]


def test_an_xml_a_picture_is_counted_and_not_read(tmp_path):
    for i in range(7):
        (tmp_path / f"{i}.xml").write_text("<annotation/>")
    picture(tmp_path / "0.jpg")
    assert [note.text for note in survey_of(tmp_path).notes] == ["7 .xml files are not read (0.xml ...)"]


def test_a_json_of_files_by_label_is_a_table(tmp_path):
    tables = tables_of(tmp_path, by_label_dot_json='{"cat": ["0.jpg", "1.jpg"], "dog": ["2.jpg"]}')
    assert tables["by_label.json"][1] == [("0.jpg", "cat"), ("1.jpg", "cat"), ("2.jpg", "dog")]


def test_figures_beside_folders_called_as_their_files_are_no_class(tmp_path):
    for i in range(12):
        name = ("cat", "dog")[i % 2]
        picture(tmp_path / name / f"{name} ({i}).jpg", seed=i)
    for i in range(3):
        picture(tmp_path / f"figure{i}.jpg", seed=100 + i)
    task = read_folder(tmp_path, metric_named("accuracy"))
    assert (task.classes, len(task.train_ids)) == (("cat", "dog"), 12)
    assert any(n.kind == "left" and n.text.startswith("3 pictures") for n in task.notes)
