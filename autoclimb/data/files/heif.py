"""HEIF and HEIC, the photos of phones: opened by Pillow where their package is installed."""

from functools import cache

from autoclimb.data.files.formats import HAS_HEIF


@cache
def register_heif() -> None:
    """Adds HEIF to the formats that Pillow opens, once a process, where its package is installed."""
    if HAS_HEIF:
        from pi_heif import register_heif_opener

        register_heif_opener(decode_threads=1, thumbnails=False)  # pictures are decoded in parallel anyway
