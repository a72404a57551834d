"""Which level of nested folders holds the classes: not copies, splits, patients, sites or variants of pictures."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autoclimb.data.read.naming import folded
from autoclimb.errors import Mistake

SAME = 0.6  # share of the folders beside it that hold a folder of this name, from which the name is one of their kind
FEWER = 3  # times fewer names than another level of numbers has, from which numbers are classes and the others are not
STRAY = 0.1  # share of the pictures below which folders of another depth are strays
VARIANT = re.compile(
    r"colou?r(ed)?|rgb|gr[ae]y(scale)?|bw|segment(ed|ation)|masked|cropped|crops?|originals?|orig|raw|processed|preprocessed|"
    r"resized|small|large|big|hr|lr|low|high|normali[sz]ed|augmented|augmentation|aug|enhanced|clahe|edges|thermal|"
    r"infrared|ir|nir|depth|left|right|front|back|top|side|day|night|clean|noisy|blurred|images?|img|imgs|pictures|photos|"
    r"jpg|png"
)
MOST_CHARTS = 4  # pictures of a folder of charts beside the classes: a class of more could be learned
DOCUMENT = re.compile(
    r"fig(ure)?s?|docs?|documentation|assets?|plots?|screenshots?|results?|outputs?|notebooks?|examples?|demos?|logos?|icons?|"
    r"previews?|paper|readme|report|samples?|misc|te?mp|runs?|logs?|checkpoints?|weights|tensorboard|wandb|mlruns"
)
MISHAP = re.compile(  # folders that nobody named, and those of copies
    r"(new folder|untitled( folder)?|neuer ordner|nouveau dossier|nueva carpeta|backup)( ?\(?\d+\)?)?"
    r"|.*[ _-]copy( ?\(?\d+\)?)?|.* - kopie|copy of .*",
    re.IGNORECASE,
)
CLASS_WORDS = re.compile(r"class|label|grade|level|type|category|cat|stage|score|species|kl", re.IGNORECASE)
SOURCE_WORDS = re.compile(
    r"^(patient|subject|person|case|study|participant|donor|specimen|session|scan|slide|sequence|clip|video|site)s?$"
)
RESOLUTION = re.compile(r"\d+ ?(x ?\d+|x|px|p|dpi|ppi|mm|um)", re.IGNORECASE)  # 256x256, 40X
NUMBERED_SOURCE = re.compile(
    r"(patient|subject|person|case|study|participant|donor|specimen|session|scan|slide|sequence|clip|video|site|hospital|"
    r"center|centre|clinic|scanner|camera|batch|fold|day|farm|field|plot|location|group|dataset)s?[ _-]?([A-Za-z]|\d+)",
    re.IGNORECASE,
)
CODE = re.compile(r"(?=.*\d)(?=.*[a-z])[0-9a-z]+([-_. ][0-9a-z]+)*", re.IGNORECASE)  # TCGA-A1-A0SB, 20x_b3, 3f9a


@dataclass(frozen=True)
class Levels:
    """Pictures by what the folders above them are called, without splits and folders that all of them share.

    `paths` has the names of each picture's folders, those of one length, a level each.
    """

    paths: list[tuple[str, ...]] = field(repr=False)

    @property
    def depth(self) -> int:
        """The number of levels."""
        return len(self.paths[0]) if self.paths else 0

    def names(self, level: int) -> list[str]:
        """The names at a level, each once, in order."""
        return sorted({path[level] for path in self.paths})


def class_level(levels: Levels, words: Sequence[str], target: Sequence[str] | None) -> tuple[int, bool]:
    """The level whose folders are the classes, and whether the folder says so; -1 for a folder without levels.

    `words` are class names that a sample shows, `target` those that the user named: a level that has them is it.
    Raises Mistake where two levels could be it, naming both.
    """
    if levels.depth == 0:
        return -1, True
    names = [levels.names(k) for k in range(levels.depth)]
    if target:
        fitting = [k for k in range(levels.depth) if set(target) <= set(names[k])]
        if not fitting:
            raise Mistake(
                f"--target {','.join(target)} names no class folders of one level; there are "
                f"{' / '.join(shown(n) for n in names)}"
            )
        return fitting[-1], True
    if levels.depth == 1:
        return 0, True
    asked = {folded(w) for w in words}
    fitting = [k for k in range(levels.depth) if len(asked & {folded(n) for n in names[k]}) > len(asked) / 2]
    if asked and len(fitting) == 1:
        return fitting[0], True
    kinds = [kind_of(n) for n in names]
    order = [k for k, kind in enumerate(kinds) if kind == "words"]
    order += [k for k, kind in enumerate(kinds) if kind == "numbers" and (not order or recurs(levels, order[0], k))]
    if len(order) == 1:
        return order[0], False
    if len(order) == 2 and {kinds[k] for k in order} == {"numbers"} and recurs(levels, *order):
        few, many = sorted(order, key=lambda k: len(names[k]))
        if len(names[few]) * FEWER <= len(names[many]):
            return few, False
    one, other = (order or list(range(levels.depth)))[:2]
    raise Mistake(
        f"folders in folders: {shown(names[one])} hold {shown(names[other])}; either may be the classes: name those "
        f"that are, such as --target {','.join(quoted(n) for n in names[other][:2])}"
    )


def kind_of(names: Sequence[str]) -> str:
    """The kind of a level's names: sources (patients, sites, dates), variants of pictures, numbers, or words."""
    words = [re.findall(r"[a-z]+", n.lower()) for n in names]
    if all(map(RESOLUTION.fullmatch, names)) or all(w and all(map(VARIANT.fullmatch, w)) for w in words):
        return "variants"
    if len(names) > 1 and all(map(NUMBERED_SOURCE.fullmatch, names)):
        return "sources"
    if all(n.isdigit() for n in names):
        lengths = {len(n) for n in names}
        long = max(lengths) >= 4 or (len(lengths) == 1 and max(lengths) >= 3)
        return "sources" if long and len(names) > 1 else "numbers"
    digits = [n for n in names if re.search(r"\d", n)]
    if len(digits) < len(names):
        return "words"
    frames = Counter(re.sub(r"\d+", "#", n.lower()) for n in names)
    frame = frames.most_common(1)[0][0]
    if len(frames) == 1 and len(names) > 1:
        return "words" if CLASS_WORDS.search(frame) else "sources"
    coded = sum(CODE.fullmatch(n) is not None and not re.search(r"[a-z]{5,}", n, re.IGNORECASE) for n in names)
    return "sources" if coded > 0.9 * len(names) else "words"


def are_sources(names: Sequence[str]) -> bool:
    """Whether all names are numbered patients, sessions and the like, by their words."""
    words = [re.findall(r"[a-z]+", n.lower()) for n in names]
    return len(names) > 2 and all(
        len(w) == 1 and SOURCE_WORDS.match(w[0]) and re.search(r"\d", n) for w, n in zip(words, names, strict=True)
    )


def recurs(levels: Levels, one: int, other: int) -> bool:
    """Whether most folders of the upper of two levels hold folders of the same names."""
    upper, lower = sorted((one, other))
    above: dict[str, set[str]] = defaultdict(set)
    for path in levels.paths:
        above[path[lower]].add(path[upper])
    share = sum(map(len, above.values())) / len(above) / max(1, len(levels.names(upper)))
    return share >= SAME


def quoted(name: str) -> str:
    """A name as a shell wants it."""
    return f"'{name}'" if re.search(r"[^\w.,=-]", name) else name


def shown(names: Sequence[str]) -> str:
    """The first names of a level."""
    return f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"


def beside_nest(
    nest: str, inner: Mapping[str, int], outer: Mapping[str, int], target: Sequence[str] | None
) -> set[str]:
    """Which of the `outer` folders are left out: they lie beside one folder, `nest`, whose `inner` folders are many.

    Both are numbers of pictures by name. Raises Mistake where either may be the classes.
    """
    if target and set(target) <= {nest, *outer}:
        return set()
    if target and set(target) <= inner.keys():
        return set(outer)
    few = {name for name, pictures in outer.items() if pictures < min(inner.values()) / 3}
    if len(few) < len(outer):
        names = sorted(inner)
        raise Mistake(
            f"{nest} holds the folders {shown(names)} beside {shown(sorted(outer))}; either may be the classes: name "
            f"those that are, such as --target {','.join(map(quoted, names[:2]))}"
        )
    return few


def levelled(folders: Sequence[tuple[str, ...]], target: Sequence[str] | None) -> tuple[Levels, list[int], list[str]]:
    """The levels of pictures by their folders, the pictures in them by number, and the folders of strays left out.

    Folders that all pictures share say nothing and are dropped, at the top or between; so are folders of one name that
    each folder of a level holds (`images`). Where folders differ in depth, those of documents and the few go, and a
    folder that holds pictures beside deeper folders is a class with folders in it. `target` are class names that the
    user gave. Raises Mistake where one folder of folders lies beside folders of pictures and neither are few.
    """
    rows = list(range(len(folders)))
    strays: list[str] = []
    paths = without_constants([tuple(f) for f in folders])
    while True:
        deep = Counter(path[0] for path in paths if len(path) > 1)
        inner = Counter(path[1] for path in paths if len(path) > 1)
        leaves = Counter(path[0] for path in paths if len(path) == 1)
        bare = sum(not path for path in paths)
        out = {name for name in leaves if name not in deep and is_stray(name, leaves[name], len(paths))}
        if not deep and (len(leaves) - len(out) < 2 or not few_beside(out, leaves)):
            out = set()
        nest = next(iter(deep), "")
        if len(deep) == 1 and nest not in leaves and len(inner) > 1 and leaves and not out:
            out = beside_nest(nest, inner, leaves, target)
        direct = bool(bare) and bare < STRAY * len(paths)
        if not out and not direct:
            break
        strays += sorted(out) + (["."] if direct else [])
        keep = [k for k, path in enumerate(paths) if path and not (len(path) == 1 and path[0] in out)]
        rows, paths = [rows[k] for k in keep], without_constants([paths[k] for k in keep])
    depth = min(map(len, paths), default=0)
    return Levels(without_constants([path[:depth] for path in paths])), rows, strays


def is_stray(name: str, pictures: int, of: int) -> bool:
    """Whether a folder of pictures beside deeper folders holds figures and the like."""
    words = re.findall(r"[a-z]+", name.lower())
    return bool(words) and all(map(DOCUMENT.fullmatch, words)) and pictures < of / 2


def few_beside(strays: set[str], leaves: Counter[str]) -> bool:
    """Whether each folder of strays holds a few pictures only, and far fewer than any other folder."""
    fewest = min(n for name, n in leaves.items() if name not in strays)
    return all(leaves[name] <= min(MOST_CHARTS, fewest / FEWER) for name in strays)


def without_constants(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The paths without the levels that are called the same in all of them, as far as all of them go."""
    depth = min(map(len, paths), default=0)
    keep = [k for k in range(depth) if any(path[k] != paths[0][k] for path in paths)]
    return [(*(path[k] for k in keep), *path[depth:]) for path in paths]
