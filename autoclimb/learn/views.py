"""A net's predictions for rows of the cache, averaged over views of each picture (test-time augmentation)."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from autoclimb.config import Config
from autoclimb.data.stored import PictureRows
from autoclimb.disk import read_json
from autoclimb.errors import Mistake
from autoclimb.learn.backbones import Built
from autoclimb.learn.batches import filled, pictures_of_rows, prefetch, to_input
from autoclimb.learn.devices import exact_where_needed, prediction_autocast
from autoclimb.learn.faults import Diverged, Unbuildable
from autoclimb.learn.losses import predictions_of
from autoclimb.learn.material import Fold, Material, Watch
from autoclimb.learn.memory import in_parts
from autoclimb.learn.several import join_tiles, split_tiles
from autoclimb.seeds import rng
from autoclimb.types import Kind

View = Callable[[Tensor], Tensor]


def _rolled(down: int, right: int) -> View:
    """The picture moved by an eighth of its size, the border repeated."""

    def view(x: Tensor) -> Tensor:
        step = max(x.shape[-1] // 16, 1)
        padded = F.pad(x, (step, step, step, step), mode="replicate")
        a, b = step + down * step, step + right * step
        return padded[..., a : a + x.shape[-2], b : b + x.shape[-1]]

    return view


def _same(x: Tensor) -> Tensor:
    return x


def _turned(x: Tensor, quarters: int, mirrored: bool) -> Tensor:
    return torch.rot90(x.flip(3) if mirrored else x, quarters, (2, 3))


def _mirrored(x: Tensor) -> Tensor:
    return x.flip(3)


def _cut(x: Tensor, top: float, left: float, share: float, mirrored: bool = False) -> Tensor:
    """A part of the picture, `share` of its sides, at the picture's own size; `top` and `left` from 0 to 1."""
    height, width = x.shape[-2:]
    part_height, part_width = round(share * height), round(share * width)
    y, x0 = round(top * (height - part_height)), round(left * (width - part_width))
    part = x[..., y : y + part_height, x0 : x0 + part_width]
    enlarged = F.interpolate(part, (height, width), mode="bilinear", align_corners=False)
    return enlarged.flip(3) if mirrored else enlarged


def _scaled(x: Tensor, factor: float) -> Tensor:
    """The picture at another size, for nets that take any."""
    side = scaled_side(x.shape[-1], factor)
    return F.interpolate(x, (side, side), mode="bilinear", align_corners=False, antialias=True)


def scaled_side(side: int, factor: float) -> int:
    """A side times the factor, to the nearest 8 px."""
    return max(8, round(factor * side / 8) * 8)


def _corners(share: float, mirrored: bool = False) -> list[View]:
    return [partial(_cut, top=y, left=x, share=share, mirrored=mirrored) for y in (0, 1) for x in (0, 1)]


TURNS: dict[tuple[int, bool], View] = {
    (k, m): partial(_turned, quarters=k, mirrored=m) for k in range(4) for m in (False, True)
}
TURNS |= {(0, False): _same, (0, True): _mirrored}
SHIFTS = [_rolled(-1, -1), _rolled(-1, 1), _rolled(1, -1), _rolled(1, 1)]
MIDDLE = partial(_cut, top=0.5, left=0.5, share=7 / 8)
VIEWS: dict[str, Sequence[View]] = {
    "none": (_same,),
    "flip": (_same, _mirrored),
    "vertical": (_same, TURNS[2, True]),
    "flips": (_same, _mirrored, TURNS[2, True], TURNS[2, False]),
    "shift": (_same, *SHIFTS),
    "flip-shift": (_same, _mirrored, SHIFTS[0], SHIFTS[3]),
    "dihedral": tuple(TURNS.values()),
    # corners and middle, seven eighths of the sides each, enlarged (Krizhevsky et al. 2012); ten with mirror images
    "five-crop": (MIDDLE, *_corners(7 / 8)),
    "ten-crop": (MIDDLE, *_corners(7 / 8), partial(MIDDLE, mirrored=True), *_corners(7 / 8, mirrored=True)),
    "multi-scale": (_same, partial(_scaled, factor=0.85), partial(_scaled, factor=1.2)),
    "parts": (_same, *_corners(5 / 8)),  # the whole and four overlapping quarters of it
}
RESIZING = ("multi-scale",)  # rows that a net of one fixed size cannot take
CHOICES = ("none", "flip", "vertical", "flips", "shift", "dihedral")  # what "auto" chooses from, the cheaper first
NEAR, FEW = 4, 8  # batches before the deadline from which pictures are predicted few at a time, and how many
LEAST_ROWS = 20  # held-out rows to choose by
SAMPLED = 150  # held-out rows of each half that "auto" looks at in every view


def views_named(tta: str, fixed: bool = False) -> Sequence[View]:
    """The views of a row of the menu; for "auto" those of all rows that it chooses from.

    Raises Mistake for an unknown name, Unbuildable where the net is `fixed` to one size and the views are not.
    """
    if tta == "auto":
        return list(dict.fromkeys(view for name in CHOICES for view in VIEWS[name]))
    if tta not in VIEWS:
        raise Mistake(f"tta {tta!r} is unknown; choose from {', '.join([*VIEWS, 'auto'])}")
    if fixed and tta in RESIZING:
        raise Unbuildable(f"a net of one fixed size cannot predict at several, as tta {tta} does")
    return VIEWS[tta]


def per_tile(view: View, grid: int) -> View:
    """The view of each picture of a grid by itself."""
    return lambda x: join_tiles(view(split_tiles(x, grid)), grid)


def predict_rows(
    built: Built,
    material: Material,
    rows: np.ndarray,
    device: torch.device,
    size: int,
    tta: str = "none",
    watch: Watch | None = None,
    batch: int = 128,
) -> np.ndarray:
    """Predictions `(len(rows), C)` float32, probabilities or standardised numbers, averaged over the views of `tta`.

    Under a watch that runs out, later rows are seen in the first view only; rows not reached by its deadline are NaN,
    and no others: Diverged is raised where a net predicts no numbers.
    """
    views = views_named(tta, built.fixed)
    predictions, reached = np.full((len(rows), material.width), np.nan, np.float32), 0
    for by_view in _predictions_by_view(built, material, rows, device, size, views, watch or Watch(), batch):
        if watch and not np.isfinite(by_view).all():
            raise Diverged("the net's predictions are no numbers")
        predictions[reached : reached + by_view.shape[1]] = by_view.mean(0)
        reached += by_view.shape[1]
    return predictions


def _predictions_by_view(
    built: Built,
    material: Material,
    rows: np.ndarray,
    device: torch.device,
    size: int,
    views: Sequence[View],
    watch: Watch,
    batch: int = 128,
    later: int = 0,
) -> Iterator[np.ndarray]:
    """Predictions `(V, B, C)` of each view by itself, a batch of rows at a time; V is less where the watch runs out.

    After these rows, `later` pictures are to pass through the net, for which the watch must leave time. Near the
    deadline few pictures go at once, and none that would not be done by then: whoever is ended with pictures on their
    way loses all that came before. On a card every batch is as large as in training, the last one filled up: for
    another shape a net with depthwise convolutions would wait seconds for its kernels.
    """
    built.net.eval()
    on_card = device.type == "cuda"
    batch = built.batch if on_card and built.batch else batch

    def pictures() -> Iterator[np.ndarray]:
        for first in range(0, len(rows), batch):
            yield pictures_of_rows(material.pixels, rows[first : first + batch], size, built.grid)

    def predict(x: Tensor) -> Tensor:
        return predictions_of(built.net(x).float(), material.kind, built.loss, built.width)

    def seen(x: Tensor, view: View, count: int) -> np.ndarray:
        outputs = exact_where_needed(partial(in_parts, predict, view(x)))
        return outputs[:count].cpu().numpy()  # of a card too the clock is asked when it is done

    views = [per_tile(view, built.grid) for view in views] if built.grid else views
    left, each, waiting_from = len(rows), watch.each, watch.now()
    for block in prefetch(pictures(), device):
        while len(block):
            most = watch.pictures_until(each)
            if most < (batch if on_card else 1):
                return
            near = most < NEAR * len(block) and not on_card
            part = block[: min(int(most), FEW)] if near else block
            block = block[len(part) :]
            start, count = watch.now(), len(part)
            with torch.inference_mode(), prediction_autocast(device, built.exactly):
                some = filled(part, batch) if on_card else part
                x = to_input(some, built.mean, built.std, device, built.format.layout)
                predictions = [seen(x, views[0], count)]
                each = (watch.now() - waiting_from) / count
                if watch.allows(start, (len(views) * left + later) / count):
                    for view in views[1:]:
                        if watch.now() >= watch.soft:
                            break
                        predictions.append(seen(x, view, count))
            yield np.stack(predictions)
            left, waiting_from = left - count, watch.now()
            watch.report({"progress": 1.0, "what": "predicting"})


@dataclass(frozen=True, eq=False)
class Chosen:
    """The rows of VIEWS to predict in: one for the test rows, one for each part of the held-out rows, by its places."""

    test: str
    held_out: tuple[tuple[np.ndarray, str], ...]


def views_for_all(tta: str, config: Config, fold: Fold) -> Chosen:
    """One row of VIEWS for the test rows and for the held-out rows.

    These in an order by lot: where the deadline cuts some off, what is left is no matter of how the table was sorted.
    """
    places = rng(config.seed, "held out", fold.number).permutation(len(fold.valid_rows))
    return Chosen(tta, ((places, tta),))


def choose_views(built: Built, material: Material, config: Config, fold: Fold, watch: Watch) -> Chosen:
    """The rows of CHOICES that suit the net; one view where there are few held-out rows, or no time to look.

    Honest: the views of each half of the held-out rows are chosen on a sample of the other half, those of the test on
    both samples. The watch must leave time to see every row in one view after that. `material.target` is in the net's
    units.
    """
    valid_rows = fold.valid_rows
    one_view = views_for_all(CHOICES[0], config, fold)
    if len(valid_rows) < LEAST_ROWS:
        return one_view
    views = views_named("auto")
    halves = np.array_split(rng(config.seed, "views").permutation(len(valid_rows)), 2)
    samples = [valid_rows[half[:SAMPLED]] for half in halves]
    losses: list[dict[str, np.ndarray]] = []
    for number, rows in enumerate(samples):
        later = len(views) * sum(map(len, samples[number + 1 :])) + len(valid_rows) + len(material.test_rows)
        blocks = []
        for block in _predictions_by_view(
            built, material, rows, fold.device, config.seen_size, views, watch, later=later
        ):
            if len(block) < len(views):
                return one_view
            blocks.append(block)
        if sum(block.shape[1] for block in blocks) < len(rows):
            return one_view
        by_view = dict(zip(views, np.concatenate(blocks, 1), strict=True))
        means = {name: np.mean([by_view[view] for view in VIEWS[name]], 0) for name in CHOICES}
        losses.append({name: row_losses(p, material.targets(rows), material.kind) for name, p in means.items()})
    test = cheapest_of_the_best({name: np.concatenate([half[name] for half in losses]) for name in CHOICES})
    by_other_half = [cheapest_of_the_best(other) for other in losses[::-1]]
    return Chosen(test, tuple(zip(halves, by_other_half, strict=True)))


def with_views_of(config: Config, record: Path) -> Config:
    """The config with the views that a fold chose, by its json; a fold that its deadline cut off has none: one view."""
    if config.tta != "auto":
        return config
    return config.vary(tta=read_json(record)["tta"] if record.exists() else CHOICES[0])


def row_losses(p: np.ndarray, target: np.ndarray, kind: Kind) -> np.ndarray:
    """The loss of each row `(n,)`: squared error, or the log loss of the classes or labels."""
    if kind == "regression":
        return ((p - target) ** 2).mean(1)
    p = p.clip(1e-4, 1 - 1e-4)
    if kind == "multilabel":
        return -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean(1)
    return -(target * np.log(p)).sum(1)


def cheapest_of_the_best(losses: dict[str, np.ndarray]) -> str:
    """The first name whose mean loss is within a standard error, over the same rows, of the least."""
    best = min(losses, key=lambda name: losses[name].mean())
    for name, loss in losses.items():
        worse = loss - losses[best]
        if worse.mean() <= worse.std() / math.sqrt(len(worse)):
            return name
    return best


def seconds_a_picture(built: Built, pixels: PictureRows, device: torch.device, size: int) -> float:
    """Seconds to read and predict one picture in one view, from two batches (the first warms up)."""
    count = built.batch if device.type == "cuda" and built.batch else min(64, len(pixels))
    begun = time.perf_counter()
    few = pictures_of_rows(pixels, np.arange(count) % len(pixels), size, built.grid)
    reading = time.perf_counter() - begun
    built.net.eval()
    spent = 0.0
    with torch.inference_mode(), prediction_autocast(device):
        for _ in range(2):
            start = time.perf_counter()
            x = to_input(few, built.mean, built.std, device, built.format.layout)
            in_parts(built.net, x).float().sum().item()
            spent = time.perf_counter() - start
    return (reading + spent if device.type == "cpu" else max(reading, spent)) / len(few)  # a card computes meanwhile


def views_to_predict(rows: int, tta: str, fixed: bool) -> int:
    """Pictures that pass through the net when that many rows are predicted; "auto" looks at samples in every view."""
    if tta == "auto":
        return 2 * SAMPLED * len(views_named(tta)) + rows * max(len(VIEWS[name]) for name in CHOICES)
    return rows * len(views_named(tta, fixed))
