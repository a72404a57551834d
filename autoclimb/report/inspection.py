"""What `autoclimb inspect` shows: the facts of a folder as a page of 80 columns."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

LISTED = 12  # classes, columns and metadata shown one by one
WIDEST = 30  # signs of a name
JOINED = {" ": "spaces", ",": "commas", "|": "bars", ";": "semicolons"}
ROLES = {
    "target": "target",
    "group": "groups",
    "metadata": "learned from",
    "leak": "ignored: a leak",
    "unused": "ignored",
}


def page_of(facts: dict[str, Any]) -> RenderableType:
    """The facts (`data.facts.facts_of`, with "metric": name, proposed, why) as something rich prints in 80 columns."""
    page = Table.grid(padding=(0, 2, 0, 0))
    page.add_column(no_wrap=True)
    page.add_column(ratio=1, overflow="fold")
    for name, said in (
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
        for i, part in enumerate(said):
            page.add_row(Text(name if i == 0 else "", style="bold"), part)
    title = Text.assemble((facts["name"], "bold"), f": {kind_words(facts)}")
    return Group(title, Padding(page, (1, 0, 0, 2), expand=False))


def kind_words(facts: dict[str, Any]) -> str:
    """The kind of task in words."""
    n = len(facts["classes"])
    return {
        "binary": "two classes",
        "multiclass": f"{n:,} classes, one an item",
        "multilabel": f"{n:,} labels, {facts['labels_per_item'] or 0:.2g} an item on average",
        "ordinal": f"{n} grades in order",
        "regression": "a number an item",
    }[facts["kind"]] + f" ({facts['kind']})"


def item_lines(facts: dict[str, Any], split: str) -> list[str]:
    """How many items a split has, and which cannot be used."""
    said = [f"{facts[split]:,} items"]
    low, middle, high = facts["pictures_per_item"] or (1, 1, 1)
    if high > 1 and split == "train":
        said[0] += f" of {high} pictures" if low == high else f" of {low} to {high} pictures, median {middle}"
    fate = "left out of training" if split == "train" else "answered by a constant"
    missing, unreadable = facts["missing"][split], facts["unreadable"][split]
    if missing["count"]:
        said.append(f"{counted(missing['count'], 'id')} without a picture, {fate}: {some(missing)}")
    if unreadable["count"]:
        looked = facts["looked_at"][split]
        said.append(f"{unreadable['count']:,} of {looked:,} pictures cannot be read, {fate}: {some(unreadable)}")
    return said


def some(told: dict[str, Any]) -> str:
    """The first names of a list, and whether there are more."""
    return ", ".join(map(short, told["first"])) + (", ..." if told["count"] > len(told["first"]) else "")


def counted(number: int, thing: str) -> str:
    """`1 value`, `2 values`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def short(name: str, most: int = WIDEST) -> str:
    """A name, its middle cut out where it is long."""
    return name if len(name) <= most else f"{name[: most - most // 3 - 1]}…{name[-(most // 3) :]}"


def picture_lines(facts: dict[str, Any]) -> list[str]:
    """Sizes and modes; those of test where they differ."""
    train, test = facts["pictures"]["train"], facts["pictures"]["test"]
    said = [picture_words(train)] if train else []
    if test and (not train or looks(train) != looks(test)):
        said.append(f"test: {picture_words(test)}")
    seen = " and ".join(f"{p['sampled']:,} {split}" for split, p in facts["pictures"].items() if p)
    if seen:
        said.append(
            f"by the headers of {seen} pictures"
            + (f"; read with {facts['channels']} channels" * (facts["channels"] != 3))
        )
    return said


def looks(seen: dict[str, Any]) -> tuple:
    """What of a split's pictures is worth a line of its own where the other split's differs."""
    return seen["sides"], seen["distinct_sizes"] == 1, set(seen["modes"])


def picture_words(seen: dict[str, Any]) -> str:
    """Sizes and modes in words."""
    if seen["distinct_sizes"] == 1:
        size = f"all {next(iter(seen['sizes']))}"
    elif seen["distinct_sizes"] <= 3:
        size = ", ".join(f"{s} ({n / seen['sampled']:.0%})" for s, n in seen["sizes"].items())
    else:
        width, height = (f"{low} to {high} (median {middle})" for low, middle, high in (seen["width"], seen["height"]))
        size = f"{seen['distinct_sizes']:,} sizes, width {width}, height {height}"
    modes = ", ".join(
        f"{m} {share(n / seen['sampled'])}" if len(seen["modes"]) > 1 else m for m, n in seen["modes"].items()
    )
    deep = [bits for bits in seen["bits"] if bits != "8"]
    return f"{size}; {modes}" + (f"; {' and '.join(seen['bits'])} bits a channel" if deep else "; 8 bits a channel")


def share(part: float) -> str:
    """A share in percent; what is not none is not 0 %."""
    return f"{part:.0%}" if part == 0 or part >= 0.005 else "<1%"


def label_lines(facts: dict[str, Any]) -> list[RenderableType]:
    """Classes with their counts and a bar, commonest first or by grade, very many cut in the middle; or a range."""
    if facts["target"]:
        t = facts["target"]
        return [f"{t['min']:g} to {t['max']:g}, median {t['median']:g}, mean {t['mean']:.4g}"]
    ordered = list(facts["classes"].items())
    if facts["kind"] != "ordinal":
        ordered.sort(key=lambda c: -c[1])
    shown, between = (ordered, []) if len(ordered) <= LISTED else (ordered[: LISTED - 4], ordered[LISTED - 4 : -3])
    most = max(1, *facts["classes"].values())
    made = Table.grid(padding=(0, 2, 0, 0))
    for justify in ("left", "right", "right", "left"):
        made.add_column(justify=justify, no_wrap=True)

    def add(name: str, n: int) -> None:
        made.add_row(short(name), f"{n:,}", f"{n / facts['train']:.1%}", "█" * round(16 * n / most) or "▏")

    for name, n in shown:
        add(name, n)
    if between:
        low, high = min(n for _, n in between), max(n for _, n in between)
        made.add_row(f"... {len(between):,} more", f"{low:,}" if low == high else f"{low:,}-{high:,}", "", "")
        for name, n in ordered[-3:]:
            add(name, n)
    said: list[RenderableType] = [made]
    uneven = facts["imbalance"]
    if uneven["ratio"] is None:
        said.append(f"no train row has {short(uneven['rarest'])!r}")
    elif uneven["ratio"] >= 2:
        said.append(
            f"{short(uneven['commonest'])!r} is {uneven['ratio']:,.3g} times as frequent as {short(uneven['rarest'])!r}"
        )
    elif uneven["ratio"] == 1:
        said.append("as many rows of each")
    else:
        said.append(f"balanced: the commonest is {uneven['ratio']:.3g} times as frequent as the rarest")
    if facts["unlabelled"]:
        said.append(f"{facts['unlabelled']:,} rows have no label at all")
    return said


def group_lines(facts: dict[str, Any]) -> list[str]:
    """What rows are grouped by and why."""
    told = facts["groups"]
    if told is None:
        return ["none: rows are dealt freely to the folds"]
    by = f"by column {told['column']!r}: " if told["column"] else ""
    return [f"{by}{told['count']:,} groups, {told['largest']:,} rows in the largest", told["why"]]


def column_lines(facts: dict[str, Any]) -> list[RenderableType]:
    """The train table's columns and what became of each; nothing where there is the target only."""
    told = facts["columns"]
    if all(c["role"] == "target" for c in told):
        return []
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    targets = [c for c in told if c["role"] == "target"]
    rest = [c for c in told if c["role"] != "target"]
    if len(targets) > 3:
        made.add_row(
            f"{len(targets)} columns", ROLES["target"], f"{short(targets[0]['name'])} to {short(targets[-1]['name'])}"
        )
    learned = {m["name"]: m for m in facts["metadata"]}
    for c in [*(targets if len(targets) <= 3 else ()), *rest[:LISTED]]:
        made.add_row(short(c["name"], 24), ROLES[c["role"]], column_words(c, learned.get(c["name"])))
    said: list[RenderableType] = [made]
    if len(rest) > LISTED:
        said.append(f"... and {len(rest) - LISTED:,} more columns")
    said += [c["why"] for c in rest if c["role"] == "leak"]
    return said


def column_words(column: dict[str, Any], learned: dict[str, Any] | None) -> str:
    """A column's values, its blanks, and why it is not used."""
    what = counted(column["values"], "value")
    blank = [f"{share(column['blank'])} blank"] if column["blank"] else []
    if learned:
        what = f"{learned['words']:,} words" if learned["words"] else f"numbers, {what}"
        blank = [f"{share(learned[f'blank_{s}'])} blank in {s}" for s in ("train", "test") if learned[f"blank_{s}"]]
    why = column["why"] if column["role"] not in ("group", "leak") else ""
    return ", ".join([what, *blank]) + (f"; {why}" if why else "")


def copy_lines(facts: dict[str, Any]) -> list[str]:
    """Near-duplicates and where their targets differ."""
    told, looked = facts["duplicates"], facts["looked_at"]
    whole = looked["train"] + looked["test"] >= facts["train"] + facts["test"] - facts["missing"]["test"]["count"]
    among = f"among {'all' if whole else 'a sample of'} {looked['train']:,} train and {looked['test']:,} test items"
    if not told["clusters"]:
        return [f"no near-duplicates {among}", *([told["note"]] if told["note"] else [])]
    said = [
        f"{counted(told['clusters'], 'cluster')} of near-duplicates {among}, {told['largest']:,} items in the largest"
    ]
    if told["train"]:
        said.append(f"{told['train']:,} train items are nearly another one; such items share a fold")
    if told["test"]:
        said.append(f"{told['test']:,} test items are nearly a train item")
    if told["conflicts"]:
        pairs = ", ".join(" = ".join(map(short, pair)) for pair in told["conflicting"])
        more = ", ..." if told["conflicts"] > len(told["conflicting"]) else ""
        said.append(f"{counted(told['conflicts'], 'pair')} of different targets: {pairs}{more}")
    return [*said, *([told["note"]] if told["note"] else [])]


def drift_lines(facts: dict[str, Any]) -> list[str]:
    """How well test pictures are told from train pictures, and what that means."""
    told = facts["drift"]
    if told["auc"] is None:
        return [f"not measured: {told['train']:,} train and {told['test']:,} test pictures are too few"]
    verdict = {
        "none": "none seen: test pictures look like train pictures",
        "slight": "slight: test pictures differ a little from train pictures",
        "clear": "clear: test pictures differ from train pictures; the score out of fold may promise too much",
        "strong": "strong: test pictures are unlike train pictures; the score out of fold may promise far too much",
    }[told["verdict"]]
    said = [
        verdict,
        f"a small classifier tells them apart with AUC {told['auc']:.2f} ± {told['spread']:.2f} "
        f"({told['train']:,} and {told['test']:,} pictures; {told['meaning']})",
    ]
    most = told["most"]
    if most and told["verdict"] != "none":
        said.append(
            f"most by {most['name']}: median {most['train']:.4g} in train, {most['test']:.4g} in test "
            f"(alone AUC {most['auc']:.2f})"
        )
    return said


def ignored_lines(facts: dict[str, Any]) -> list[str]:
    """Files that nothing reads."""
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
    shown = ",".join(names) if len(names) <= 5 else f"{','.join(names[:3])},... ({len(names):,} columns)"
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
    said = [f"{rows} {shown}; {cell}"]
    if form["first"]:
        most = 16 if len(form["columns"]) > 3 else 2 * WIDEST
        first = ",".join(short(c, most) if i else short(c) for i, c in enumerate(form["first"][:4]))
        said.append(f"the sample begins {first}" + (",..." if len(form["columns"]) > 4 else ""))
    return said


def metric_lines(facts: dict[str, Any]) -> list[str]:
    """What is climbed, and why where it was proposed."""
    told = facts["metric"]
    better = "higher" if told["greater_is_better"] else "lower"
    return [f"{told['name']}, {better} is better" + (f"; proposed, as {told['why']}" if told["proposed"] else "")]


def note_lines(notes: Sequence[dict[str, Any]]) -> list[str]:
    """The notes as a list, what was inferred marked so."""
    return [f"- {'' if note['sure'] == 'sure' else note['sure'] + ': '}{note['text']}" for note in notes]
