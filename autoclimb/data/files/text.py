"""Bytes -> text, whatever their encoding."""


def text_of(data: bytes) -> tuple[str, str]:
    """The text in some bytes, and the encoding it was taken for; "" for bytes that are no text."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace").lstrip("\ufeff"), "utf-16"
    start = data[:4096]
    if start.count(0) > len(start) // 4:
        low = "utf-16-le" if start[1:2] == b"\0" else "utf-16-be"
        text = data.decode(low, "replace")
        return (text, low) if text[:4096].isprintable() or text[:1].isalnum() else ("", "")
    if b"\0" in start:
        return "", ""
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"
