"""The page of `autoclimb inspect`: the facts of a folder in 80 columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from autoclimb.report.words import WIDEST, counted, drift_words, kind_words, short

LISTED = 12  # classes, columns and metadata shown one by one
THUMBNAIL = 12  # pixels a side: six of them and the gaps between them fill 80 columns
JOINED = {" ": "spaces", ",": "commas", "|": "bars", ";": "semicolons"}
MATCHED = {
    "path": "ids are paths of files",
    "name": "ids are names of files",
    "stem": "ids are names of files without ending",
    "case": "ids are names of files but for case",
    "other": "ids lead to files by a rule or a column",
}
ROLES = {
    "target": "target",
    "group": "groups",
    "metadata": "learned from",
    "leak": "ignored: a leak",
    "unused": "ignored",
}


def page_of(facts: dict[str, Any], thumbnails: Sequence[np.ndarray | None] = ()) -> RenderableType:
    """The facts (`data.facts.facts_of`, with "metric": name, proposed, why) as something rich prints in 80 columns.

    `thumbnails` are the pictures of the train rows shown, THUMBNAIL px a side, for terminals that can show them.
    """
    page = Table.grid(padding=(0, 2, 0, 0))
    page.add_column(no_wrap=True)
    page.add_column(ratio=1, overflow="fold")
    for name, lines in (
        ("check", check_lines(facts)),
        ("train", item_lines(facts, "train")),
        ("test", item_lines(facts, "test")),
        ("pictures", picture_lines(facts)),
        ("labels", label_lines(facts)),
        ("groups", group_lines(facts)),
        ("columns", column_lines(facts)),
        ("copies", copy_lines(facts)),
        ("drift", drift_lines(facts)),
        ("ignored", ignored_lines(facts)),
        ("answer", answer_lines(facts)),
        ("metric", metric_lines(facts)),
        ("notes", note_lines(facts["notes"])),
    ):
        for i, line in enumerate(lines):
            page.add_row(Text(name if i == 0 else "", style="bold"), line)
    kind = kind_words(facts["kind"], len(facts["classes"]), facts["labels_per_item"])
    title = Text.assemble((facts["name"], "bold"), f": {kind}")
    rows = Padding(row_lines(facts, thumbnails), (1, 0, 0, 2), expand=False)
    return Group(title, rows, Padding(page, (1, 0, 0, 2), expand=False))


def row_lines(facts: dict[str, Any], thumbnails: Sequence[np.ndarray | None]) -> RenderableType:
    """Random train rows with id, file and label, their pictures above, so that a reader sees whether labels fit."""
    rows = facts["check"]["rows"]
    listed = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        listed.add_column(no_wrap=True)
    listed.add_row(*(Text(word, style="bold") for word in ("id", "file", "label")))
    for row in rows:
        listed.add_row(short(row["id"], 22), short(row["file"], 32), short(row["label"], 18))
    if not thumbnails:
        return listed
    strip = Table.grid(padding=(0, 1, 0, 0))
    strip.add_row(*(half_blocks(picture) for picture in thumbnails))
    strip.add_row(*(short(row["label"], THUMBNAIL) for row in rows))
    return Group(strip, "", listed)


def half_blocks(picture: np.ndarray | None) -> Text:
    """A picture as half blocks, two pixels in each character: the upper as its colour, the lower as its background."""
    if picture is None:
        return Text("cannot be\nread")
    text = Text()
    for upper, lower in zip(picture[::2].tolist(), picture[1::2].tolist(), strict=False):
        for above, below in zip(upper, lower, strict=True):
            colours = ["#{:02x}{:02x}{:02x}".format(*pixel) for pixel in (above, below)]
            text.append("▀", Style(color=colours[0], bgcolor=colours[1]))
        text.append("\n")
    text.rstrip()
    return text


def check_lines(facts: dict[str, Any]) -> list[str]:
    """How ids were matched with files, and whether the class names in paths contradict labels."""
    check = facts["check"]
    matched = ", ".join(f"{share(part)} of {MATCHED[rule]}" for rule, part in check["matched"].items())
    lines = [matched] if matched else []
    if check["named"]:
        agree = check["named"] - check["contradicting"]
        lines.append(f"{agree:,} of {counted(check['named'], 'path')} that name a class name the one of the label")
    return lines


def item_lines(facts: dict[str, Any], split: str) -> list[str]:
    """How many items a split has, and which cannot be used."""
    lines = [f"{facts[split]:,} items"]
    low, middle, high = facts["pictures_per_item"] or (1, 1, 1)
    if high > 1 and split == "train":
        lines[0] += f" of {high} pictures" if low == high else f" of {low} to {high} pictures, median {middle}"
    fate = "left out of training" if split == "train" else "answered by a constant"
    missing, unreadable = facts["missing"][split], facts["unreadable"][split]
    if missing["count"]:
        lines.append(f"{counted(missing['count'], 'id')} without a picture, {fate}: {first_names(missing)}")
    if unreadable["count"]:
        looked = facts["looked_at"][split]
        names = first_names(unreadable)
        lines.append(f"{unreadable['count']:,} of {looked:,} pictures cannot be read, {fate}: {names}")
    return lines


def first_names(ids: dict[str, Any]) -> str:
    """The first names of a list, with an ellipsis where there are more."""
    return ", ".join(map(short, ids["first"])) + (", ..." if ids["count"] > len(ids["first"]) else "")


def picture_lines(facts: dict[str, Any]) -> list[str]:
    """Sizes and modes of train pictures, and of test pictures where they differ."""
    train, test = facts["pictures"]["train"], facts["pictures"]["test"]
    lines = [picture_words(train)] if train else []
    if test and (not train or looks(train) != looks(test)):
        lines.append(f"test: {picture_words(test)}")
    sampled = " and ".join(f"{p['sampled']:,} {split}" for split, p in facts["pictures"].items() if p)
    if sampled:
        channels = f"; read with {facts['channels']} channels" if facts["channels"] != 3 else ""
        lines.append(f"by the headers of {sampled} pictures{channels}")
    return lines


def looks(pictures: dict[str, Any]) -> tuple:
    """(longest sides, whether all sizes are one, modes): where these differ from train, test pictures get a line."""
    return pictures["sides"], pictures["distinct_sizes"] == 1, set(pictures["modes"])


def picture_words(pictures: dict[str, Any]) -> str:
    """Sizes and modes in words."""
    if pictures["distinct_sizes"] == 1:
        size = f"all {next(iter(pictures['sizes']))}"
    elif pictures["distinct_sizes"] <= 3:
        size = ", ".join(f"{s} ({n / pictures['sampled']:.0%})" for s, n in pictures["sizes"].items())
    else:
        width, height = (
            f"{low} to {high} (median {middle})" for low, middle, high in (pictures["width"], pictures["height"])
        )
        size = f"{pictures['distinct_sizes']:,} sizes, width {width}, height {height}"
    modes = ", ".join(
        f"{m} {share(n / pictures['sampled'])}" if len(pictures["modes"]) > 1 else m
        for m, n in pictures["modes"].items()
    )
    deep = [bits for bits in pictures["bits"] if bits != "8"]
    return f"{size}; {modes}" + (f"; {' and '.join(pictures['bits'])} bits a channel" if deep else "; 8 bits a channel")


def share(part: float) -> str:
    """A share in percent, `<1%` instead of `0%` for a small one."""
    return f"{part:.0%}" if part == 0 or part >= 0.005 else "<1%"


def label_lines(facts: dict[str, Any]) -> list[RenderableType]:
    """Classes with counts and bars, commonest first or by grade, abridged where many; or the numbers' range."""
    if facts["target"]:
        target = facts["target"]
        return [f"{target['min']:g} to {target['max']:g}, median {target['median']:g}, mean {target['mean']:.4g}"]
    ordered = list(facts["classes"].items())
    if facts["kind"] != "ordinal":
        ordered.sort(key=lambda c: -c[1])
    shown, between = (ordered, []) if len(ordered) <= LISTED else (ordered[: LISTED - 4], ordered[LISTED - 4 : -3])
    most = max(1, *facts["classes"].values())
    table = Table.grid(padding=(0, 2, 0, 0))
    for justify in ("left", "right", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)

    def add(name: str, n: int) -> None:
        table.add_row(short(name), f"{n:,}", f"{n / facts['train']:.1%}", "█" * round(16 * n / most) or "▏")

    for name, n in shown:
        add(name, n)
    if between:
        low, high = min(n for _, n in between), max(n for _, n in between)
        table.add_row(f"... {len(between):,} more", f"{low:,}" if low == high else f"{low:,}-{high:,}", "", "")
        for name, n in ordered[-3:]:
            add(name, n)
    lines: list[RenderableType] = [table]
    imbalance = facts["imbalance"]
    if imbalance["ratio"] is None:
        lines.append(f"no train row has {short(imbalance['rarest'])!r}")
    elif imbalance["ratio"] >= 2:
        commonest, rarest = short(imbalance["commonest"]), short(imbalance["rarest"])
        lines.append(f"{commonest!r} is {imbalance['ratio']:,.3g} times as frequent as {rarest!r}")
    elif imbalance["ratio"] == 1:
        lines.append("as many rows of each")
    else:
        lines.append(f"balanced: the commonest is {imbalance['ratio']:.3g} times as frequent as the rarest")
    if facts["unlabelled"]:
        lines.append(f"{facts['unlabelled']:,} rows have no label at all")
    return lines


def group_lines(facts: dict[str, Any]) -> list[str]:
    """The groups that rows form, and why."""
    groups = facts["groups"]
    if groups is None:
        return ["none: rows are dealt freely to the folds"]
    by = f"by column {groups['column']!r}: " if groups["column"] else ""
    return [f"{by}{groups['count']:,} groups, {groups['largest']:,} rows in the largest", groups["why"]]


def column_lines(facts: dict[str, Any]) -> list[RenderableType]:
    """The train table's columns with their roles; nothing where the target is the only one."""
    columns = facts["columns"]
    if all(c["role"] == "target" for c in columns):
        return []
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    targets = [c for c in columns if c["role"] == "target"]
    rest = [c for c in columns if c["role"] != "target"]
    if len(targets) > 3:
        table.add_row(
            f"{len(targets)} columns", ROLES["target"], f"{short(targets[0]['name'])} to {short(targets[-1]['name'])}"
        )
    learned = {m["name"]: m for m in facts["metadata"]}
    for c in [*(targets if len(targets) <= 3 else ()), *rest[:LISTED]]:
        table.add_row(short(c["name"], 24), ROLES[c["role"]], column_words(c, learned.get(c["name"])))
    lines: list[RenderableType] = [table]
    if len(rest) > LISTED:
        lines.append(f"... and {len(rest) - LISTED:,} more columns")
    lines += [c["why"] for c in rest if c["role"] == "leak"]
    return lines


def column_words(column: dict[str, Any], learned: dict[str, Any] | None) -> str:
    """A column's values, its blanks, and why it is not used."""
    values = counted(column["values"], "value")
    blanks = [f"{share(column['blank'])} blank"] if column["blank"] else []
    if learned:
        values = f"{learned['words']:,} words" if learned["words"] else f"numbers, {values}"
        blanks = [f"{share(learned[f'blank_{s}'])} blank in {s}" for s in ("train", "test") if learned[f"blank_{s}"]]
    why = column["why"] if column["role"] not in ("group", "leak") else ""
    return ", ".join([values, *blanks]) + (f"; {why}" if why else "")


def copy_lines(facts: dict[str, Any]) -> list[str]:
    """The near-duplicates, and those whose targets differ."""
    duplicates, looked = facts["duplicates"], facts["looked_at"]
    complete = looked["train"] + looked["test"] >= facts["train"] + facts["test"] - facts["missing"]["test"]["count"]
    among = f"among {'all' if complete else 'a sample of'} {looked['train']:,} train and {looked['test']:,} test items"
    if not duplicates["clusters"]:
        return [f"no near-duplicates {among}", *([duplicates["note"]] if duplicates["note"] else [])]
    clusters = counted(duplicates["clusters"], "cluster")
    lines = [f"{clusters} of near-duplicates {among}, {duplicates['largest']:,} items in the largest"]
    if duplicates["train"]:
        lines.append(f"{duplicates['train']:,} train items are nearly another one; such items share a fold")
    if duplicates["test"]:
        lines.append(f"{duplicates['test']:,} test items are nearly a train item")
    if duplicates["conflicts"]:
        pairs = ", ".join(" = ".join(map(short, pair)) for pair in duplicates["conflicting"])
        more = ", ..." if duplicates["conflicts"] > len(duplicates["conflicting"]) else ""
        lines.append(f"{counted(duplicates['conflicts'], 'pair')} of different targets: {pairs}{more}")
    return [*lines, *([duplicates["note"]] if duplicates["note"] else [])]


def drift_lines(facts: dict[str, Any]) -> list[str]:
    """How well a classifier tells test pictures from train pictures, and what that means."""
    drift = facts["drift"]
    if drift["auc"] is None:
        return [f"not measured: {drift['train']:,} train and {drift['test']:,} test pictures are too few"]
    lines = [drift_words(drift), f"{drift['train']:,} train and {drift['test']:,} test pictures were compared"]
    most = drift["most"]
    if most and drift["verdict"] != "none":
        lines.append(
            f"median {most['name']} {most['train']:.4g} in train, {most['test']:.4g} in test (alone AUC "
            f"{most['auc']:.2f})"
        )
    return lines


def ignored_lines(facts: dict[str, Any]) -> list[str]:
    """Files that are not read."""
    files = list(facts["other_files"].items())
    if not files:
        return []
    more = f" and {len(files) - LISTED} other kinds" if len(files) > LISTED else ""
    named = ", ".join(f"{n:,} {short(kind)}" for kind, n in files[:LISTED])
    return [f"{named}{more}: no pictures, tables or archives that are read here"]


def answer_lines(facts: dict[str, Any]) -> list[str]:
    """The submission's form in words, and how the sample begins."""
    form = facts["form"]
    names = [short(c) for c in form["columns"]]
    header = ",".join(names) if len(names) <= 5 else f"{','.join(names[:3])},... ({len(names):,} columns)"
    cell = {"label": "one class name", "number": "a number", "columns": "a number per class"}.get(form["cell"], "")
    if form["cell"] == "labels":
        joined = JOINED.get(form["separator"], "separators")
        cell = f"{form['at_most']} class names, best first," if form["at_most"] else "class names"
        cell += f" joined by {joined}"
    if form["cell"] == "number" and facts["kind"] == "binary":
        cell = f"the probability of {list(facts['classes'])[-1]!r}, or 0/1"
    if form["sums_to_one"]:
        cell += ", each row summing to one"
    rows = f"{form['rows']:,} rows of" if form["rows"] else "no test pictures; others are answered as"
    lines = [f"{rows} {header}; {cell}"]
    if form["first"]:
        most = 16 if len(form["columns"]) > 3 else 2 * WIDEST
        first = ",".join(short(c, most) if i else short(c) for i, c in enumerate(form["first"][:4]))
        lines.append(f"the sample begins {first}" + (",..." if len(form["columns"]) > 4 else ""))
    return lines


def metric_lines(facts: dict[str, Any]) -> list[str]:
    """The metric to optimise, and why it was proposed."""
    metric = facts["metric"]
    better = "higher" if metric["greater_is_better"] else "lower"
    return [f"{metric['name']}, {better} is better" + (f"; proposed, as {metric['why']}" if metric["proposed"] else "")]


def note_lines(notes: Sequence[dict[str, Any]]) -> list[str]:
    """The notes as a list; those that are not sure begin with how sure they are."""
    return [f"- {'' if note['sure'] == 'sure' else note['sure'] + ': '}{note['text']}" for note in notes]
