"""Layouts without a table of labels: the folder is the label (train/<class>/*.png), or the file name begins with it."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from autoclimb.data.read.choosing import ENOUGH
from autoclimb.data.read.extras import without_extras
from autoclimb.data.read.items import Listed
from autoclimb.data.read.levels import MISHAP, Levels, are_sources, class_level, kind_of, levelled, quoted, shown
from autoclimb.data.read.looking import look_alike
from autoclimb.data.read.matching import Located, of_rows
from autoclimb.data.read.naming import file_stem
from autoclimb.data.read.picture_columns import column_of, id_column
from autoclimb.data.read.raw import Overrides, RawTask
from autoclimb.data.read.roles import find_sample
from autoclimb.data.read.splits import GENERIC, TEST, TRAIN, VALIDATION, saying
from autoclimb.data.read.survey import Survey
from autoclimb.data.read.test_set import Tested, test_items
from autoclimb.data.read.values import are_numbers, same_name
from autoclimb.errors import Mistake
from autoclimb.types import Note

NAMED = re.compile(r"([a-z][a-z _-]*?)[._ -]*\(?\d+\)?\.[^.]+$", re.IGNORECASE)
NAMED_BEHIND = re.compile(r"\d+[._ -]+([a-z][a-z _-]*)\.[^.]+$", re.IGNORECASE)
FEWEST_GROUPS = 3  # folders of sources from which folds can hold some out
FEWEST = 3  # files a label needs; a word before a number that occurs less often is a name, not a class
CAMERA = re.compile(
    r"img|dscn?|dscf|pxl|mvi|gopr|dji|p|images?|picture|photo|pic|frame|scan|file|screenshot|untitled|whatsapp|page|slide|"
    r"sample|item|id|no|test|train|val|[abcx]"
)
NEGATIVE = re.compile(r"cover|original|normal|clean|negative|real|authentic|genuine|healthy|background", re.IGNORECASE)
AUGMENTED = re.compile(r"[_-](?:jpe?g|png|bmp|tiff?)\.rf\.[0-9a-z]{8,}$", re.IGNORECASE)  # of one picture, by Roboflow
MANY = 0.5  # share of file names that several classes have, from which they may be versions of one picture
LOOKED_AT = 12  # pairs of such pictures that are looked at


@dataclass(frozen=True)
class Labelled:
    """Pictures by number, the class of each, and a key that those of one fold share, None where none must."""

    rows: list[int]
    classes: list[str]
    groups: list[str] | None
    notes: list[Note]


def read_class_folders(survey: Survey, asked_for: Overrides) -> RawTask | None:
    """The competition by its class folders, or None where no level of folders is one of classes.

    Raises Mistake where two levels may be, or where there is but one class.
    """
    seen, notes = without_extras(survey)
    sample = find_sample(seen, asked_for)
    inside = labelled_by_folders(seen, class_words(sample), asked_for)
    if inside is None:
        return None
    test = test_table(seen, sample)
    listed = set(test_items(seen, None, test, set()).files) if test and sample is None else set()
    aside = labelled_aside(seen, set(inside.classes), sample)
    taken = [k for k, i in enumerate(inside.rows) if seen.sources[i] not in listed]
    rows = [*(inside.rows[k] for k in taken), *(i for i, _ in aside)]
    classes = [*(inside.classes[k] for k in taken), *(name for _, name in aside)]
    outside = set(range(len(seen.pictures))) - set(rows)
    left = {i for i in outside if seen.parts[i] in (TRAIN, "") and seen.sources[i] not in listed}
    if TRAIN not in seen.parts and not any("left out" in n.text for n in inside.notes):
        left = set()  # pictures outside of all classes may be the test
    notes = [*inside.notes, *notes, *notes_on(aside, left, seen)]
    seen, rows = without_rows(seen, left, rows)
    located = of_rows(rows, seen)
    tested = test_items(seen, sample, test, set(located.files))
    if inside.groups is not None:
        versions: list[str] | None = [*(inside.groups[k] for k in taken), *(f"\0{i}" for i, _ in aside)]
    else:
        versions, more = versions_of(names_of(rows, seen), classes, located.files)
        notes += more
        classes, more = as_one_number(classes, versions, sample)
        notes += more
    return raw_task(Labelled(rows, classes, versions, notes), seen, sample, located, tested)


def names_of(rows: Sequence[int], survey: Survey) -> list[str]:
    """The names of these pictures' files."""
    return [survey.pictures[i].rsplit("/", 1)[-1] for i in rows]


def raw_task(labelled: Labelled, survey: Survey, sample: Listed | None, located: Located, tested: Tested) -> RawTask:
    """The competition of labelled pictures; ids are the names of their files, paths where names repeat."""
    names = names_of(labelled.rows, survey)
    answers, sample_id = (sample.others, sample.id_name) if sample else ([], "")
    return RawTask(
        train_ids=names if len(set(names)) == len(names) else [survey.pictures[i] for i in labelled.rows],
        train_files=located.files,
        labels={answers[0] if len(answers) == 1 else "label": labelled.classes},
        test_ids=tested.ids,
        test_files=tested.files,
        id_name=sample_id or "id",
        sample=sample.table if sample else None,
        sample_id=sample_id,
        channels=located.channels,
        versions=labelled.groups,
        notes=(*labelled.notes, *located.notes, *tested.notes),
    )


def labelled_by_folders(survey: Survey, words: Sequence[str], asked_for: Overrides) -> Labelled | None:
    """The pictures of the train folder, or of folders of no split, by the level of folders that holds the classes.

    `words` are class names that the sample shows. Raises Mistake as `class_level` does.
    """
    rows = [i for i, p in enumerate(survey.parts) if p == TRAIN] or [i for i, p in enumerate(survey.parts) if not p]
    homes = [survey.pictures[i].rpartition("/")[0] for i in rows]
    above = {home: folders_of(home, survey) for home in set(homes)}
    levels, places, strays = levelled([above[home] for home in homes], asked_for.target)
    level, sure = class_level(levels, words, asked_for.target)
    if level < 0:
        refuse_one_class(list(above.values()), survey)
        return None
    names = levels.names(level)
    if levels.depth == 1 and are_sources(names) and not set(words) & set(names) and not asked_for.target:
        raise Mistake(
            f"the folders {shown(names)} look like sources of pictures, not like classes, and no table says what they "
            f"are; add one with a row a folder or a picture, or name the classes with --target {names[0]},{names[1]}"
        )
    if asked_for.group not in (None, "none"):
        raise Mistake("the labels are folder names here, so there is no table for --group to name; --group none is")
    rows, classes = [rows[k] for k in places], [path[level] for path in levels.paths]
    groups, notes = groups_of_levels(levels, level, [survey.pictures[i] for i in rows], classes)
    mishaps = [name for name in names if MISHAP.fullmatch(name)]
    if mishaps and not asked_for.target:
        text = f"the folders {shown(mishaps)} are taken for classes"
        rest = [quoted(name) for name in names if name not in mishaps]
        ask = f"rename them or move their pictures, or name the classes with --target {','.join(rest[:2])}"
        notes.append(Note("labels", text, mishaps[0], "guessed", ask))
    if strays:
        notes.append(Note("files", f"the pictures of {shown(strays)} are left out", strays[0], "likely"))
    text = f"labels from the folders {shown(names)}: {len(names)} classes, {len(rows)} pictures"
    return Labelled(rows, classes, groups, [Note("labels", text, sure="sure" if sure else "likely"), *notes])


def folders_of(path: str, survey: Survey) -> tuple[str, ...]:
    """The folders in a folder's path, a split's without the words of the split, which archives often hold once more.

    What its name says besides may be the class: cats_train, trainA.
    """
    folders = path.split("/") if path else []
    for k in range(len(folders)):
        if survey.part_of_folder.get("/".join(folders[: k + 1])):
            what = saying(folders[k])
            words = [w for w in (what.rest if what else ()) if w not in GENERIC or len(w) == 1]
            rest = folders[k + 1 :]
            while rest and rest[0] == folders[k] and len(rest) > 1:
                rest = rest[1:]
            return (*folders[:k], *([" ".join(words)] if words else []), *rest)
    return tuple(folders)


def notes_on(aside: Sequence[tuple[int, str]], left: set[int], survey: Survey) -> list[Note]:
    """Notes on validation pictures that are learned from, and on pictures that are neither train nor test."""
    notes = []
    if aside:
        text = f"{len(aside)} pictures more are learned from, from class folders of validation pictures"
        notes.append(Note("split", text))
    unused = len(left) + sum(p == VALIDATION for p in survey.parts) - len(aside)
    if unused > 0:
        homes = {survey.pictures[i].split("/")[0] for i in left}
        homes |= {survey.pictures[i].split("/")[0] for i, p in enumerate(survey.parts) if p == VALIDATION and not aside}
        text = f"{unused} pictures are neither train nor test and are left out ({shown(sorted(homes))})"
        notes.append(Note("files", text, sure="likely"))
    return notes


def as_one_number(
    classes: list[str], versions: Sequence[str] | None, sample: Listed | None
) -> tuple[list[str], list[Note]]:
    """The classes as 0 and 1, and a note, where versions of one picture lie in several and the sample asks for one
    number: whether a picture is other than the original. Else as they are.
    """
    answers = sample.others if sample else []
    negative = sorted(c for c in set(classes) if NEGATIVE.fullmatch(c))
    if sample is None or versions is None or len(answers) != 1 or len(negative) != 1:
        return classes, []
    across = len(set(zip(versions, classes, strict=True))) > len(set(versions))
    if not across or not are_numbers(sample.table.cells[answers[0]]):
        return classes, []
    text = f"one number is asked for: whether a picture is other than {negative[0]!r}"
    return [str(int(c != negative[0])) for c in classes], [Note("classes", text, negative[0], "likely")]


def class_words(sample: Listed | None) -> list[str]:
    """The class names that a sample shows: its columns, or the words in its cells; none where it shows numbers."""
    if sample is None:
        return []
    if len(sample.others) != 1:
        return sample.others
    cells = sample.table.cells[sample.others[0]]
    return [] if are_numbers(cells) else sorted(set(cells) - {""})


def refuse_one_class(folders: Sequence[tuple[str, ...]], survey: Survey) -> None:
    """Raises Mistake where the train folder has one class and other folders more."""
    train = {f[-1] for f in folders if f}
    tested = {survey.pictures[i].split("/")[-2] for i, part in enumerate(survey.parts) if part == TEST}
    if TRAIN in survey.parts and len(train) == 1 and len(tested) > 1 and train & tested:
        raise Mistake(
            f"the train folder holds the class {min(train)!r} alone, the test folder {shown(sorted(tested))}: two "
            f"classes are needed to learn; move some labelled pictures of the others into the train folder"
        )


def labelled_aside(survey: Survey, classes: set[str], sample: Listed | None) -> list[tuple[int, str]]:
    """The pictures in class folders of validation folders, by number, and their classes; none if test asks for them."""
    known = {same_name(c): c for c in classes}
    aside = []
    for i, part in enumerate(survey.parts):
        if part == VALIDATION:
            name = next((f for f in reversed(survey.pictures[i].split("/")[:-1]) if same_name(f) in known), None)
            if name is not None:
                aside.append((i, known[same_name(name)]))
    asked = set(sample.ids) if sample else set()
    return [] if asked & {survey.pictures[i].rsplit("/", 1)[-1] for i, _ in aside} else aside


def without_rows(survey: Survey, out: set[int], rows: list[int]) -> tuple[Survey, list[int]]:
    """The folder without some pictures, and the new numbers of `rows`."""
    if not out:
        return survey, rows
    keep = [i for i in range(len(survey.pictures)) if i not in out]
    number = {i: k for k, i in enumerate(keep)}
    parts = [survey.parts[i] for i in keep]
    fewer = survey.only(keep)
    fewer.__dict__["parts"] = parts  # splits as they were: a folder beside them may be gone
    return fewer, [number[i] for i in rows]


def test_table(survey: Survey, sample: Listed | None) -> Listed | None:
    """The table that lists the test items of class folders: it says test and has the sample's ids."""
    asked = set(sample.ids) if sample else set()
    for table in survey.tables:
        what = saying(table.name.rsplit("/", 1)[-1].rsplit(".", 1)[0])
        if (sample and table is sample.table) or what is None or what.part != TEST:
            continue
        column, share = (column_of(table, asked), 1.0) if asked else id_column(table, survey)
        if column and share > ENOUGH:
            return Listed(table, column)
    return None


def groups_of_levels(
    levels: Levels, level: int, paths: Sequence[str], classes: Sequence[str]
) -> tuple[list[str] | None, list[Note]]:
    """The key that rows share by the other levels, patients or variants of a picture, and a note."""
    others = {k: kind_of(levels.names(k)) for k in range(levels.depth) if k != level}
    sources = [k for k, kind in others.items() if kind in ("sources", "numbers")]
    if sources:
        groups = ["/".join(path[k] for k in sources) for path in levels.paths]
        count = len(set(groups))
        if FEWEST_GROUPS <= count < len(groups):
            text = f"pictures of {groups[0]} and the like ({count}) stay in one fold; --group none deals rows freely"
            return groups, [Note("group", text, sure="likely")]
    elif "variants" in others.values():
        groups = [f"{name}/{file_stem(path)}" for name, path in zip(classes, paths, strict=True)]
        if len(set(groups)) < len(groups):
            where = next(k for k, kind in others.items() if kind == "variants")
            text = f"the folders {shown(levels.names(where))} hold variants of one picture, which stay in one fold"
            return groups, [Note("group", text, sure="likely")]
    return None, []


def versions_of(
    names: Sequence[str], classes: Sequence[str], files: Sequence[str]
) -> tuple[list[str] | None, list[Note]]:
    """The key that versions of one picture share, and a note; None where all pictures stand for themselves.

    Augmented copies say so in their names. Names that several classes have are versions of one picture where a look
    at some says so: counters begin anew in every folder.
    """
    if sum(".rf." in n for n in names) > len(names) / 2:
        stems = [AUGMENTED.sub("", file_stem(n)) for n in names]
        groups = [f"{c}/{s}" for c, s in zip(classes, stems, strict=True)]
        if len(set(groups)) < len(groups):
            text = f"file names say that {len(groups)} pictures are versions of {len(set(groups))}, kept together"
            return groups, [Note("group", text, sure="likely")]
    if len(set(names)) == len(names):
        return None, []
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows_of[name].append(row)
    pairs = [
        (r[0], next(k for k in r if classes[k] != classes[r[0]]))
        for r in rows_of.values()
        if len({classes[k] for k in r}) > 1
    ]
    if len(pairs) <= MANY * len(rows_of):
        return None, []
    step = max(1, len(pairs) // LOOKED_AT)
    alike = look_alike([(files[a], files[b]) for a, b in pairs[::step][:LOOKED_AT]])
    if alike or (alike is None and not all(file_stem(n).isdigit() for n in rows_of)):
        text = f"{len(pairs)} file names occur in several class folders: versions of one picture, kept together"
        return list(names), [Note("group", text, sure="likely")]
    return None, []


def read_file_names(survey: Survey, asked_for: Overrides) -> RawTask | None:
    """The competition by its file names, or None where they do not begin or end with two words or more.

    Names that cameras give are no labels, nor are words that the sample does not show where it shows words.
    """
    seen, notes = without_extras(survey)
    rows = [i for i, part in enumerate(seen.parts) if part == TRAIN] or [i for i, p in enumerate(seen.parts) if not p]
    names = names_of(rows, seen)
    words = words_in(names, NAMED) or words_in(names, NAMED_BEHIND)
    if not words or asked_for.target or (asked_for.group or "none") != "none":
        return None
    sample = find_sample(seen, asked_for)
    shown_words = {w.lower() for w in class_words(sample)}
    if shown_words and not shown_words & {w.lower() for w in words}:
        return None
    own = [k for k, i in enumerate(rows) if same_name(words[k]) == same_name(folder_of(seen.pictures[i]))]
    if len({words[k] for k in own}) > 1:  # folders are called as the files in them are; other names are no classes
        if len(own) < len(rows):
            text = f"{len(rows) - len(own)} pictures lie in no folder that is called as they are, and are left out"
            notes.append(Note("left", text, sure="likely"))
        rows, words = [rows[k] for k in own], [words[k] for k in own]
    located = of_rows(rows, seen)
    tested = test_items(seen, sample, None, set(located.files))
    text = f"labels from file names: {', '.join(list(dict.fromkeys(words))[:5])}"
    labelled = Labelled(rows, words, None, [Note("labels", text, sure="guessed"), *notes])
    return raw_task(labelled, seen, sample, located, tested)


def folder_of(path: str) -> str:
    """The name of the folder that a picture lies in, "" for the top."""
    return path.rpartition("/")[0].rpartition("/")[2]


def words_in(names: Sequence[str], pattern: re.Pattern[str]) -> list[str]:
    """The label in each name, [] where a name has none, a word is too rare or one is no class: cameras', counters'."""
    cut = [pattern.match(n) for n in names]
    words = [m[1] for m in cut if m]
    low = Counter(w.lower() for w in words)
    if (
        not names
        or len(words) < len(names)
        or len(low) < 2
        or min(low.values()) < FEWEST
        or any(map(CAMERA.fullmatch, low))
    ):
        return []
    return [w.lower() for w in words] if len(low) < len(set(words)) else words
