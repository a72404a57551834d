"""Folders of people who downloaded, photographed or labelled something an hour ago: read rightly, or refused in a line
that says what was found and what to do about it."""

import base64
import gzip
import json
import struct
from importlib.util import find_spec

import numpy as np
import pytest
from folders import competition, metric, picture, table

from autoclimb.data.checks import contradiction
from autoclimb.data.decoding import Decoding
from autoclimb.data.files.formats import unread_words
from autoclimb.data.files.mends import with_objects
from autoclimb.data.files.starts import stand_in
from autoclimb.data.pixels import build_pixels
from autoclimb.data.read.folder import read_folder
from autoclimb.data.read.grades import grades_in_words
from autoclimb.data.read.values import without_spaces, without_unit
from autoclimb.data.sources import parts_of
from autoclimb.errors import Mistake
from autoclimb.run.checks import check_guesses

PHOTO = base64.b85decode(  # 16x16, red on the left and green on the right, as a phone would write it
    "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0004eZDn*}000000000XXk=`10000000000aA{+700000000000000000000B57=IV*mgE07O6l0R"
    "RC200001pa1~?000000027x001LtX>Mi!000000RR916=`l}WdZ;I000310BCk&F#rGn01j|zbZr0t000010002|X>f9I0002oX>en20001WXm("
    ">m0RwOV0058x000009`FGC{rLC*01pFT0096PKmiN^|NjGU00093kN^M!000939=ZZRVE_RDDMA4O18@KU0|1Z!00RI30{|YNAb|yz>aLpR;31&E"
    "fB*mtfB*mk0EA)y0RRR>0l{;@i2wiq6Ju{|a&BX6cmM$a4FCp!0000KX>)L8000000000$0000$0000eV{Bn?0000G000010000G00001|NsBc000"
    "02|NsBc000020000GaA|mH000000|*ER0000OX>e^}0000000001009Mo0s{qv0000(ZDe6|0000tC;_ht$XyuFBbb)|Y5)8)$V=gjT&!7~etagMc"
    "D{X1B4eQQl?(UO*hJ{dhO;tdfa5Yd-9s<"
)
NAMES = ("cat", "dog", "fox")


def class_folders(root, names=NAMES, count=6, ending=".jpg"):
    """Folders of pictures called after their class."""
    for k, name in enumerate(names):
        for i in range(count):
            picture(root / name / f"{name}{i}{ending}", seed=10 * k + i)
    return root


def refused(root, scorer=None, **options):
    """The line that a folder is refused with."""
    with pytest.raises(Mistake) as caught:
        read_folder(root, scorer, **options)
    return str(caught.value).replace(str(root), "")


def noted(task, kind):
    """The texts of a task's notes of a kind."""
    return " ".join(note.text for note in task.notes if note.kind == kind)


# --- pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(find_spec("pi_heif") is None, reason="the package that opens HEIF is optional")
def test_photos_of_a_phone_are_pictures(tmp_path):
    for k, name in enumerate(NAMES):
        (tmp_path / "c" / name).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "c" / name / f"IMG_{k}{i}.HEIC").write_bytes(PHOTO)
    task = read_folder(tmp_path / "c")
    assert (len(task.train_ids), task.groups) == (6, None)
    pixels = build_pixels(task.train_files[:1], Decoding(16, "squash"), tmp_path)
    left, right = np.asarray(pixels.array, int)[0, 8, 2], np.asarray(pixels.array, int)[0, 8, 13]
    assert left[0] > left[1] + 50
    assert right[1] > right[0] + 50


def test_photos_that_are_not_read_are_said_with_what_to_do(tmp_path):
    root = class_folders(tmp_path)
    for i in range(3):
        (root / "cat" / f"DSC_{i}.NEF").write_bytes(b"II*\0")
    task = read_folder(root)
    assert len(task.train_ids) == 18
    assert "3 .nef files are not read: develop them" in noted(task, "left")


def test_of_what_is_not_read_the_most_frequent_is_named():
    assert unread_words({".csv": 90, ".mp4": 1, ".rar": 7}).startswith("; 7 .rar files are not read: unpack")
    assert unread_words({".csv": 90}) == ""


@pytest.mark.parametrize("name", [lambda i: f"{i:04d}", lambda i: f"1.2.840.{1000 + i}"], ids=["bare", "uids"])
def test_pictures_without_an_ending_are_known_by_their_first_bytes(tmp_path, name):
    for k, kind in enumerate(NAMES):
        for i in range(4):
            picture(tmp_path / kind / "x.jpg", seed=10 * k + i).rename(tmp_path / kind / name(10 * k + i))
    (tmp_path / "LICENSE").write_text("MIT")
    task = read_folder(tmp_path)
    assert (len(task.train_ids), task.classes) == (12, NAMES)
    assert dict(task.other_files) == {"LICENSE": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [("version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"), ("<!DOCTYPE html>", "web page")],
)
def test_what_a_download_left_in_place_of_pictures_or_a_table_is_named(tmp_path, text, words):
    root = competition(tmp_path / "pictures")
    for file in (*root.glob("train/*"), *root.glob("test/*")):
        file.write_text(text)
    assert words in refused(root)
    root = competition(tmp_path / "table")
    (root / "train.csv").write_text(f"{text}\nmore,of it\n")
    assert words in refused(root)
    assert stand_in(b"\xff\xd8\xff") == ""


@pytest.mark.parametrize(("name", "words"), [("train.zip.crdownload", "not finished"), ("train.zip.001", "join")])
def test_missing_pictures_are_looked_for_in_unfinished_downloads(tmp_path, name, words):
    root = competition(tmp_path)
    for file in root.glob("train/*"):
        file.unlink()
    (root / name).write_bytes(b"PK")
    assert words in refused(root)


def test_mnist_is_read_as_it_is_downloaded(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
    for part, rows in (("train", 40), ("t10k", 20)):
        images = struct.pack(">4i", 2051, rows, 28, 28) + pixels[:rows].tobytes()
        labels = struct.pack(">2i", 2049, rows) + bytes(i % 10 for i in range(rows))
        for what, axes, data in (("images", 3, images), ("labels", 1, labels)):
            place = tmp_path / "c" / f"{part}-{what}-idx{axes}-ubyte"
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(data)
            place.with_name(f"{place.name}.gz").write_bytes(gzip.compress(data))
    (tmp_path / "c" / "train-images-idx3-ubyte").unlink()  # the packed one is left
    task = read_folder(tmp_path / "c")
    assert (len(task.train_ids), len(task.test_ids), len(task.classes)) == (40, 20, 10)
    assert task.target.tolist()[:12] == [*range(10), 0, 1]
    shown = build_pixels(task.train_files[:3], Decoding(28, "squash"), tmp_path).array
    np.testing.assert_array_equal(np.asarray(shown)[..., 0], pixels[:3])


# --- folders ---------------------------------------------------------------------------------------------------------


def test_folders_that_nobody_named_are_asked_about(tmp_path):
    root = class_folders(tmp_path, ("cat", "cat - Copy", "dog", "New folder (2)"))
    task = read_folder(root)
    with pytest.raises(Mistake, match=r"New folder \(2\), cat - Copy are taken for classes; .*--target cat,dog"):
        check_guesses(task, yes=False)
    check_guesses(read_folder(root, target="cat,dog"), yes=False)
    assert not contradiction(task)


def test_a_folder_of_a_few_charts_is_no_class(tmp_path):
    root = class_folders(tmp_path)
    picture(root / "runs" / "confusion.png")
    task = read_folder(root)
    assert task.classes == NAMES
    assert "runs are left out" in noted(task, "files")


def test_one_class_alone_is_said(tmp_path):
    assert "one folder cat: a second class needs one of its own" in refused(class_folders(tmp_path, ("cat",)))


def test_an_archive_in_place_of_a_folder_is_asked_for_in_one(tmp_path):
    (tmp_path / "data.zip").write_bytes(b"PK")
    with pytest.raises(Mistake, match="is a file; give the folder that holds it: archives"):
        read_folder(tmp_path / "data.zip")


def test_masks_are_said_not_to_be_learned(tmp_path):
    for i in range(6):
        picture(tmp_path / "images" / f"{i}.jpg", seed=i)
        picture(tmp_path / "masks" / f"{i}.png", seed=i)
    assert "6 masks such as masks/0.png are not learned" in refused(tmp_path)


def test_two_competitions_in_a_folder_are_not_mixed(tmp_path):
    competition(tmp_path / "one")
    competition(tmp_path / "two", label=lambda i: "xy"[i % 2], name=lambda split, i: f"{split}{split}{i}")
    assert "one and two hold a train table and a sample submission each" in refused(tmp_path)


# --- annotations beside pictures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        ("txt", "1 0.5 0.5 0.2 0.3\n"),
        ("txt", "cat\n"),
        ("json", '{"label": "cat", "shapes": [{"label": "cat"}]}'),
        ("xml", "<annotation><object><name>cat</name></object></annotation>"),
    ],
)
def test_a_file_a_picture_is_said_not_to_be_read(tmp_path, ending, text):
    for i in range(12):
        picture(tmp_path / "images" / f"{i}.jpg", seed=i)
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{i}.{ending}").write_text(text)
    assert f"12 .{ending} files such as labels/0.{ending} are about one picture each" in refused(tmp_path)


def test_boxes_beside_class_folders_and_labels_of_validation_pictures_leave_the_folders_the_labels(tmp_path):
    for k, name in enumerate(("n01", "n02", "n03")):  # Tiny ImageNet
        for i in range(8):
            picture(tmp_path / "train" / name / "images" / f"{name}_{i}.JPEG", seed=10 * k + i)
        rows = "".join(f"{name}_{i}.JPEG\t{i}\t0\t{i + 20}\t60\n" for i in range(8))
        (tmp_path / "train" / name / f"{name}_boxes.txt").write_text(rows)
    for i in range(6):
        picture(tmp_path / "val" / "images" / f"val_{i}.JPEG", seed=100 + i)
        picture(tmp_path / "test" / "images" / f"test_{i}.JPEG", seed=200 + i)
    rows = "".join(f"val_{i}.JPEG\tn0{i % 3 + 1}\t0\t32\t44\t62\n" for i in range(6))
    (tmp_path / "val" / "val_annotations.txt").write_text(rows)
    task = read_folder(tmp_path)
    assert (task.classes, len(task.train_ids), len(task.test_ids)) == (("n01", "n02", "n03"), 24, 6)


@pytest.mark.parametrize(
    ("columns", "answer"),
    [
        (("id", "class", "ymin", "xmin", "ymax", "xmax"), ("cat", 1, 1, 5, 5)),
        (("id", "PredictionString"), ("1.0 0 0 50 50",)),
        (("id", "EncodedPixels"), ("1 1",)),
    ],
)
def test_a_sample_that_asks_for_boxes_or_masks_is_refused(tmp_path, columns, answer):
    root = competition(tmp_path)
    rows = [(f"a_{i:03d}", NAMES[i % 3], *range(i, i + 4)) for i in range(12)]
    table(root / "train.csv", ("id", "class", "ymin", "xmin", "ymax", "xmax"), *rows)
    table(root / "sample_submission.csv", columns, *((f"b_{i:03d}", *answer) for i in range(4)))
    assert "boxes or masks are not learned" in refused(root)
    assert read_folder(root, target="class").classes == NAMES


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["submission_0.95.csv", "ensemble.csv"])
def test_answers_given_before_are_not_learned_from(tmp_path, name):
    root = competition(tmp_path)
    table(root / name, ("id", "label"), *((f"b_{i:03d}", NAMES[i % 3]) for i in range(4)))
    table(root / f"new_{name}", ("id", "label"), *((f"b_{i:03d}", "dog") for i in range(4)))
    assert len(read_folder(root).train_ids) == 12


def test_flags_at_the_end_of_a_table_are_a_guess_that_asks(tmp_path):
    root = competition(tmp_path)
    (root / "sample_submission.csv").unlink()
    rows = [(f"a_{i:03d}", "mf"[i % 2], 40 + i, i % 2, int(i % 3 == 0), int(i % 5 == 0)) for i in range(12)]
    table(root / "train.csv", ("id", "sex", "age", "edema", "mass", "nodule"), *rows)
    task = read_folder(root)
    assert (task.kind, task.classes) == ("multilabel", ("edema", "mass", "nodule"))
    with pytest.raises(Mistake, match="--target edema,mass,"):
        check_guesses(task, yes=False)


@pytest.mark.parametrize("target", [None, "normal,glaucoma,myopia"])
def test_pictures_in_two_columns_are_those_of_one_item(tmp_path, target):
    for i in range(12):
        for side in ("left", "right"):
            picture(tmp_path / "eyes" / f"{i}_{side}.jpg", seed=2 * i + (side == "left"))
    columns = ("ID", "age", "Left-Fundus", "Right-Fundus", "normal", "glaucoma", "myopia")
    rows = [(i, 50 + i, f"{i}_left.jpg", f"{i}_right.jpg", *(int(i % 3 == k) for k in range(3))) for i in range(12)]
    table(tmp_path / "annotations.csv", columns, *rows)
    task = read_folder(tmp_path, target=target)
    assert (len(task.train_ids), task.classes) == (12, ("normal", "glaucoma", "myopia"))
    assert [file.count("_left.jpg") + file.count("_right.jpg") for file in task.train_files] == [2] * 12


def test_pairs_of_pictures_are_items(tmp_path):
    for i in range(12):
        picture(tmp_path / "faces" / f"{i:02d}.jpg", seed=i)
    rows = [(f"{i % 12:02d}.jpg", f"{(5 * i + 1) % 12:02d}.jpg", i % 2) for i in range(24)]
    table(tmp_path / "pairs.csv", ("image1", "image2", "same"), *rows)
    task = read_folder(tmp_path)
    assert (task.kind, len(task.train_ids)) == ("binary", len(set(rows)))
    assert task.target.tolist() == [same for *_, same in dict.fromkeys(rows)]


def test_minus_one_among_codes_is_no_label_where_its_rows_stand_apart(tmp_path):
    for i in range(16):
        picture(tmp_path / "images" / f"{i:02d}.jpg", seed=i)
    codes = [i % 3 if i < 12 else -1 for i in range(16)]
    table(tmp_path / "labels.csv", ("id", "label"), *((f"{i:02d}", code) for i, code in enumerate(codes)))
    task = read_folder(tmp_path)
    assert (task.classes, len(task.train_ids), len(task.test_ids)) == (("0", "1", "2"), 12, 4)
    table(tmp_path / "labels.csv", ("id", "label"), *((f"{i:02d}", code) for i, code in enumerate(sorted(codes))))
    assert read_folder(tmp_path).classes == ("-1", "0", "1", "2")


def test_a_name_in_other_case_is_the_same_name(tmp_path):
    task = read_folder(competition(tmp_path, label=lambda i: ("Dog", "dog", "cat")[i % 3]))
    assert len(task.classes) == 2
    assert "spellings" in noted(task, "classes")


# --- grades and numbers in words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("No_DR", "Mild", "Moderate", "Severe", "Proliferate_DR"),
        ("very low", "low", "medium", "high", "very high"),
        ("poor", "fair", "good", "excellent"),
        ("small", "large"),
    ],
)
def test_words_that_say_how_much_have_an_order(names):
    grades, _ = grades_in_words(sorted(names), None)
    assert sorted(grades, key=lambda name: grades[name]) == list(names)


@pytest.mark.parametrize("names", [("cat", "dog"), ("mild", "slight"), ("mild", "tiny")])
def test_other_words_have_none(names):
    assert grades_in_words(names, None) == ({}, "")


@pytest.mark.parametrize(("sample", "cell"), [("Mild", "label"), (0, "number")])
def test_grades_in_words_are_written_as_the_sample_shows_them(tmp_path, sample, cell):
    root = competition(tmp_path, label=lambda i: ("Mild", "Severe", "Moderate")[i % 3], sample=sample)
    task = read_folder(root, metric("grade", "ordinal"))
    assert (task.kind, task.classes, task.grades) == ("ordinal", ("Mild", "Moderate", "Severe"), (0.0, 1.0, 2.0))
    assert task.target.tolist()[:3] == [0, 2, 1]
    assert task.form.cell == cell


def test_grades_are_in_the_order_of_a_list_and_without_one_it_is_asked_for(tmp_path):
    root = competition(tmp_path, label=lambda i: ("ripe", "green", "rotten")[i % 3], sample="ripe")
    assert "list the grades from the lowest on in a classes.txt" in refused(root, metric("grade", "ordinal"))
    (root / "classes.txt").write_text("green\nripe\nrotten\n")
    assert read_folder(root, metric("grade", "ordinal")).classes == ("green", "ripe", "rotten")


def test_grades_may_be_the_names_of_folders(tmp_path):
    task = read_folder(class_folders(tmp_path, ("Severe", "No_DR", "Mild")), metric("grade", "ordinal"))
    assert (task.kind, task.classes) == ("ordinal", ("No_DR", "Mild", "Severe"))


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["85%", "3.5%"], ["85", "3.5"]),
        (["$1,200", "$850,000"], ["1200", "850000"]),
        (["4 cm", "12 cm"], ["4", "12"]),
        (["stage 1", "stage 3"], ["1", "3"]),
        (["4 cm", "12 in"], None),
        (["4", "12"], None),
        (["cat", "dog"], None),
    ],
)
def test_a_unit_is_taken_off_where_all_numbers_have_it(cells, numbers):
    assert (without_unit(cells) or (None,))[0] == numbers


# --- json ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        {"version": 1, "images": [{"file": f"train/a_{i:03d}.jpg", "label": NAMES[i % 3]} for i in range(12)]},
        {  # VIA
            f"a_{i:03d}.jpg123": {
                "filename": f"a_{i:03d}.jpg",
                "regions": [],
                "file_attributes": {"class": NAMES[i % 3]},
            }
            for i in range(12)
        },
        {  # COCO: names of classes, not their numbers
            "images": [{"id": i, "file_name": f"a_{i:03d}.jpg"} for i in range(12)],
            "annotations": [{"id": i, "image_id": i, "category_id": 7 + i % 3} for i in range(12)],
            "categories": [{"id": 7 + k, "name": name} for k, name in enumerate(NAMES)],
        },
    ],
    ids=["images", "VIA", "COCO"],
)
def test_labels_are_found_in_json(tmp_path, value):
    root = competition(tmp_path)
    (root / "train.csv").unlink()
    (root / "sample_submission.csv").unlink()
    (root / "annotations.json").write_text(json.dumps(value))
    task = read_folder(root)
    assert (len(task.train_ids), task.classes) == (12, NAMES)
    assert [task.classes[k] for k in task.target[:3]] == list(NAMES)


@pytest.mark.parametrize("text", ['[{"a": null}]', '{"images": [{}]}', '[{"box": {"x": 1}}]'])
def test_json_of_nothing_is_no_table(tmp_path, text):
    root = competition(tmp_path)
    (root / "more.json").write_text(text)
    assert len(read_folder(root).train_ids) == 12


# --- tables as people save them --------------------------------------------------------------------------------------


def saved(root, text):
    """A competition whose train.csv is another text."""
    competition(root)
    (root / "train.csv").write_text(text)
    return root


ROWS = "".join(f"a_{i:03d},{NAMES[i % 3]}\n" for i in range(12))
QUOTED = "".join(f"'a_{i:03d}','{NAMES[i % 3]}'\n" for i in range(12))
OBJECTS = "".join(f'a_{i:03d}.jpg,"{{""label"": ""{NAMES[i % 3]}""}}",{{}}\n' for i in range(12))
BOXES = "".join(f"{NAMES[i % 3]},3,4,5,6,a_{i:03d}.jpg,12,12\n" for i in range(12))


@pytest.mark.parametrize(
    "text",
    [
        f",label\n{ROWS}",
        f"'id','label'\n{QUOTED}",
        f"id,label\n{ROWS[:60]}id,label\n{ROWS[60:]}",
        f"id,label\n{ROWS}Total,12\n",
        f"Labels of the field study\n\nid,label\n{ROWS}",
        f"filename,file_attributes,regions\n{OBJECTS}",
    ],
    ids=["ids in the index", "single quotes", "the header again", "a total", "a title", "objects of json"],
)
def test_a_table_is_read_however_it_was_saved(tmp_path, text):
    task = read_folder(saved(tmp_path, text))
    assert (len(task.train_ids), task.classes) == (12, NAMES)
    assert [task.classes[k] for k in task.target[:3]] == list(NAMES)


def test_the_first_row_of_a_table_without_a_header_is_a_row_wherever_its_picture_is_named(tmp_path):
    root = saved(tmp_path, BOXES)
    (root / "sample_submission.csv").unlink()
    assert len(read_folder(root).train_ids) == 12


def test_a_text_of_names_and_labels_may_have_colons(tmp_path):
    root = competition(tmp_path)
    (root / "train.csv").unlink()
    (root / "labels.txt").write_text("".join(f"a_{i:03d}.jpg: {NAMES[i % 3]}\n" for i in range(12)))
    assert read_folder(root).classes == NAMES


@pytest.mark.parametrize(
    ("cells", "numbers"), [(["1 200", "30 000,5", "7"], ["1200", "30000.5", "7"]), (["1'200", "7"], ["1200", "7"])]
)
def test_thousands_may_be_parted_by_spaces_and_apostrophes(cells, numbers):
    assert without_spaces(cells) == numbers
    assert without_spaces(["cat dog", "7"]) is None


def test_roman_numerals_count(tmp_path):
    root = competition(tmp_path, label=lambda i: ("IV", "I", "II")[i % 3], sample="I")
    assert read_folder(root, metric("grade", "ordinal")).classes == ("I", "II", "IV")


@pytest.mark.parametrize("shared", [False, True])
def test_pictures_of_one_patient_s_folder_stay_together_unless_the_test_shares_patients(tmp_path, shared):
    rows = []
    for i in range(24):
        path = f"train/patient{i // 2:05d}/study1/view{i % 2}.jpg"
        picture(tmp_path / path, seed=i)
        rows.append((path, NAMES[i % 3]))
    for i in range(6):
        picture(tmp_path / "test" / f"patient{i if shared else i + 100:05d}" / "study2" / f"view{i}.jpg", seed=100 + i)
    table(tmp_path / "train.csv", ("path", "label"), *rows)
    task = read_folder(tmp_path)
    assert (None if task.groups is None else len(set(task.groups.tolist()))) == (None if shared else 12)


# --- ordinary folders that such mending must leave alone --------------------------------------------------------------


def test_the_header_of_a_table_with_commas_in_its_cells_is_no_title(tmp_path):
    rows = "".join(f"a_{i:03d}|{('large, grey', 'small, red', 'small, grey')[i % 3]}\n" for i in range(12))
    root = saved(tmp_path, f"id|label\n{rows}")
    (root / "sample_submission.csv").unlink()
    assert read_folder(root, metric("label")).classes == ("large, grey", "small, grey", "small, red")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ((r"\Delta", r"\delta", r"\pi"), (r"\Delta", r"\delta", r"\pi")),
        (("a", "A", "Beta", "beta"), ("A", "Beta", "a", "beta")),
    ],
    ids=["LaTeX", "letters"],
)
def test_case_may_tell_classes_apart(tmp_path, labels, classes):
    task = read_folder(competition(tmp_path, label=lambda i: labels[i % len(labels)], sample=""))
    assert task.classes == classes
    check_guesses(task, yes=False)


def test_names_that_differ_in_case_alone_are_asked_about_where_both_are_frequent(tmp_path):
    labels = ("Delta", "delta", "Omega")
    with pytest.raises(Mistake, match="'delta' as 'Delta'; write them alike"):
        check_guesses(read_folder(competition(tmp_path / "even", label=lambda i: labels[i % 3])), yes=False)
    slip = competition(tmp_path / "slip", label=lambda i: "delta" if i == 0 else labels[i % 2 * 2], train=24)
    check_guesses(read_folder(slip), yes=False)


def test_one_column_for_each_letter_is_no_box(tmp_path):
    letters = "stuvwxyz"
    root = competition(tmp_path, label=lambda i: letters[i % 8], train=24)
    table(root / "sample_submission.csv", ("id", *letters), *((f"b_{i:03d}", *[0.125] * 8) for i in range(4)))
    assert read_folder(root).classes == tuple(letters)


@pytest.mark.parametrize("labels", [(0, 1), ("with_mask", "without_mask")])
def test_whether_a_face_has_a_mask_is_a_label(tmp_path, labels):
    task = read_folder(competition(tmp_path, column="mask", label=lambda i: labels[i % 2], sample=labels[0]))
    assert set(task.classes) == set(map(str, labels))


def test_trash_and_a_class_of_logs_are_classes(tmp_path):
    names = ("glass", "logs", "paper", "trash")
    root = class_folders(tmp_path, names, count=20)
    for file in list((root / "logs").iterdir())[6:]:
        file.unlink()
    task = read_folder(root)
    assert task.classes == names
    check_guesses(task, yes=False)


def test_words_have_their_order_although_a_file_lists_them_by_the_alphabet(tmp_path):
    root = competition(tmp_path, label=lambda i: ("Mild", "No_DR", "Severe")[i % 3], sample="Mild")
    (root / "classes.txt").write_text("Mild\nNo_DR\nSevere\n")
    assert read_folder(root, metric("grade", "ordinal")).classes == ("No_DR", "Mild", "Severe")


@pytest.mark.parametrize("tested", [False, True], ids=["train rows alone", "test rows too"])
def test_train_items_have_further_pictures_where_test_items_have_them(tmp_path, tested):
    root = competition(tmp_path)
    for i in range(16):
        picture(root / "reference" / f"r_{i}.jpg", seed=300 + i)
    rows = [(f"a_{i:03d}", f"r_{i}.jpg", NAMES[i % 3]) for i in range(12)]
    table(root / "train.csv", ("id", "reference", "label"), *rows)
    if tested:
        table(root / "test.csv", ("id", "reference"), *((f"b_{i:03d}", f"r_{12 + i}.jpg") for i in range(4)))
    task = read_folder(root)
    pictures = {len(parts_of(file)) for file in (*task.train_files, *task.test_files)}
    assert pictures == {2 if tested else 1}
    assert ("too, one beside the other" in noted(task, "match")) == tested


def test_minus_one_beside_0_and_1_asks_whether_it_is_a_class(tmp_path):
    for i in range(16):
        picture(tmp_path / "images" / f"{i:02d}.jpg", seed=i)
    table(tmp_path / "labels.csv", ("id", "label"), *((f"{i:02d}", -1 if i < 4 else i % 2) for i in range(16)))
    with pytest.raises(Mistake, match="empty the cells of -1, or number the classes from 0"):
        check_guesses(read_folder(tmp_path), yes=False)


def test_objects_with_a_key_of_their_own_each_are_no_columns():
    cells = {"id": ["a"] * 200, "scores": [json.dumps({f"k{i}": 1}) for i in range(200)]}
    assert with_objects(cells) == cells
    split = with_objects({"o": ['{"label": null}', "", '{"label": "cat"}']})
    assert split == {"label": ["", "", "cat"]}


@pytest.mark.parametrize(("boxes", "read"), [(True, False), (False, True)])
def test_four_flags_in_a_list_are_no_boxes(tmp_path, boxes, read):
    rows = [(1, 2, 3 + i, 9 + i) if boxes else (0, 0, i % 3 % 2, i % 2) for i in range(12)]
    for i in range(12):
        picture(tmp_path / f"{i:02d}.jpg", seed=i)
    (tmp_path / "list.txt").write_text(
        "".join(f"{i:02d}.jpg {' '.join(map(str, row))}\n" for i, row in enumerate(rows))
    )
    if read:
        assert read_folder(tmp_path).kind == "multilabel"
    else:
        assert "holds boxes" in refused(tmp_path)


@pytest.mark.parametrize(("largest", "groups"), [(2, 12), (22, None)])
def test_folders_of_patients_are_those_below_the_given_folder_and_none_may_hold_most(tmp_path, largest, groups):
    root = tmp_path / "subject1"
    rows = []
    for i in range(22 + largest):
        path = f"images/patient{max(0, i - largest + 2) // 2:02d}/{i}.jpg"
        picture(root / path, seed=i)
        rows.append((path, NAMES[i % 3]))
    table(root / "train.csv", ("path", "label"), *rows)
    task = read_folder(root)
    assert (None if task.groups is None else len(set(task.groups.tolist()))) == groups
