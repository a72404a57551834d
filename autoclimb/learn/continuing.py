"""A training that goes on from the net that a shorter training of the same fold has saved."""

from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from autoclimb.disk import read_json
from autoclimb.learn.backbones import Built
from autoclimb.learn.weights import INPUT, SCALE
from autoclimb.seeds import seed_of
from autoclimb.types import Config


@dataclass(frozen=True)
class Begun:
    """How long the net of a fold was trained before."""

    seconds: float = 0.0
    steps: int = 0
    epochs: float = 0.0

    @property
    def facts(self) -> dict[str, float]:
        """What is put on record beside the facts of the rest."""
        return {"train_s_before": self.seconds, "steps_before": self.steps, "epochs_before": self.epochs}


def rest_of(config: Config) -> Config:
    """The config with the schedule for the rest of a training.

    A trained net is warmed up again, but shortly: 5 % of its steps instead of the 25 % of one cycle, which comes near
    to what one long cycle would do from here (SGDR, arXiv 1608.03983). The order of pictures is another one.
    """
    schedule = "cosine" if config.schedule == "onecycle" else config.schedule
    seed = seed_of(config.seed, "rest of the training") % 2**31
    return config.vary(schedule=schedule, unfreeze=0.0, seed=seed)


def begun_before(config: Config, nets: Path, fold: int) -> Begun | None:
    """How long the fold was trained in what the config continues; None where no net of that is beside `nets`."""
    place = nets.parent / config.continues
    record = place / f"fold{fold}.json"
    if not config.continues or not record.exists() or not (place / f"fold{fold}.safetensors").exists():
        return None
    facts = read_json(record)
    names = ("train_s", "steps", "epochs")
    return Begun(*(facts.get(name, 0) + facts.get(f"{name}_before", 0) for name in names))


def gone_on(built: Built, config: Config, nets: Path, fold: int) -> tuple[Built, Begun | None]:
    """The net as the training that the config continues left it, and how long that was.

    The fresh net and None where there is no net to go on from; if there was one, with a note.
    """
    begun, place = begun_before(config, nets, fold), nets.parent / config.continues
    if begun is None:
        lost = config.continues and (not place.is_dir() or (place / f"fold{fold}.json").exists())
        return (noted(built, "its net is gone") if lost else built), None
    try:
        tensors = load_file(place / f"fold{fold}.safetensors")
    except (OSError, SafetensorError):
        return noted(built, "its net cannot be read"), None
    tensors = {name: tensor for name, tensor in tensors.items() if name not in (SCALE, INPUT)}
    own = built.net.state_dict()
    if {name: tensor.shape for name, tensor in tensors.items()} != {name: tensor.shape for name, tensor in own.items()}:
        return noted(built, "its net is another one"), None
    built.net.load_state_dict(tensors)
    return built, begun


def noted(built: Built, why: str) -> Built:
    """The net with a note of why its training begins anew."""
    note = f"trained from its beginning, not on from a shorter training: {why}"
    return replace(built, note="; ".join(filter(None, (built.note, note))))
