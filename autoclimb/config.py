"""Config: everything that decides a trial, its name on disk and its form in json."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal

from autoclimb.disk import with_tuples


@dataclass(frozen=True)
class Config:
    """Everything that decides a trial. Two equal configs are the same trial.

    `train` is "net" (gradient descent on `backbone`) or "features" (`backbone` frozen or hand-made, a linear head).
    Either `seconds` (wall time a fold may take, prediction included; its schedule is fitted to it) or `epochs` is set.
    """

    train: Literal["net", "features"] = "net"
    backbone: str = "resnet18"  # a timm name, or one of learn.handmade.FEATURES
    weights: str = ""  # "" from scratch, "hub", "box" (learn.boxed), or a path: hub-form folder or file of weights
    model_args: tuple[tuple[str, Any], ...] = ()  # passed to timm.create_model
    fine_stem: bool = False  # first convolution at stride 1 and no max-pool: for pictures of 32 px or so
    whitened: bool = False  # first filters of a net from scratch begin as the train pictures' whitened patches
    frozen_norms: bool = False  # batch norms of a pretrained net keep the statistics that came with it
    pool: str = ""  # how features of places become those of the picture: a row of learn.heads.POOLS, "" for the net's
    head: str = "kernel"  # of "features": one of learn.closed_form.HEADS
    layers: int = 1  # of "features": 1 for the net's pooled output, k to add the outputs of its last k - 1 stages
    top: int = 0  # stages below the head that train, on stored features of the frozen ones below them; 0 trains all
    variants: int = 2  # of each train picture whose features `top` stores: the views of `tta`, then draws of `policy`
    size: int = 64  # pixels a side in the last part of training, and in prediction where `test_size` is 0
    sizes: tuple[int, ...] = ()  # progressive resizing: sizes of equal parts of training before `size`
    scales: tuple[float, ...] = ()  # multi-scale training: (low, high) factors on the size, drawn for each batch
    test_size: int = 0  # pixels a side in prediction, 0 for `size` (FixRes)
    grid: int = 0  # side of the grid that an item's pictures lie in, each seen by itself and pooled; 0: as one picture
    preprocess: str = "squash"  # steps of data.steps.PREPROCESS joined by "+": "box:0.4,0,1,1+squash+clahe"
    policy: str = "flip"  # rows of policies.POLICIES joined by "+", or one of the user's own
    mixup: float = 0.0  # alpha of the beta distribution, 0 is off
    cutmix: float = 0.0
    light_end: float = 0.0  # last share of the training that mixes nothing and varies by shifts and the policy's flips
    loss: str = "default"  # a row of learn.losses.LOSSES; "default" is the kind's own
    neighbours: int = 0  # of ArcFace: nearest train pictures that answer beside the classes' centres, 0 is off
    smoothing: float = 0.0
    class_weights: str = ""  # a row of learn.samplers.CLASS_WEIGHTS, "" for none
    sampler: str = ""  # a row of learn.samplers.SAMPLERS, "" for each row once an epoch
    retrain_head: float = 0.0  # last share of the training, in which only the head learns, anew, from balanced classes
    optimizer: str = "adamw"  # a row of learn.optim.OPTIMIZERS
    switch_to: str = ""  # optimiser to change to when the training loss stagnates, "" for never
    schedule: str = "onecycle"  # a row of learn.optim.SCHEDULES
    lr: float = 2e-3  # of the head; peak of the schedule, for `batch` pictures a step; 0 finds one by a sweep
    backbone_lr: float = 1.0  # factor on lr for everything below the head
    layer_decay: float = 1.0  # factor on lr from each layer to the one below it, on top of backbone_lr
    unfreeze: float = 0.0  # share of the training in which the net thaws stage by stage, the head first
    weight_decay: float = 0.05
    batch: int = 64
    dropout: float = 0.0
    drop_path: float = 0.0
    ema: float = 0.0  # decay of averaged weights at the end of training, 0 is off
    swa: float = 0.0  # last share of the training, at a constant rate, whose weights are averaged in place of `ema`
    clip: float = 1.0  # gradient norm, 0 is off
    teachers: tuple[str, ...] = ()  # `nets_key`s of the run: the mean prediction of their nets of the same fold for
    # held-out and test pictures is learned beside the labels of the train pictures
    taught: float = 0.5  # largest share of a step's pictures whose target is the teachers' prediction
    tta: str = "none"  # a row of learn.views.VIEWS, or "auto": chosen on held-out pictures
    predict_test: bool = True  # a net that is only compared with others predicts its held-out rows alone
    seconds: float = 0.0
    epochs: float = 0.0
    folds: tuple[int, ...] = (0,)  # folds trained and predicted
    seed: int = 0

    def vary(self, **changes: Any) -> "Config":
        """The same config with some values changed."""
        # without the keys, which are beside the fields once they are known
        values = {name: value for name, value in vars(self).items() if name in self.__dataclass_fields__}
        values.update(changes)
        if unknown := values.keys() - self.__dataclass_fields__.keys():
            raise TypeError(f"a Config has no {', '.join(sorted(unknown))}")
        varied = object.__new__(type(self))  # `replace` sets fifty fields one by one: 17 us, a third of a plan's time
        vars(varied).update(values)
        return varied

    @property
    def seen_size(self) -> int:
        """Pixels a side in prediction."""
        return self.test_size or self.size

    @property
    def cached_size(self) -> int:
        """Pixels a side that pictures are decoded at: the most that training or prediction uses."""
        return max(self.size, self.test_size, *(round(self.size * scale) for scale in self.scales))

    @cached_property
    def key(self) -> str:
        """The config's name on disk: 16 hex digits of its contents."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @cached_property
    def nets_key(self) -> str:
        """The name of the config's nets on disk, which trials over other folds share, whatever they predict."""
        return self.vary(folds=(), predict_test=True).key

    def taught_share(self, labelled: int, others: int) -> float:
        """The share of a step's pictures that the teachers label, in a fold of `labelled` train pictures and `others`.

        It is at most the share of `others`, so that none of them is seen more often than a train picture.
        """
        return min(self.taught, others / max(labelled + others, 1)) if self.teachers else 0.0

    def to_json(self) -> dict[str, Any]:
        """A dict for json, which `from_json` turns back into an equal config."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Config":
        """The config that `to_json` wrote; names that are no fields are passed over."""
        known = {f.name for f in fields(cls)}
        return cls(**with_tuples({name: value for name, value in values.items() if name in known}))
