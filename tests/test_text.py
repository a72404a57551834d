"""Text of any encoding is read as what it is, and single bad bytes spoil nothing but themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoclimb.data.files.text import text_of

WORDS = {
    "cp1252": ["Äpfel", "Nüsse", "Öl", "café"],
    "cp1250": ["jabłko", "gruszka", "wiśnia", "śliwka"],
    "gb18030": ["苹果", "香蕉", "樱桃", "梨"],
    "big5": ["蘋果", "香蕉", "櫻桃"],
    "cp932": ["りんご", "バナナ", "さくらんぼ", "林檎"],
    "euc_jp": ["りんご", "バナナ", "さくらんぼ"],
    "cp949": ["사과", "바나나", "체리"],
    "cp1251": ["яблоко", "груша", "вишня"],
    "koi8_r": ["яблоко", "груша", "вишня"],
    "cp1253": ["μήλο", "αχλάδι", "κεράσι"],
}


def table(words: list[str]) -> str:
    return "id,label\n" + "".join(f"a_{i:03d}.jpg,{words[i % len(words)]}\n" for i in range(40))


@pytest.mark.parametrize("encoding", WORDS)
def test_a_few_words_are_enough_to_know_an_encoding(encoding):
    notes: list[str] = []
    text = table(WORDS[encoding])
    assert text_of("t.csv", text.encode(encoding), notes) == text
    assert [note.split(" (")[0] for note in notes] == [f"t.csv is not UTF-8 and is read as {encoding}"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_needs_no_guess(encoding):
    text = table(WORDS["cp1252"])
    assert text_of("t.csv", text.encode(encoding), []) == text


def test_bad_bytes_in_utf_8_are_mended_and_their_lines_named():
    text, notes = table(["Äpfel", "Öl"]), []
    data = text.encode().replace(b"a_007", b"a_0\xe97").replace(b"a_030", b"a_0\x810")
    assert text_of("t.csv", data, notes) == text.replace("a_007", "a_0é7").replace("a_030", "a_0\ufffd0")
    assert notes == ["t.csv: 2 bytes are not UTF-8 and read as cp1252 (lines 9, 32)"]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_text_or_none(data):
    text = text_of("t.csv", data, [])
    text.encode()
    assert "\udc80" not in text
