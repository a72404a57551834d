"""Which files are read, by their endings, and how large they may be: every reader asks here."""

import os

RASTER = {".jpg", ".jpeg", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".jp2", ".avif"}
PICTURES = RASTER | {".dcm", ".dicom", ".npy"}
TABLES = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".bson"}
ARCHIVES = (".zip", ".7z", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
RANK = {".tif": 1, ".tiff": 1, ".dcm": 2, ".dicom": 2, ".npy": 3}  # of the forms of one picture the plainest is read


def ending(name: str) -> str:
    """The lower-case extension, that of the table where it is packed by itself: .csv of train.csv.gz."""
    low = name.lower()
    return os.path.splitext(low.removesuffix(".gz") if low.endswith((".csv.gz", ".tsv.gz")) else low)[1]


def stem_of(path: str) -> str:
    """The path without an archive's extension, "" where it has none: `a/train.tar.gz` -> `a/train`."""
    low = path.lower()
    return next((path[: -len(e)] for e in sorted(ARCHIVES, key=len, reverse=True) if low.endswith(e)), "")
