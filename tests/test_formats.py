"""Endings, size limits and limits on growth have one home, which reading, fitting and predicting ask."""

from autoclimb.data.files.formats import PICTURES
from autoclimb.run.result import pictures_of


def test_predict_takes_every_kind_of_picture_that_fit_takes(tmp_path):
    for ending in PICTURES:
        (tmp_path / f"a{ending}").write_bytes(b"x")
        (tmp_path / f"B{ending.upper()}").write_bytes(b"x")
    (tmp_path / "notes.txt").write_bytes(b"x")
    assert len(pictures_of(tmp_path)) == 2 * len(PICTURES)
