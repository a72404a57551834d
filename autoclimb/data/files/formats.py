"""Which files are read, by their endings, and how large they may be. Every reader asks here."""

import os

RASTER = {".jpg", ".jpeg", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".jp2", ".avif"}
PICTURES = RASTER | {".dcm", ".dicom", ".npy"}
ARCHIVES = (".zip", ".7z", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
RANK = {".tif": 1, ".tiff": 1, ".dcm": 2, ".dicom": 2, ".npy": 3}  # of the forms of one picture the plainest is read

MOST_PIXELS = 178_956_970  # of a picture; a header that claims more is taken for a bomb (Pillow's own bound)
MOST_NUMBERS = 4 * MOST_PIXELS  # of an array: four bands of the largest picture
MOST_PICTURE_BYTES = 1 << 29  # of a file that is one picture: uncompressed, the largest takes as much in RGB
MOST_TABLE_BYTES = 6 << 30  # of a table, which is read as a whole
MOST_DOCUMENT_BYTES = 1 << 28  # of a bson document, or of a row of json
MOST_MEMBERS = 5_000_000  # of an archive
LARGE = 100 << 20  # bytes that may come out of however few
MOST_GROWTH = 1000  # bytes out of one; deflate reaches 1030 on zeros alone, a table of 5,000 equal cells a row 500


def bomb(size: int, packed: int) -> str:
    """Why data that grow from `packed` to `size` bytes are taken for a bomb, "" where they are not."""
    if size <= LARGE or size <= MOST_GROWTH * max(packed, 1):
        return ""
    return f"taken for a bomb: {size} bytes packed into {packed}"


def ending(name: str) -> str:
    """The lower-case extension, that of the table where it is packed by itself: .csv of train.csv.gz."""
    low = name.lower()
    return os.path.splitext(low.removesuffix(".gz") if low.endswith((".csv.gz", ".tsv.gz")) else low)[1]


def stem_of(path: str) -> str:
    """The path without an archive's extension, "" where it has none: `a/train.tar.gz` -> `a/train`."""
    low = path.lower()
    return next((path[: -len(e)] for e in sorted(ARCHIVES, key=len, reverse=True) if low.endswith(e)), "")
