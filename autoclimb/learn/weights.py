"""Weights from disk: hub-form folders, single files, earlier runs. What fits goes into the net, and a note says so."""

import argparse
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

from autoclimb.config import Config
from autoclimb.errors import Mistake, first_line
from autoclimb.learn.faults import Unbuildable

SCALE, INPUT = "autoclimb.scale", "autoclimb.input"  # tensors beside a net's own, in the files of a run
CHECKPOINTS = (".pth", ".pt", ".bin", ".tar")  # written by torch.save; ".pth.tar" is usual
WRAPPERS = ("model_ema", "state_dict_ema", "state_dict", "model", "module", "net")  # averaged weights first, as timm
FORMS = "a folder of timm hub-form folders, a .safetensors, .pth, .pt or .bin file, or an earlier run's folder"
# what torch raises where a file is damaged or holds more than tensors; its error for the latter has no other name
UNREADABLE = (RuntimeError, ValueError, LookupError, EOFError, OSError, torch.serialization.pickle.UnpicklingError)


# --- finding ---------------------------------------------------------------------------------------------------------


def find_weights(path: str) -> list[dict[str, Any]]:
    """The pretrained nets under a path: `{"backbone", "weights", "model_args", "parameters"}` each, smallest first.

    The path is a folder of hub-form folders (`config.json` + `model.safetensors`), one such folder, one file of weights
    whose name, contents or neighbour `config.json` tell timm's architecture, an earlier run's folder, which gives the
    best net of each backbone, or one of its trials' folders. Raises Mistake if there is none.
    """
    here = Path(path).expanduser().resolve()
    if not here.exists():
        raise Mistake(f"--weights {path}: no such file or folder; give {FORMS}")
    if here.is_file():
        return [_single_file(here)]
    if (here / "run.json").is_file() or (here / "trial.json").is_file():
        rows = _nets_of_run(here)
        if not rows:
            raise Mistake(f"--weights {path}: that run kept no net; only those of its blend are kept to the end")
        return sorted(rows, key=lambda row: row["parameters"])
    rows = [_hub_form(folder) for folder in [here, *sorted(p for p in here.iterdir() if p.is_dir())]]
    rows = [row for row in rows if row]
    if not rows:
        raise Mistake(f"--weights {path}: no folder with config.json (of a timm net) and model.safetensors in it")
    return sorted(rows, key=lambda row: row["parameters"])


def _row(backbone: str, weights: Path, file: Path, model_args: dict[str, Any]) -> dict[str, Any]:
    parameters = file.stat().st_size // 4
    return {"backbone": backbone, "weights": str(weights), "model_args": model_args, "parameters": parameters}


def _hub_form(folder: Path) -> dict[str, Any]:
    """The net of a hub-form folder, {} for any other folder."""
    config, file = folder / "config.json", folder / "model.safetensors"
    if not (config.is_file() and file.is_file()):
        return {}
    described = json.loads(config.read_text())
    name = described.get("architecture", "")
    return _row(name, folder, file, described.get("model_args", {})) if timm.is_model(name) else {}


def _nets_of_run(folder: Path) -> list[dict[str, Any]]:
    """The first fold's net of the best trial of each backbone, of a run or of one trial, where it is still there."""
    places = (
        [folder / "trial.json"] if (folder / "trial.json").is_file() else sorted(folder.glob("trials/*/trial.json"))
    )
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    for place in places:
        trial = json.loads(place.read_text())
        config = Config.from_json(trial["config"])
        nets = sorted((place.parents[2] / "nets" / config.nets_key).glob("fold*.safetensors"))
        if config.train != "net" or trial["status"] != "done" or not nets:
            continue
        row = _row(config.backbone, nets[0], nets[0], dict(config.model_args))
        if config.backbone not in best or trial["score"] > best[config.backbone][0]:
            best[config.backbone] = trial["score"], row
    return [row for _, row in best.values()]


def _single_file(file: Path) -> dict[str, Any]:
    if file.suffix not in (".safetensors", *CHECKPOINTS):
        raise Mistake(f"--weights {file.name}: weights are read from {FORMS}")
    beside = file.parent / "config.json"
    name = json.loads(beside.read_text()).get("architecture", "") if beside.is_file() else ""
    if file.suffix in CHECKPOINTS:
        checkpoint = load_checkpoint(file)  # also so that a useless file is refused before anything is trained
        arch = checkpoint.get("arch", "") if isinstance(checkpoint, Mapping) else ""
        name = arch if isinstance(arch, str) and timm.is_model(arch) else name
        if not tensors_in(checkpoint):
            raise Mistake(f"--weights {file.name}: it holds no named tensors; save a net's state_dict")
    if not timm.is_model(name):
        stem = file.name.split(".")[0].replace("-", "_")
        name = max((m for m in timm.list_models() if stem.startswith(m)), key=len, default="")
    if not name:
        raise Mistake(f"--weights {file.name}: begin the file's name with timm's, like resnet18{file.suffix}")
    return _row(name, file, file, {})


# --- reading ---------------------------------------------------------------------------------------------------------


def load_checkpoint(file: Path) -> Any:
    """The contents of a torch.save file, tensors and plain values only: one that needs more could run code."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # the options in timm's own checkpoints
            return torch.load(file, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        why = f"it holds {foreign[1]}" if foreign else first_line(error, 100)
        raise Mistake(
            f"--weights {file.name} cannot be read as tensors alone ({why}), and loading anything else could run code; "
            f"save the net's state_dict, best as .safetensors"
        ) from error


def tensors_in(checkpoint: Any) -> dict[str, Tensor]:
    """The named tensors of a checkpoint, looked for in its WRAPPERS; {} where there are none."""
    while isinstance(checkpoint, Mapping):
        tensors = {name: value for name, value in checkpoint.items() if isinstance(value, Tensor)}
        inner = next((checkpoint[name] for name in WRAPPERS if isinstance(checkpoint.get(name), Mapping)), None)
        if inner is None or len(tensors) > len(inner):
            return tensors
        checkpoint = inner
    return {}


def tensors_of(file: Path) -> dict[str, Tensor]:
    """The named tensors of a file of weights; raises Unbuildable where it was damaged since `find_weights` read it."""
    try:
        return load_file(file) if file.suffix == ".safetensors" else tensors_in(load_checkpoint(file))
    except (SafetensorError, Mistake) as error:
        raise Unbuildable(f"{file.name}: {error}") from error


def without_prefix(tensors: dict[str, Tensor], net_names: set[str]) -> dict[str, Tensor]:
    """The tensors by the net's own names: without the prefix that most of them have, like `module.`."""
    prefixes: Counter[str] = Counter()
    for name in tensors:
        parts = name.split(".")
        tails = (".".join(parts[i:]) for i in range(len(parts)))
        prefixes.update(name.removesuffix(tail) for tail in tails if tail in net_names)
    prefix = prefixes.most_common(1)[0][0] if prefixes else ""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def load_fitting(net: nn.Module, tensors: dict[str, Tensor], source: str) -> str:
    """Loads the tensors that fit into the net; the note says how many did and which had another shape.

    Raises Unbuildable where they are less than half of the net.
    """
    own = net.state_dict()
    given = without_prefix({k: v for k, v in tensors.items() if k not in (SCALE, INPUT)}, set(own))
    for key, value in given.items():
        first = key in own and value.ndim == 4 and own[key].shape[2:] == value.shape[2:] and value.shape[1] == 3
        if first and own[key].shape[1] != 3:  # a first convolution for other channels
            given[key] = adapt_input_conv(own[key].shape[1], value)
    fitting = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    share = sum(v.numel() for v in fitting.values()) / max(sum(v.numel() for v in own.values()), 1)
    if share < 0.5:
        raise Unbuildable(f"{source} holds {share:.0%} of this net's weights; it is another architecture's")
    net.load_state_dict(fitting, strict=False)
    words = [f"{len(fitting)} of {len(own)} tensors from {source}"]
    others = {key.rpartition(".")[0]: key for key in reversed(given) if key in own and key not in fitting}
    for module, key in [*reversed(others.items())][:3]:
        theirs, ours = (" x ".join(map(str, shape)) or "1" for shape in (given[key].shape, own[key].shape))
        words.append(f"{module} left out: {theirs} instead of {ours}")
    if len(others) > 3:
        words.append(f"{len(others) - 3} more left out")
    return "; ".join(words)
