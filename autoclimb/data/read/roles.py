"""Which table is which: the sample submission, the one with train labels, the one of test items, a list of classes."""

import re
from collections.abc import Sequence
from itertools import combinations

from autoclimb.data.files.table import Table
from autoclimb.data.read.choosing import ENOUGH
from autoclimb.data.read.items import Evidence, Items, Listed
from autoclimb.data.read.levels import kind_of
from autoclimb.data.read.matching import locate
from autoclimb.data.read.naming import folded, path_parts
from autoclimb.data.read.parts import for_validation, says
from autoclimb.data.read.picture_columns import column_of, id_column, names_pictures, path_column
from autoclimb.data.read.raw import Overrides
from autoclimb.data.read.survey import Survey
from autoclimb.data.read.targets import WEIGHT_WORDS, find_targets
from autoclimb.data.read.values import BLANK, are_whole
from autoclimb.errors import Mistake

SUBMISSION = re.compile(r"submi|(^|[_ -])sub([_ -]?\d|[_ -]|$)")


def find_sample(survey: Survey, asked_for: Overrides, target: Sequence[str] | None = None) -> Listed | None:
    """The sample submission, by the table of `sample_table` and that one's `sample_id_column`."""
    table = sample_table(survey, target)
    return Listed(table, sample_id_column(table, survey, asked_for)) if table else None


def sample_table(survey: Survey, target: Sequence[str] | None = None) -> Table | None:
    """The sample submission: a table that says so in its name, best by name, then by ids that name pictures.

    A name may say that the pictures are a sample: where no other table and no class folders hold labels, or the user
    names its column as the `target`, the table does.
    """

    def fit(table: Table) -> int:
        name = table.name.lower().rsplit("/", 1)[-1]
        if "train" in name or len(table.columns) < 2 or table.sources:
            return 0
        return 2 * ("sample" in name or "example" in name) + 2 * ("submi" in name)

    named = [t for t in survey.tables if fit(t)]
    if not named:
        return None
    best = max(named, key=lambda t: (fit(t), id_column(t, survey)[1] > ENOUGH, -survey.tables.index(t)))
    return None if fit(best) == 2 and is_labels(best, survey, target) else best


def refuse_several(survey: Survey) -> None:
    """Raises Mistake where two folders hold a train table and a sample submission of other items each."""
    places = [(table, *table.name.rpartition("/")[::2]) for table in survey.tables]
    places = [(table, home, name.lower()) for table, home, name in places]
    trained = {home for _, home, name in places if "train" in name}
    asked = {
        home: set(next(iter(table.cells.values())))
        for table, home, name in places
        if "sample" in name and "submi" in name and "train" not in name and home in trained
    }
    for one, other in combinations(sorted(asked), 2):
        if asked[one].isdisjoint(asked[other]):  # else one is a copy of the other
            raise Mistake(
                f"{one or 'the folder'} and {other} hold a train table and a sample submission each, as competitions "
                f"of their own do; give one of them as the folder"
            )


def submits(table: Table) -> bool:
    """Whether a table's name says that it is a submission, of a sample or of answers given before."""
    return SUBMISSION.search(table.name.lower().rsplit("/", 1)[-1].split(".")[0]) is not None


def is_labels(table: Table, survey: Survey, target: Sequence[str] | None) -> bool:
    """Whether a table of samples can only be the labels."""
    others = [t for t in survey.tables if t is not table and len(t.columns) > 1]
    if target and set(target) <= set(table.columns):
        return not any(set(target) <= set(t.columns) for t in others)
    folders = {where.rpartition("/")[0] for where in survey.pictures}
    return len(folders) == 1 and not any(id_column(t, survey)[1] > ENOUGH for t in others)


def lists_classes(table: Table, column: str, survey: Survey, asked_ids: set[str]) -> bool:
    """Whether a table has a row for each class folder rather than for each folder of an item's pictures.

    Its ids are all folders beside each other, which nothing asks for; either each has another name beside it, as codes
    have, or the folders are called by words.
    """
    names = [folded(path_parts(c)[-1]) for c in table.cells[column]]
    if asked_ids & set(table.cells[column]) or len(set(names)) < len(names) or len(names) < 2:
        return False
    if sum(len(survey.by_folder.get(n, ())) > 1 for n in names) < ENOUGH * len(names):
        return False
    if any(n in survey.by_stem for n in names):
        return False
    others = [cells for c, cells in table.cells.items() if c != column]
    named = any(len(set(cells) - BLANK) == len(names) and not are_whole(cells) for cells in others)
    return named or kind_of(names) == "words"


def sample_id_column(sample: Table, survey: Survey, asked_for: Overrides) -> str:
    """The sample's id column: the one whose values name pictures, else the first."""
    if asked_for.id_column in sample.columns and asked_for.id_column is not None:
        return asked_for.id_column
    column, share = id_column(sample, survey)
    return column if share > ENOUGH else sample.columns[0]


def train_id(table: Table, evidence: Evidence) -> str:
    """The id column of a train table: the one that the sample has, unless another names pictures as the sample's do."""
    survey, sample = evidence.survey, evidence.sample
    column, share = id_column(table, survey)
    if table.sources or sample is None or sample.id_name not in table.columns:
        return column
    direct = share > ENOUGH and path_column(table, survey) == column
    return column if direct and names_pictures(sample.ids, survey) > ENOUGH else sample.id_name


def train_tables(tables: Sequence[Table], evidence: Evidence, linked: set[str]) -> list[Table]:
    """The tables that may hold train labels, likeliest first: they name pictures, are not about test ids and have the
    asked columns. `linked` are names of tables whose ids have pictures in another one.
    """
    survey, sample, named_id = evidence.survey, evidence.sample, evidence.asked_for.id_column
    asked = {c.lower() for c in (evidence.asked_for.target or evidence.answers)}
    sample_id, test_ids = sample.id_name if sample else "", evidence.asked_ids
    ranked = []
    for i, table in enumerate(tables):
        if len(table.columns) < 2:
            continue
        column, share = (named_id, 1.0) if named_id in table.columns else id_column(table, survey)
        if share <= ENOUGH and sample_id in table.columns:
            column = sample_id
        name = says(table)
        asked_share = len(asked & {c.lower() for c in table.columns}) / max(1, len(asked))
        link = table.name in linked
        if not share and not link and not (asked_share and "test" not in name):
            continue
        ids = table.cells[column or table.columns[0]]
        if lists_classes(table, column or table.columns[0], survey, test_ids):
            continue
        about_test = sum(1 for i in ids if i in test_ids) > len(ids) / 2
        if about_test and not asked_share:
            continue
        if re.search(r"(^|[/_-])(sample|submission|test)", name) and "train" not in name and not asked_share:
            continue
        named = ("train" in name) + ("label" in table.name.lower()) - ("test" in name) - ("val" in name)
        sure = not any(WEIGHT_WORDS.search(c) and not are_whole(table.cells[c][:1000]) for c in table.columns)
        ranked.append(
            ((not about_test, asked_share, link and not sample, named, share > ENOUGH, sure, table.rows, -i), table)
        )
    return [table for _, table in sorted(ranked, key=lambda r: r[0], reverse=True)]


def find_test(tables: Sequence[Table], train: Items, evidence: Evidence, last_resort: bool = False) -> Listed | None:
    """The table of test items: it has the sample's ids; without a sample it says test, or names pictures that the train
    table does not and lacks the labels. A `last_resort` is a validation table with labels.
    """
    survey, asked_ids = evidence.survey, evidence.asked_ids
    train_files, train_columns = set(train.where.files), set(train.table.columns)
    ranked = []
    for i, table in enumerate(tables):
        if table is train.table:
            continue
        name = says(table)
        shared = len(set(table.columns) & train_columns)
        order = "test" in name, not table.part, shared, -i
        if asked_ids:
            column = column_of(table, asked_ids)
            if column and (shared > 1 or "test" in name or table.sources):
                ranked.append((order, table, column))
        elif "train" not in name:
            column = train.id_name if train.id_name in table.columns else id_column(table, survey)[0]
            cells = table.cells[column]
            counted = column == "row" and table.sources  # anew in every table
            own = counted or bool(set(cells) - set(train.ids))
            if for_validation(table) and has_labels(table, train, evidence.asked_for):
                fits = last_resort
            else:
                fits = "test" in name or set(table.columns) < train_columns
            if not fits:
                continue
            where = locate(cells, table, column, survey, -1)
            if "test" not in name and set(where.files) - {""} <= train_files:
                continue
            apart = not train_files & set(where.files)  # ids count from 0 again
            listed = last_resort and len(cells) < train.table.rows  # some of the labelled items
            anew = not own and "test" in name and (apart or listed)
            if (own or anew) and where.share > ENOUGH:
                ranked.append((order, table, column))
    return Listed(*max(ranked, key=lambda r: r[0])[1:]) if ranked else None


def has_labels(table: Table, train: Items, asked_for: Overrides) -> bool:
    """Whether a table has the columns that would be the target if test rows had none."""
    try:
        targets, _ = find_targets(train, None, (), asked_for)
    except Mistake:
        return set(train.table.columns) <= set(table.columns)
    return set(targets) <= set(table.columns)
