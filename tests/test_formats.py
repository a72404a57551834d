"""Endings, size limits and limits on growth have one home, which reading, fitting and predicting ask."""

import zipfile

from autoclimb.data.files.formats import PICTURES
from autoclimb.data.sources import shown
from autoclimb.run.result import pictures_of


def test_predict_takes_every_kind_of_picture_that_fit_takes(tmp_path):
    for ending in PICTURES:
        (tmp_path / f"a{ending}").write_bytes(b"x")
        (tmp_path / f"B{ending.upper()}").write_bytes(b"x")
    (tmp_path / "notes.txt").write_bytes(b"x")
    assert len(pictures_of(tmp_path)) == 2 * len(PICTURES)


def test_pictures_are_found_in_archives_and_litter_is_not(tmp_path):
    for name in ("a.jpg", "sub/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("._a.jpg", "__MACOSX/._a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("c/1.jpg", b"")
    assert [shown(source).rsplit("/", 1)[-1] for source in pictures_of(tmp_path)] == ["a.jpg", "1.jpg", "b.jpg"]
    assert len(pictures_of(tmp_path / "c.zip")) == 1
