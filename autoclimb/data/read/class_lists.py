"""Files that list the classes in their order, such as classes.txt: which number stands for which name."""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from autoclimb.data.read.values import are_whole, same_name

ENDINGS = (".txt", ".names", ".labels", ".json", ".yaml", ".yml")
MOST_FILES = 200
MOST_BYTES = 1 << 20
NUMBER_FIRST = re.compile(r"\s*['\"]?(\d+)['\"]?\s*[:=,;\t ]\s*['\"]?(.+?)['\"]?\s*,?\s*")
NUMBER_LAST = re.compile(r"\s*['\"]?(.+?)['\"]?\s*[:=,;\t ]\s*['\"]?(\d+)['\"]?\s*,?\s*")
NAMES = re.compile(r"names\s*:\s*(\[.*?\])", re.DOTALL)  # of a yaml file


def numbers_of_classes(root: Path, classes: Collection[str]) -> tuple[dict[str, int], str]:
    """The number of each class by a file that lists them all, counted from 0 unless it says otherwise, and its name.

    Looks at small texts in the folder and in those right below it; ({}, "") where none lists the classes.
    """
    for names, file in lists_below(root):
        by_name = {same_name(name): number for name, number in names.items()}
        numbers = {c: by_name[same_name(c)] for c in classes if same_name(c) in by_name}
        if len(numbers) == len(classes) == len(set(numbers.values())):
            return numbers, file
    return {}, ""


def names_of_numbers(root: Path, numbers: Collection[str], shown: Collection[str]) -> tuple[dict[str, str], str]:
    """The name of each number by a file that lists what is shown, and its name; ({}, "") where none does."""
    for names, file in lists_below(root):
        by_number = {str(number): name for name, number in names.items()}
        if set(shown) <= set(names) and set(numbers) <= set(by_number):
            return {n: by_number[n] for n in numbers}, file
    return {}, ""


def lists_below(root: Path) -> Iterator[tuple[dict[str, int], str]]:
    """Names and their numbers in each text of the folder that may list classes, and the text's name."""
    files = sorted(f for pattern in ("*", "*/*") for f in root.glob(pattern) if f.suffix.lower() in ENDINGS)
    for file in files[:MOST_FILES]:
        try:
            if file.stat().st_size > MOST_BYTES:
                continue
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            continue
        yield from ((names, file.relative_to(root).as_posix()) for names in lists_in(text))


def lists_in(text: str) -> list[dict[str, int]]:
    """Names and their numbers in a text, in each way that it can be read as a list."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    listed = [{name: i for i, name in enumerate(lines)}, *of_json(text)]
    for pattern, name, number in ((NUMBER_FIRST, 2, 1), (NUMBER_LAST, 1, 2)):
        matches = [m for m in map(pattern.fullmatch, lines) if m]
        listed.append({m[name]: int(m[number]) for m in matches})
    return [names for names in listed if len(names) > 1]


def of_json(text: str) -> list[dict[str, int]]:
    """The lists of names in a json text or under `names` of a yaml, each with its numbers."""
    in_yaml = NAMES.search(text)
    try:
        value = json.loads(in_yaml[1].replace("'", '"') if in_yaml else text)
    except (ValueError, RecursionError):
        return []
    values = [value, *(value.values() if isinstance(value, dict) else ())]
    listed = []
    for entry in values:
        if isinstance(entry, list) and all(isinstance(name, str) for name in entry):
            listed.append({name: i for i, name in enumerate(entry)})
        if isinstance(entry, dict) and all(isinstance(v, str | int) for v in entry.values()):
            if are_whole(entry):
                listed.append({str(name): int(float(number)) for number, name in entry.items()})
            elif are_whole(map(str, entry.values())):
                listed.append({name: int(number) for name, number in entry.items()})
    return listed
