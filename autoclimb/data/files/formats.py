"""Which files are read, by their endings, and how large they may be. Every reader asks here."""

import os
from collections.abc import Mapping
from importlib.util import find_spec

HEIF = {".heic", ".heif", ".hif"}  # photos of phones
HAS_HEIF = find_spec("pi_heif") is not None
RASTER = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".webp", ".avif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".jpx"),
    *(HEIF if HAS_HEIF else ()),
}
PICTURES = RASTER | {".dcm", ".dicom", ".npy"}
ARCHIVES = (".zip", ".7z", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
RANK = {".tif": 1, ".tiff": 1, ".dcm": 2, ".dicom": 2, ".npy": 3}  # of the forms of one picture the plainest is read
PHOTOS = {  # endings of pictures that are not read -> what to do about them
    **({} if HAS_HEIF else dict.fromkeys(sorted(HEIF), "`pip install 'autoclimb[heic]'`, or convert them to jpg")),
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"), "develop them to jpg or tif"),
    **dict.fromkeys((".svg", ".psd", ".jxl", ".jxr", ".exr", ".nii", ".svs"), "convert them to png or tif"),
}
NOT_READ = {  # endings of all files that hold pictures or labels and are not read
    **PHOTOS,
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"), "cut frames out of the videos"),
    **dict.fromkeys((".crdownload", ".part", ".partial"), "the download was not finished: fetch it again"),
    **dict.fromkeys((".001", ".z01"), "a piece of an archive: join the pieces"),
    **dict.fromkeys((".rar", ".zip", ".7z"), "unpack it into the folder"),
    **dict.fromkeys((".tfrec", ".tfrecord", ".h5", ".hdf5", ".arrow"), "write their pictures to files"),
    **dict.fromkeys(
        (".mat", ".pkl", ".pickle", ".xls", ".ods", ".db", ".sqlite", ".yaml", ".yml"), "save labels as csv"
    ),
}

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


def unread_words(other: Mapping[str, int], most: int = 2) -> str:
    """What to do about files that hold pictures or labels and are not read, "" where there are none.

    `other` counts files by ending; the words begin with a semicolon, for the end of a sentence.
    """
    counts = sorted(((n, e) for e, n in other.items() if e in NOT_READ), reverse=True)
    return "".join(f"; {n} {e} file{'s are' if n > 1 else ' is'} not read: {NOT_READ[e]}" for n, e in counts[:most])
