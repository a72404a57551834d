"""The kind of a file by its first bytes, for names that do not tell it or are wrong."""

from autoclimb.data.files.tiff import MAGIC as TIFF

STARTING_BYTES = 132  # bytes that decide
PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", *TIFF)
STAND_INS = {  # first bytes, lower-case, of files that a download may leave in place of the real ones -> description
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: run `git lfs pull` where it is from",
    b"<!doctype html": "a web page, not the file itself: download it again, logged in if need be",
    b"<html": "a web page, not the file itself: download it again, logged in if need be",
}


def start_of(file: str) -> bytes:
    """The first bytes of a file, b"" where it cannot be read."""
    try:
        with open(file, "rb") as stream:
            return stream.read(STARTING_BYTES)
    except OSError:
        return b""


def begins_as_picture(start: bytes) -> bool:
    """Whether these are the first bytes of a picture."""
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return start.startswith(PICTURES) or webp or start[128:132] == b"DICM"


def stand_in(start: bytes) -> str:
    """What stands in for the real file, by its first bytes, in words; "" where it may be the real one."""
    low = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((words for begin, words in STAND_INS.items() if low.startswith(begin)), "")
