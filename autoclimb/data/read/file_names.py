"""Layouts where the file name begins with the label: train/cat.0.jpg, train/dog_12.jpg."""

import re
from collections import Counter

from autoclimb.data.read.found import Found, Wish
from autoclimb.data.read.places import of_rows
from autoclimb.data.read.scan import Survey
from autoclimb.data.read.splits import side
from autoclimb.data.read.tables import find_sample, sample_id_column
from autoclimb.data.read.tested import test_items

NAMED = re.compile(r"([a-z][a-z _-]*?)[._ -]*\(?\d+\)?\.[^.]+$", re.IGNORECASE)
FEWEST = 3  # files a label needs; a word before a number that occurs less often is a name, not a class


def read_file_names(found: Survey, wish: Wish) -> Found | None:
    """The competition by its file names, or None where the train folder's names do not begin with two words or more."""
    rows = [i for i, path in enumerate(found.pictures) if side(path) > 0]
    begins = [NAMED.match(found.pictures[i].rsplit("/", 1)[-1]) for i in rows]
    words = Counter(m[1].lower() for m in begins if m)
    if not rows or len(words) < 2 or min(words.values()) < FEWEST or words.total() < len(rows):
        return None
    sample = find_sample(found)
    sample_id = sample_id_column(sample, found, wish) if sample else ""
    made = of_rows(rows, found)
    tested = test_items(found, sample, sample_id, None, "", set(made.files))
    answers = [c for c in sample.columns if c != sample_id] if sample else []
    return Found(
        train_ids=[found.pictures[i].rsplit("/", 1)[-1] for i in rows],
        train_files=made.files,
        labels={answers[0] if len(answers) == 1 else "label": [m[1].lower() for m in begins if m]},
        test_ids=tested.ids,
        test_files=tested.files,
        id_name=sample_id or "id",
        sample=sample,
        sample_id=sample_id,
        channels=made.channels,
        notes=(f"labels from how file names begin: {', '.join(list(words)[:5])}", *made.notes, *tested.notes),
    )
