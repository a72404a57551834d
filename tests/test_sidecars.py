"""Annotations beside the pictures are never passed over in silence for the names of folders."""

import pytest
from folders import picture

from autoclimb import Mistake, read_task
from autoclimb.data.read.sidecars import voc_names, yolo_classes


def voc(name: str) -> str:
    box = "<bndbox><xmin>1</xmin></bndbox>"
    return f"<annotation><object><pose>Left</pose><name>{name}</name>{box}</object></annotation>"


def sites(root, label_of, ending, text):
    """Pictures of two sites, and an annotation beside each."""
    for i in range(24):
        path = picture(root / ("north", "south")[i // 12] / f"IMG_{i:04d}.jpg", seed=i)
        path.with_suffix(ending).write_text(text(label_of(i)))
    return root


@pytest.mark.parametrize(
    ("ending", "text"), [(".xml", lambda k: voc("cat" if k else "dog")), (".txt", "{} .5 .5 .2 .2".format)]
)
def test_folders_of_sites_are_no_classes_where_annotations_say_others(tmp_path, ending, text):
    root = sites(tmp_path, lambda i: i % 2, ending, text)
    with pytest.raises(Mistake, match=r"annotations beside.*north/IMG_0000.*not read.*north, south.*csv"):
        read_task(root, "accuracy")


def test_annotations_that_agree_with_the_folders_are_no_reason_to_refuse(tmp_path):
    root = sites(tmp_path, lambda i: i // 12, ".xml", lambda k: voc("cat" if k else "dog"))
    assert read_task(root, "accuracy").classes == ("north", "south")


def test_texts_that_are_no_annotations_are_no_reason_to_refuse(tmp_path):
    root = sites(tmp_path, lambda i: i % 2, ".txt", lambda k: f"a picture of {k}")
    assert read_task(root, "accuracy").classes == ("north", "south")


def test_annotations_in_a_folder_of_their_own_are_found(tmp_path):
    for i in range(24):
        site = ("north", "south")[i // 12]
        picture(tmp_path / "images" / site / f"{i}.jpg", seed=i)
        (tmp_path / "Annotations" / site).mkdir(parents=True, exist_ok=True)
        (tmp_path / "Annotations" / site / f"{i}.xml").write_text(voc(("cat", "dog", "cow")[i % 3]))
    with pytest.raises(Mistake, match="cat, cow, dog"):
        read_task(tmp_path, "accuracy")


@pytest.mark.parametrize(
    ("text", "classes"),
    [("0 .5 .5 .1 .1\n2 0.1 0.2 0.3 0.4", {"class 0", "class 2"}), ("", set()), ("a b", set()), ("1 2 3", set())],
)
def test_lines_of_a_class_and_a_box_are_yolos(text, classes):
    assert yolo_classes(text) == classes


def test_only_objects_names_count_in_voc():
    assert voc_names("<annotation><owner><name>Ann</name></owner>" + voc("cat")) == {"cat"}
    assert voc_names("<list><object><name>cat</name></object></list>") == set()
