"""Layouts with a train table: train.csv, pictures in any folders, a sample submission, perhaps a test table."""

import re
from collections import Counter

from autoclimb.data.read.found import Found, Wish
from autoclimb.data.read.scan import Survey, Table, candidates, id_column, match, side
from autoclimb.data.read.values import are_flags, tokens_of
from autoclimb.errors import Mistake

LABEL_WORDS = re.compile(r"^(labels?|targets?|class(es|_?name|_?id)?|category(_?id)?|tags?|y|diagnosis|species|breed)$")
GROUP_WORDS = re.compile(
    r"(^|[_ ])(patient|subject|person|clip|video|sequence|location|site|group|series|plate|experiment|session|slide|"
    r"camera|case|study|user|farm|field|scene|plot|track|seq|donor|specimen|recording|burst|batch)s?"
    r"([_ ]?(id|no|nr|num|number|name|code|uid))?$",
    re.IGNORECASE,
)


def read_tables(found: Survey, wish: Wish) -> Found | None:
    """The competition by its tables, or None where no table holds train labels.

    Raises Mistake where the tables contradict each other or leave the target open.
    """
    sample = find_sample(found)
    sample_id = sample_id_column(sample, found, wish) if sample else ""
    train = find_train(found, sample, sample_id, wish)
    if train is None:
        return None
    id_name = wish.id_column or id_column(train, found)[0]
    if id_name not in train.columns:
        raise Mistake(f"{train.name} has no column {id_name!r}; it has {', '.join(train.columns)}")
    test = find_test(found, train, sample, id_name)
    known = tuple(c for c in test.columns if c != id_name) if test else ()
    targets, notes = find_targets(train, id_name, sample, sample_id, known, wish)
    ids = train.cells[id_name]
    train_rows = match(ids, found, 1)
    missing = train_rows.count(-1)
    if missing > len(ids) / 2:
        lost = next(name for name, row in zip(ids, train_rows, strict=True) if row < 0)
        raise Mistake(
            f"{missing} of {len(ids)} values of column {id_name!r} in {train.name} name no picture (such as {lost!r}); "
            f"pictures look like {found.pictures[0]!r}; name the right column with --id"
        )
    test_ids, test_files, more = test_items(found, sample, sample_id, test, set(train_rows))
    return Found(
        train_ids=ids,
        train_files=[found.file(i) for i in train_rows],
        labels={c: train.cells[c] for c in targets},
        test_ids=test_ids,
        test_files=test_files,
        id_name=id_name,
        sample=sample,
        sample_id=sample_id,
        others={c: cells for c, cells in train.cells.items() if c != id_name and c not in targets},
        test_columns=known,
        notes=(f"labels from {train.name}, {train.rows} rows", *notes, *more),
    )


def find_sample(found: Survey) -> Table | None:
    """The sample submission: a table that says so in its name and names pictures, best by name."""

    def fit(table: Table) -> int:
        name = table.name.lower()
        if "train" in name.rsplit("/", 1)[-1] or len(table.columns) < 2:
            return 0
        return 2 * ("sample" in name) + ("submi" in name)

    named = [t for t in found.tables if fit(t)]
    return max(named, key=lambda t: (fit(t), -found.tables.index(t)), default=None)


def sample_id_column(sample: Table, found: Survey, wish: Wish) -> str:
    """The sample's id column: the one whose values name pictures, else the first."""
    if wish.id_column in sample.columns and wish.id_column is not None:
        return wish.id_column
    column, share = id_column(sample, found)
    return column if share > 0 else sample.columns[0]


def find_train(found: Survey, sample: Table | None, sample_id: str, wish: Wish) -> Table | None:
    """The table that holds train labels: it names pictures, is not about test ids and has the asked columns."""
    asked = set(wish.target or ([c for c in sample.columns if c != sample_id] if sample else ()))
    test_ids = set(sample.cells[sample_id]) if sample else set()
    ranked = []
    for table in found.tables:
        if table is sample or len(table.columns) < 2:
            continue
        column = wish.id_column if wish.id_column in table.columns else None
        share = 1.0 if column else id_column(table, found)[1]
        name = table.name.lower()
        asked_share = len(asked & set(table.columns)) / max(1, len(asked))
        if not share and not (asked_share and "test" not in name):
            continue
        ids = table.cells[column or id_column(table, found)[0]]
        about_test = sum(1 for i in ids if i in test_ids) > len(ids) / 2
        if about_test and not asked_share:
            continue
        if re.search(r"(^|[/_-])(sample|submission|test)", name) and "train" not in name and not asked_share:
            continue
        named = ("train" in name) + ("label" in name) - ("test" in name)
        ranked.append((not about_test, asked_share, named, share > 0.5, table.rows, table))
    return max(ranked, key=lambda r: r[:-1])[-1] if ranked else None


def find_test(found: Survey, train: Table, sample: Table | None, id_name: str) -> Table | None:
    """The table of test items, if there is one: it says test, or names pictures that the train table does not."""
    for table in found.tables:
        if table is train or table is sample or "train" in table.name.lower():
            continue
        column = id_name if id_name in table.columns else id_column(table, found)[0]
        own = set(table.cells[column]) - set(train.cells[id_name])
        pictured = sum(1 for name in own if candidates(name, found))
        if pictured > table.rows / 2 and ("test" in table.name.lower() or set(table.columns) <= set(train.columns)):
            return table
    return None


def find_targets(
    train: Table, id_name: str, sample: Table | None, sample_id: str, known: tuple[str, ...], wish: Wish
) -> tuple[list[str], list[str]]:
    """The train columns that hold the target, and notes on how they were found.

    Raises Mistake where none or several unrelated columns could be meant.
    """
    columns = [c for c in train.columns if c != id_name]
    if wish.target:
        absent = [c for c in wish.target if c not in columns]
        if absent:
            raise Mistake(f"{train.name} has no column {absent[0]!r}; it has {', '.join(columns)}")
        return list(wish.target), []
    asked = [c for c in sample.columns if c != sample_id] if sample else []
    have = [c for c in asked if c in columns]
    if asked and len(have) == len(asked):
        return have, []
    if len(have) > 1:
        lacking = [c for c in asked if c not in columns]
        return have, [f"the sample asks for {', '.join(lacking)} too, which {train.name} lacks"]
    if len(asked) > 1:
        fitting = [c for c in columns if names_columns(train.cells[c], asked)]
        if not fitting:
            raise Mistake(
                f"the sample asks for {', '.join(asked[:5])}{' ...' if len(asked) > 5 else ''}; {train.name} has no "
                f"such columns and no column with such values, only {', '.join(columns)}; name it with --target"
            )
        return fitting[:1], [f"the sample's columns are the values of {fitting[0]!r}"]
    free = [c for c in columns if c not in known]
    if sample and asked:
        flags = [c for c in free if are_flags(train.cells[c])]
        words = {t for cell in sample.cells[asked[0]] for t in tokens_of(cell, " ")}
        if len(flags) > 1 and words and words <= set(flags):
            return flags, [f"the sets asked for in {asked[0]!r} are made of the columns {', '.join(flags[:4])} ..."]
    explained = [c for c in free if not GROUP_WORDS.search(c) and c != wish.group]
    named = [c for c in explained if LABEL_WORDS.match(c.lower())]
    if len(explained) != 1 and len(named) == 1:
        explained = named
    if len(explained) == 1:
        if asked:
            return explained, [f"the sample's column {asked[0]!r} is taken to be {explained[0]!r} of {train.name}"]
        return explained, []
    if len(explained) > 1 and not asked and all(are_flags(train.cells[c]) for c in explained):
        return explained, []
    raise Mistake(
        f"several columns of {train.name} could be the target: {', '.join(explained or free)}; name it with --target"
        if explained or free
        else f"{train.name} has no column that could be the target, only {', '.join(train.columns)}"
    )


def names_columns(cells: list[str], asked: list[str]) -> bool:
    """Whether the values of a column, or the tokens of its cells, are names of the asked columns."""
    seen = Counter(cells)
    if not seen:
        return False
    endings = set(asked) | {ending(a, asked) for a in asked}
    if sum(1 for v in seen if v in endings) > len(seen) / 2:
        return True
    for separator in ("|", ",", ";", " "):
        words = {t for v in seen for t in tokens_of(v, separator)}
        if words and sum(1 for w in words if w in endings) > len(words) / 2:
            return True
    return False


def ending(column: str, asked: list[str]) -> str:
    """The column's name without what all asked columns begin with: label_3 -> 3."""
    shared = 0
    while len(asked) > 1 and all(len(a) > shared + 1 and a[shared] == asked[0][shared] for a in asked):
        shared += 1
    while shared and asked[0][shared - 1].isalnum() and not asked[0][:shared].isalpha():
        shared -= 1
    return column[shared:]


def test_items(
    found: Survey, sample: Table | None, sample_id: str, test: Table | None, train_rows: set[int]
) -> tuple[list[str], list[str], list[str]]:
    """The test ids, each once and in order, their files, and notes.

    From the sample submission, else the test table, else the pictures of a test folder, else those without a label.
    Raises Mistake where there is none, or where the sample's ids name no picture.
    """
    notes = []
    if sample or test:
        table = sample or test
        assert table is not None
        column = sample_id if sample else id_column(table, found)[0]
        ids = list(dict.fromkeys(table.cells[column]))
        rows = match(ids, found, -1)
        missing = rows.count(-1)
        if missing > len(ids) / 2:
            lost = next(name for name, row in zip(ids, rows, strict=True) if row < 0)
            raise Mistake(
                f"{missing} of {len(ids)} ids of {table.name} name no picture (such as {lost!r}); "
                f"pictures look like {found.pictures[-1]!r}"
            )
        shared = sum(1 for i in rows if i >= 0 and i in train_rows)
        if shared:
            notes.append(f"{shared} test pictures are train pictures too")
        return ids, [found.file(i) for i in rows], notes
    rows = [i for i, p in enumerate(found.pictures) if i not in train_rows and side(p) < 0]
    if not rows:
        rows = [i for i, p in enumerate(found.pictures) if i not in train_rows and side(p) == 0 and "val" not in p]
    if not rows:
        raise Mistake(
            "no test pictures: there is no sample submission, no test table, no folder whose name says test, and every "
            "picture has a label"
        )
    names = [found.pictures[i].rsplit("/", 1)[-1] for i in rows]
    if len(set(names)) < len(names):
        names = [found.pictures[i] for i in rows]
    where = sorted({found.pictures[i].rsplit("/", 1)[0] if "/" in found.pictures[i] else "." for i in rows})
    notes.append(f"no sample submission: the {len(rows)} pictures of {', '.join(where[:3])} are the test items")
    return names, [found.file(i) for i in rows], notes
