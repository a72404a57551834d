"""What a file is by its first bytes, where its name does not tell or deceives."""

from autoclimb.data.files.tiff import MAGIC as TIFF

BEGUN = 132  # bytes that tell
PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", *TIFF)
STAND_INS = {  # the beginning, lower-case, of what a download may leave in place of a file -> what it is
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: run `git lfs pull` where it is from",
    b"<!doctype html": "a web page, not the file itself: download it again, logged in if need be",
    b"<html": "a web page, not the file itself: download it again, logged in if need be",
}


def start_of(file: str) -> bytes:
    """The first bytes of a file, none of one that cannot be read."""
    try:
        with open(file, "rb") as opened:
            return opened.read(BEGUN)
    except OSError:
        return b""


def begins_as_picture(start: bytes) -> bool:
    """Whether these are the first bytes of a picture."""
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return start.startswith(PICTURES) or webp or start[128:132] == b"DICM"


def stand_in(start: bytes) -> str:
    """What lies there in place of a file, by its first bytes, "" for a file that may be what it says."""
    low = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((words for begin, words in STAND_INS.items() if low.startswith(begin)), "")
