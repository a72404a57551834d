"""fastai as one who knows it runs it: rate finder, one cycle, mixup, progressive resizing, views in prediction.

fastai has no budget, so this times batches, plans epochs with what it saw, and stops a training that runs late.
"""

import time

BEGAN = time.monotonic()  # imports are part of the budget

# ruff: noqa: E402
import os

import folder
import numpy as np
import speed
import torch
from fastai.callback.mixup import MixUp
from fastai.vision.all import (
    BCEWithLogitsLossFlat,
    Callback,
    CancelFitException,
    CategoryBlock,
    ColReader,
    CrossEntropyLossFlat,
    DataBlock,
    DataLoaders,
    ImageBlock,
    L1LossFlat,
    Learner,
    MSELossFlat,
    MultiCategoryBlock,
    Normalize,
    RandomSplitter,
    RegressionBlock,
    Resize,
    ResizeMethod,
    aug_transforms,
    set_seed,
    valley,
    vision_learner,
)
from safetensors.torch import load_file

ARCHITECTURE = {"none": "resnet18", "lite0": "tf_efficientnet_lite0"}
STATS = {"none": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "lite0": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))}
BATCH, HELD_OUT, VIEWS = 64, 0.1, 4
FIRST_PART = 0.4  # of the time at the smaller size
FINDING = 0.12  # of the time, at the most, for the rate finder; below so many steps a usual rate is taken
FEWEST_STEPS, USUAL_RATE = 15, 3e-3
MISJUDGED = 0.9  # of the time that is planned with: loading takes its share when trainings do not wait for it


class StopAt(Callback):
    """Ends the training when the time is over; its schedule is then cut off."""

    def __init__(self, until: float) -> None:
        self.until = until

    def after_batch(self) -> None:
        """Looks at the clock."""
        if self.training and time.monotonic() > self.until:
            print("stopped in the middle of the schedule", flush=True)
            raise CancelFitException


def main() -> None:
    """Read, plan, train at two sizes, predict with several views."""
    options = folder.arguments()
    set_seed(options.seed)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    seen = folder.read(options.data, options.metric)
    tuned = options.weights != "none"
    until = BEGAN + options.budget - 3.0  # for the csv and the end of the process
    rate = speed.pictures_a_second(ARCHITECTURE[options.weights])
    size = folder.size_for(seen, rate, 64, 0.8 * (until - time.monotonic()), tuned)
    first = max(48, int(0.66 * size) // 16 * 16)
    test_seconds = VIEWS * len(seen.test) / (3 * rate * (64 / size) ** 2)
    until -= min(1.5 * test_seconds + 3, 0.3 * options.budget)
    print(f"{rate:.0f} pictures a second at 64 px; sizes {first}, {size}; {until - time.monotonic():.0f} s", flush=True)
    learn = learner(seen, loaders(seen, first, options), options)
    with learn.no_bar(), learn.no_logging():
        steps = int(FINDING * (until - time.monotonic()) * rate * (64 / first) ** 2 / learn.dls.bs)
        lr = found_rate(learn, min(steps, 60)) if steps >= FEWEST_STEPS else USUAL_RATE
        print(f"rate {lr:.1e}", flush=True)
        began, budget = time.monotonic(), until - time.monotonic()
        for i, side in enumerate((first, size)):
            if i:
                learn.dls = loaders(seen, side, options)
            ends = began + FIRST_PART * budget if not i else until
            fit(learn, lr, ends, tuned, mixing=not tuned and seen.kind != "numbers", head_first=tuned and not i)
        predict(learn, seen, options)
    print(f"{time.monotonic() - BEGAN:.0f} of {options.budget:.0f} s", flush=True)


def loaders(seen: folder.Competition, size: int, options: "folder.argparse.Namespace") -> DataLoaders:
    """Batches of the size, with fastai's usual variation."""
    block = {"classes": CategoryBlock(), "sets": MultiCategoryBlock(), "numbers": RegressionBlock()}[seen.kind]
    split = ColReader("target", label_delim=" ") if seen.kind == "sets" else ColReader("target")
    return DataBlock(
        blocks=(ImageBlock, block),
        get_x=ColReader("file"),
        get_y=split,
        splitter=RandomSplitter(HELD_OUT, seed=options.seed),
        item_tfms=Resize(int(1.15 * size), ResizeMethod.Squish),
        batch_tfms=[
            *aug_transforms(size=size, max_warp=0.1, min_scale=0.8),
            Normalize.from_stats(*STATS[options.weights]),
        ],
    ).dataloaders(seen.train, bs=min(BATCH, max(8, len(seen.train) // 8)), num_workers=2)


def learner(seen: folder.Competition, dls: DataLoaders, options: "folder.argparse.Namespace") -> Learner:
    """The learner, its body loaded with the weights where they are asked for."""
    loss = {
        "classes": CrossEntropyLossFlat(),
        "sets": BCEWithLogitsLossFlat(),
        "numbers": L1LossFlat() if seen.metric == "mae" else MSELossFlat(),
    }[seen.kind]
    n_out = 1 if seen.kind == "numbers" else len(dls.vocab)
    # the rate finder saves the net where the learner lives
    where = {"path": options.out.resolve().parent, "model_dir": "models"}
    learn = vision_learner(dls, ARCHITECTURE[options.weights], pretrained=False, n_out=n_out, loss_func=loss, **where)
    if options.weights == "lite0":
        tensors = load_file(options.place / "tf_efficientnet_lite0" / "model.safetensors")
        body = learn.model[0].model
        missing = body.load_state_dict(
            {k: v for k, v in tensors.items() if not k.startswith("classifier")}, strict=False
        )
        assert not missing.missing_keys, f"weights do not fit: {missing.missing_keys[:3]}"
    learn.unfreeze()
    return learn


def found_rate(learn: Learner, steps: int) -> float:
    """The rate that fastai's finder proposes."""
    suggestions = learn.lr_find(num_it=steps, show_plot=False, suggest_funcs=(valley,))
    return float(np.clip(suggestions.valley, 5e-4, 1e-2))


def fit(learn: Learner, lr: float, until: float, tuned: bool, mixing: bool, head_first: bool) -> None:
    """One cycle of as many epochs as fit, after one epoch of the head alone where the body is fine-tuned."""
    stop = StopAt(until)
    if head_first:
        learn.freeze()
        learn.fit_one_cycle(1, lr, cbs=[stop])
        learn.unfreeze()
    epoch = epoch_seconds(learn)
    epochs = max(1, int(MISJUDGED * (until - time.monotonic()) / epoch))
    rates = slice(lr / 10, lr) if tuned else lr
    learn.fit_one_cycle(epochs, rates, wd=0.05, cbs=[stop, MixUp(0.2)] if mixing else [stop])
    print(f"{epochs} epochs planned at {epoch:.1f} s each, {until - time.monotonic():+.0f} s left", flush=True)


def epoch_seconds(learn: Learner) -> float:
    """Seconds of an epoch, the held-out part included, from some batches as they are loaded and learned."""
    net, seconds = learn.model.train(), []
    batches = iter(learn.dls.train)
    for _ in range(min(speed.WARM + speed.TIMED, len(learn.dls.train))):
        start = time.monotonic()
        x, y = next(batches)
        learn.loss_func(net(x), y).backward()
        net.zero_grad(set_to_none=True)
        seconds.append(time.monotonic() - start)
    each = float(np.mean(seconds[speed.WARM :] or seconds))
    return each * (len(learn.dls.train) + 0.4 * len(learn.dls.valid))


def predict(learn: Learner, seen: folder.Competition, options: "folder.argparse.Namespace") -> None:
    """The submission, by several views; labels by the threshold that is best on the held-out rows."""
    threshold = 0.5
    if seen.kind == "sets":
        p, truth = (part.numpy() for part in learn.get_preds())
        threshold = folder.best_threshold(truth, p, 2.0 if seen.metric == "f2" else 1.0)
    p = learn.tta(dl=learn.dls.test_dl(seen.test), n=VIEWS, beta=0.25)[0].numpy()
    folder.write(seen, options.out, p, () if seen.kind == "numbers" else list(learn.dls.vocab), threshold)


if __name__ == "__main__":
    main()
