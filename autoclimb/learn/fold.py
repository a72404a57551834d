"""One fold of one net: building, training in its time, saving and predicting."""

import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from autoclimb.arrays import take_rows
from autoclimb.budget import SLACK
from autoclimb.config import Config
from autoclimb.disk import whole_file
from autoclimb.errors import Mistake
from autoclimb.learn.averages import NORM_ROWS, recompute_norms
from autoclimb.learn.backbones import Built, build_net, place
from autoclimb.learn.batches import batch_of, labelled_in, pictures_of_rows, to_input
from autoclimb.learn.devices import prediction_autocast
from autoclimb.learn.faults import OutOfTime, Unbuildable
from autoclimb.learn.finder import SWEEP_SHARE, SWEEP_STEPS, find_rate
from autoclimb.learn.formats import sound_format, worth_compiling
from autoclimb.learn.heads import Cosine
from autoclimb.learn.initial import start_head, whiten
from autoclimb.learn.lean import folded, for_prediction
from autoclimb.learn.loop import Pace, train
from autoclimb.learn.material import PLAIN, Fold, Format, Material, Report, Watch
from autoclimb.learn.memory import in_parts
from autoclimb.learn.norms import norms_in_convolutions
from autoclimb.learn.phases import log
from autoclimb.learn.replays import Replayed, replayed, shapes_of
from autoclimb.learn.trunk import above
from autoclimb.learn.views import (
    choose_views,
    predict_rows,
    seconds_a_picture,
    views_for_all,
    views_named,
    views_to_predict,
)
from autoclimb.learn.weights import INPUT, SCALE
from autoclimb.seeds import rng, seed_of

FEWEST = 20  # held-out rows that a fold cut off by its deadline must have predicted: as many as blends compare by
REMEMBERED = 20_000  # train pictures among which neighbours are searched, a random sample of more; own choice


def run_fold(
    config: Config, seconds: float, material: Material, fold: Fold, out: Path, format: Format = PLAIN
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Predictions of one fold's net for its held-out rows and for the test rows, and the facts of its training.

    The net's weights are written into `out`. `seconds` cover everything, predicting included, except a card's
    preparations; they count only where the config has seconds instead of epochs. Towards the fold's deadline the
    schedule ends sooner and pictures get fewer views; rows that are not reached are NaN. Raises OutOfTime where too few
    rows are reached (`_predictions`).
    """
    begun, device = fold.now(), fold.device
    full_net = built = _net_for(config, material, fold, format)
    if config.top:
        built, material, config = above(built, material, config)
    target_mean, target_std = _target_scale(material, fold)
    standard, fold = _standardised(material, fold, target_mean, target_std)
    recording_from = fold.now()
    built = replayed(built, shapes_of(config, built.batch, material.channels), device)
    ready_s = fold.now() - recording_from
    start = begun + ready_s  # not part of the fold's seconds in the search's plan
    for_training, each, after = _training_seconds(built, material, config, fold, start, seconds)
    start_head(built.head, standard, fold, config.loss, anew=bool(config.weights))
    if config.whitened and not config.weights:
        whiten(built, standard, config, fold)
    training_from, facts = fold.now(), dict[str, Any]()
    if not config.lr:
        pace = Pace(fold.now, training_from, SWEEP_SHARE * for_training, SWEEP_STEPS)
        rate, curve = find_rate(built, standard, config, fold, pace)
        config, facts = config.vary(lr=rate), {"lr": rate, "lr_curve": curve}
    if worth_compiling(built.net, device, for_training if config.seconds else 0.0, config):
        built = compiled(built, standard, config, fold)
        built = replayed(built, shapes_of(config, built.batch, material.channels), device)
        facts["compiled"] = True
    if ready_s > 0.5 or device.type == "cuda":
        facts["ready_s"] = round(ready_s, 2)
    if isinstance(built.forward, Replayed):
        facts["graphs"] = len(built.forward.graphs)
    left = (for_training - (fold.now() - training_from)) * (1 - config.retrain_head)
    steps = 0 if config.seconds else _steps_of(config, fold)
    pace = Pace(fold.now, fold.now(), left, steps, fold.deadline - SLACK.after_fold, after)
    body = replace(fold, report=_part(fold.report, 0, 1 - config.retrain_head))
    averages = config.ema or config.swa  # are copies of the net, with their own modules
    with nullcontext() if averages else norms_in_convolutions(built, device, config.size):
        net, training_facts = train(built, standard, config, body, pace)
    built = replace(built, net=net, forward=None, head=net.get_classifier())  # type: ignore[operator]
    predict_by = fold.deadline - each * (len(fold.valid_rows) + len(material.test_rows))
    if config.swa and not config.frozen_norms:
        recompute_norms(built, standard, config, fold, predict_by)
    if config.retrain_head:
        built, training_facts["head_steps"] = retrain_head(built, standard, config, fold, pace)
    if config.neighbours:
        remember(built, material, config, fold, predict_by)
    trained_until = fold.now()
    tensors = {**full_net.net.state_dict(), **built.net.state_dict()}
    save_net(tensors, full_net, target_mean, target_std, out / f"fold{fold.number}.safetensors")
    oof_pred, test_pred, tta = _predictions(built, standard, config, fold, start + seconds, each)
    spent = pace.start - begun, ready_s, trained_until - pace.start, fold.now() - trained_until
    log(
        "  ready to train after {:.2f} s, {:.2f} of them to record; trained {:.2f} s, predicted {:.2f} s".format(*spent)
    )
    facts = {
        **training_facts,
        **facts,
        "train_s": round(trained_until - pace.start, 2),
        "predict_s": round(fold.now() - trained_until, 2),
        "precision": built.format.precision,
        "channels_last": built.format.channels_last,
        "parameters": sum(p.numel() for p in full_net.net.parameters()),
    }
    if fold.taught:
        facts["taught"] = len(fold.taught.rows)
    if tta:
        facts["tta"] = tta
    if built.note:
        facts["note"] = built.note
    return oof_pred * target_std + target_mean, test_pred * target_std + target_mean, facts


def _net_for(config: Config, material: Material, fold: Fold, format: Format) -> Built:
    """The config's net on the fold's device, before any training, in a format whose numbers are sound there.

    Raises Mistake or Unbuildable where the training or its views ask for what is impossible.
    """
    for name in ("retrain_head", "light_end"):
        share = getattr(config, name)
        if not 0 <= share < 1:
            raise Mistake(f"{name} {share:g} is no share of the training; write one under 1, like 0.2")
    if config.frozen_norms and not config.weights:
        raise Mistake("frozen_norms keeps the statistics of pretrained weights; name `weights`, or leave it out")
    torch.manual_seed(seed_of(config.seed, "net", config.backbone, fold.number))
    built = replace(build_net(config, material.width, material.channels), format=format, batch=batch_of(config, fold))
    if built.fixed and (config.sizes or config.scales or config.seen_size != config.size):
        raise Unbuildable(f"{config.backbone} takes pictures of one size only, not of several")
    views_named(config.tta, built.fixed)
    built = replace(built, format=sound_format(built, config, material.channels, fold.device))
    place(built, fold.device)
    return built


def _predictions(
    built: Built, material: Material, config: Config, fold: Fold, soft: float, each: float
) -> tuple[np.ndarray, np.ndarray, str]:
    """Predictions of held-out rows and of test rows, in the net's units; the views chosen where `tta` is "auto".

    `each` is the expected number of seconds for a picture. The test rows come first until a fold has predicted them
    all, then the held-out rows, which no other fold's net may predict. Rows that the deadline cuts off are NaN. Raises
    OutOfTime where fewer than FEWEST held-out rows are reached, or not every test row by any fold.
    """
    # in a trial that began late a fold's time may end after the deadline, when views under way would cost everything
    soft = min(soft, fold.deadline) if config.seconds else fold.deadline
    watch = Watch(fold.now, soft, fold.deadline, fold.report, each)
    built, auto = folded(built, fold.device, config.seen_size), config.tta == "auto"
    held_out, rows = fold.valid_rows, material.test_rows
    chosen = choose_views(built, material, config, fold, watch) if auto else views_for_all(config.tta, config, fold)
    test_share = len(rows) / max(len(rows) + len(held_out), 1)
    oof_pred = np.empty((len(held_out), material.width), np.float32)
    test_pred = np.empty((len(rows), material.width), np.float32)

    def predict_held_out(watch: Watch) -> None:
        for places, tta in chosen.held_out:
            oof_pred[places] = _predict(built, material, held_out[places], config.vary(tta=tta), fold, watch)

    if fold.test_done:
        predict_held_out(watch.share(1 - test_share))
    test_watch = watch if fold.test_done else watch.share(test_share)
    test_pred[:] = _predict(built, material, rows, config.vary(tta=chosen.test), fold, test_watch)
    if not fold.test_done:
        predict_held_out(watch)
    reached = [int(np.isfinite(p).all(1).sum()) for p in (oof_pred, test_pred)]
    if reached[0] < min(len(held_out), FEWEST) or (reached[1] < len(rows) and not fold.test_done):
        rows_reached = f"{reached[1]} of {len(rows)} test rows and {reached[0]} of {len(held_out)} held-out rows"
        raise OutOfTime(f"the deadline came when {rows_reached} were predicted")
    return oof_pred, test_pred, chosen.test if auto else ""


def _predict(
    built: Built, material: Material, rows: np.ndarray, config: Config, fold: Fold, watch: Watch
) -> np.ndarray:
    """Predictions for the rows, averaged over the views of `tta`: of pictures, or of stored features of each view."""
    device, size = fold.device, config.seen_size
    if material.stored is None:
        return predict_rows(built, material, rows, device, size, config.tta, watch)
    first, *others = material.stored.views
    in_first = predict_rows(built, replace(material, pixels=first), rows, device, size, watch=watch)
    by_view = [in_first]
    spare = replace(watch, deadline=min(watch.soft, watch.deadline))  # leaves time for later rows' first views
    for view in others:
        if spare.pictures_until(0.0):
            in_view = predict_rows(built, replace(material, pixels=view), rows, device, size, watch=spare)
            by_view.append(np.where(np.isnan(in_view), in_first, in_view))
    return np.mean(by_view, 0)


def _training_seconds(
    built: Built, material: Material, config: Config, fold: Fold, start: float, seconds: float
) -> tuple[float, float, float]:
    """The seconds for training, those to predict a picture in one view, and those that follow the training at least.

    The time for predicting is subtracted from the fold's. (infinity, 0, 0) where the config counts epochs and there is
    no deadline. Raises OutOfTime where the deadline leaves no time to train and predict.
    """
    if not config.seconds and fold.deadline == math.inf:
        return math.inf, 0.0, 0.0
    rows = len(fold.valid_rows) + len(material.test_rows)
    rows += min(len(fold.train_rows), REMEMBERED) if config.neighbours else 0
    predicting = folded(built, fold.device, config.seen_size)
    each = SLACK.predict_margin * seconds_a_picture(predicting, material.pixels, fold.device, config.seen_size)
    norms = 0.0
    if config.swa:
        norm_each = SLACK.predict_margin * seconds_a_picture(built, material.pixels, fold.device, config.size)
        norms = norm_each * min(len(fold.train_rows), NORM_ROWS)
    now, planned = fold.now(), math.inf
    if config.seconds:
        later = each * views_to_predict(rows, config.tta, built.fixed) + norms + SLACK.after_fold
        planned = max(seconds - (now - start) - later, SLACK.least_training_share * seconds)
    last_step = 4 * each * batch_of(config, fold)  # forward, backward, update of a step begun just before the end
    after = each * rows + norms + last_step  # with one view
    possible = fold.deadline - now - after - SLACK.after_fold
    if possible <= 0:
        raise OutOfTime(f"{fold.deadline - now:.1f} s are left: too few to train and predict {rows} rows")
    return min(planned, possible), each, after


def compiled(built: Built, material: Material, config: Config, fold: Fold) -> Built:
    """The net compiled, and run once forward and backward, so that compiling takes no time from the schedule.

    Weights, statistics of norms and random numbers are restored.
    """
    torch._dynamo.reset()  # it gives up on code that it compiled for eight nets before
    torch._dynamo.config.suppress_errors = True  # parts that cannot be compiled run uncompiled
    built = replace(built, forward=torch.compile(built.net))
    find_rate(built, material, config, fold, Pace(fold.now, fold.now(), steps=2))
    return built


def _steps_of(config: Config, fold: Fold) -> int:
    """The number of steps of a training that counts epochs, without those of a retrained head."""
    per_epoch = max(len(fold.train_rows) // labelled_in(batch_of(config, fold), config, fold), 1)
    return max(1, round(config.epochs * per_epoch * (1 - config.retrain_head)))


def _part(report: Report, start: float, end: float) -> Report:
    """A report for a part of the training, whose progress runs from `start` to `end`."""
    return lambda facts: report({**facts, "progress": start + (end - start) * facts["progress"]})


def _target_scale(material: Material, fold: Fold) -> tuple[float, float]:
    """Mean and deviation that a regression's numbers are standardised by; (0, 1) for other kinds."""
    if material.kind != "regression":
        return 0.0, 1.0
    numbers = material.target[fold.train_rows]
    return float(numbers.mean()), float(numbers.std()) or 1.0


def _standardised(material: Material, fold: Fold, mean: float, std: float) -> tuple[Material, Fold]:
    """Material and fold with a regression's numbers standardised by mean and std; other kinds unchanged."""
    if material.kind != "regression":
        return material, fold
    taught = fold.taught and replace(fold.taught, target=(fold.taught.target - mean) / std)
    return replace(material, target=(material.target[:] - mean) / std), replace(fold, taught=taught)


def retrain_head(built: Built, material: Material, config: Config, fold: Fold, before: Pace) -> tuple[Built, int]:
    """The net with its head trained again on balanced classes, the rest frozen (cRT, Kang et al. 2020), and the steps.

    It takes its share of the time of the training before it; where that is too short for a step, the head is unchanged.
    """
    trained_head = {name: tensor.clone() for name, tensor in built.head.state_dict().items()}
    share = config.retrain_head / (1 - config.retrain_head)
    fold = replace(fold, report=_part(fold.report, 1 - config.retrain_head, 1), taught=None)
    pace = replace(before, start=before.now(), seconds=share * before.seconds, steps=math.ceil(share * before.steps))
    plain = {"class_weights": "", "ema": 0.0, "swa": 0.0, "unfreeze": 0.0, "sizes": (), "switch_to": ""}
    start_head(built.head, material, fold, config.loss, anew=True)
    config = config.vary(sampler="balanced", schedule="cosine", **plain)
    net, facts = train(built, material, config, fold, pace, only_head=True)
    if not facts["steps"]:
        built.head.load_state_dict(trained_head)
    return replace(built, net=net), facts["steps"]


def remember(
    built: Built, material: Material, config: Config, fold: Fold, until: float = math.inf, batch: int = 128
) -> None:
    """Gives a net's cosine head the features and classes of train pictures, among which it searches neighbours.

    They are a random sample of at most REMEMBERED pictures, and fewer where the time `until` comes first.
    """
    assert isinstance(built.head, Cosine)
    device, most = fold.device, min(len(fold.train_rows), REMEMBERED)
    rows = rng(config.seed, "remember", fold.number).choice(fold.train_rows, most, replace=False)
    features: list[Tensor] = []
    hook = built.head.register_forward_pre_hook(lambda head, inputs: features.append(inputs[0].float()))
    built.net.eval()
    with torch.inference_mode(), prediction_autocast(device):
        for start in range(0, len(rows), batch):
            if start and fold.now() >= until:
                rows = rows[:start]
                break
            pictures = pictures_of_rows(material.pixels, rows[start : start + batch], config.seen_size, built.grid)
            in_parts(built.net, to_input(pictures, built.mean, built.std, device, built.format.layout))
    hook.remove()
    built.head.remember(torch.cat(features), torch.from_numpy(take_rows(material.target, rows).argmax(1)))


def save_net(tensors: dict[str, Tensor], built: Built, target_mean: float, target_std: float, path: Path) -> None:
    """Writes a net's tensors, the statistics of its input and the scale of its target."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    extra = {SCALE: torch.tensor([target_mean, target_std]), INPUT: torch.tensor([built.mean, built.std])}
    with whole_file(path) as part:
        save_file({**tensors, **extra}, part)


def predict_fold(
    config: Config,
    tensors: dict[str, Tensor],
    material: Material,
    device: torch.device,
    exactly: bool = False,
    rows: np.ndarray | None = None,
    watch: Watch | None = None,
) -> np.ndarray:
    """Predictions `(R, width)` of a saved fold's net for R `rows` of the pictures, by default all, in target units.

    `exactly` as an exported file makes them: in float32 on a processor. Rows that a `watch` cuts off are NaN.
    """
    built, target_mean, target_std = saved_net(config, tensors, material.width, material.channels)
    built = replace(for_prediction(built, device, config.seen_size), exactly=exactly)
    place(built, device)
    rows = np.arange(len(material.pixels)) if rows is None else rows
    predictions = predict_rows(built, material, rows, device, config.seen_size, config.tta, watch)
    return predictions * target_std + target_mean


def saved_net(config: Config, tensors: dict[str, Tensor], width: int, channels: int) -> tuple[Built, float, float]:
    """The net that `save_net` wrote, and the mean and deviation of its target."""
    target_mean, target_std = tensors[SCALE].tolist()
    mean, std = tensors[INPUT].tolist()
    built = build_net(config.vary(weights=""), width, channels)
    built = replace(built, mean=tuple(mean), std=tuple(std))
    built.net.load_state_dict({name: tensor for name, tensor in tensors.items() if name not in (SCALE, INPUT)})
    return built, target_mean, target_std
