"""Any folder people have is read rightly, or refused in one line that helps."""

import re

import numpy as np
import pytest
from folders_people_have import COLOURS, FOLDERS

from autoclimb import read_task
from autoclimb.data.decoding import Decoding
from autoclimb.data.pixels import build_pixels
from autoclimb.errors import Mistake
from autoclimb.score.metrics import metric_named


def reading_of(folder, root):
    """The task, or None and the refusal without the folder's path."""
    given = {"id": None, "target": None, "group": None, **folder.options}
    try:
        return read_task(root, metric_named(folder.metric), given["id"], given["target"], given["group"]), ""
    except Mistake as mistake:
        return None, str(mistake).replace(str(root), "")


def colours_of(files, where):
    """The number of the colour that each picture shows, by its mean."""
    pixels = build_pixels(
        [file.split("\x1d")[0] for file in files], Decoding(8, "squash"), where
    )  # of several pictures the first
    assert not pixels.bad.any()
    mean = np.asarray(pixels.array, np.float64)[..., :3].mean((1, 2))
    return np.abs(mean[:, None] - np.array(COLOURS)[None]).sum(2).argmin(1).tolist()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_people_have_is_read_rightly_or_refused_in_a_line_that_helps(name, tmp_path):
    folder = FOLDERS[name]
    shown = folder.make(tmp_path / "folder")
    task, refusal = reading_of(folder, tmp_path / "folder")
    if task is None:
        assert folder.refusal, f"refused: {refusal}"
        assert re.search(folder.refusal, refusal), refusal
        return
    assert folder.reading, f"read as {task.kind} {task.classes}"
    read = {
        "kind": task.kind,
        "train": len(task.train_ids),
        "test": len(task.test_ids),
        "classes": list(task.classes),
        "groups": None if task.groups is None else len(set(task.groups.tolist())),
        "metadata": list(task.metadata.names) if task.metadata else [],
    }
    assert {key: read[key] for key in folder.reading} == folder.reading
    if folder.colours:
        labels = [folder.colours[task.classes[k]] for k in task.target]
        assert colours_of(task.train_files, tmp_path / "train") == labels
    if shown:
        assert colours_of(task.test_files, tmp_path / "test") == [shown[i] for i in task.test_ids]


def test_every_maker_says_where_such_a_folder_was_met():
    assert all("Source: https://" in (folder.make.__doc__ or "") for folder in FOLDERS.values())
