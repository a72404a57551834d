"""Weights from disk: hub-form folders, single files, earlier runs; what fits of them goes into a net, and is said."""

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

from autoclimb.errors import Mistake
from autoclimb.learn.faults import Unbuildable
from autoclimb.types import Config

SCALE, INPUT = "autoclimb.scale", "autoclimb.input"  # tensors beside a net's own, in the files of a run
CHECKPOINTS = (".pth", ".pt", ".bin", ".tar")  # what torch.save wrote; ".pth.tar" is usual
WRAPPERS = ("model_ema", "state_dict_ema", "state_dict", "model", "module", "net")  # averaged weights first, as timm
FORMS = "a folder of timm hub-form folders, a .safetensors, .pth, .pt or .bin file, or an earlier run's folder"
# what torch raises at a file that is none or holds more than tensors; its error for the latter has no other name
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
        raise Mistake(f"--weights {path}: there is nothing; give {FORMS}")
    if here.is_file():
        return [_single_file(here)]
    if (here / "run.json").is_file() or (here / "trial.json").is_file():
        found = _nets_of_run(here)
        if not found:
            raise Mistake(f"--weights {path}: that run kept no net; only those of its blend are kept to the end")
        return sorted(found, key=lambda row: row["parameters"])
    found = [_hub_form(folder) for folder in [here, *sorted(p for p in here.iterdir() if p.is_dir())]]
    found = [row for row in found if row]
    if not found:
        raise Mistake(f"--weights {path}: no folder with config.json (of a timm net) and model.safetensors in it")
    return sorted(found, key=lambda row: row["parameters"])


def _row(backbone: str, weights: Path, file: Path, model_args: dict[str, Any]) -> dict[str, Any]:
    parameters = file.stat().st_size // 4
    return {"backbone": backbone, "weights": str(weights), "model_args": model_args, "parameters": parameters}


def _hub_form(folder: Path) -> dict[str, Any]:
    """The net of a hub-form folder, {} where it is none."""
    config, file = folder / "config.json", folder / "model.safetensors"
    if not (config.is_file() and file.is_file()):
        return {}
    told = json.loads(config.read_text())
    name = told.get("architecture", "")
    return _row(name, folder, file, told.get("model_args", {})) if timm.is_model(name) else {}


def _nets_of_run(folder: Path) -> list[dict[str, Any]]:
    """The first fold's net of the best trial of each backbone, of a run or of one trial, where it is still there."""
    places = (
        [folder / "trial.json"] if (folder / "trial.json").is_file() else sorted(folder.glob("trials/*/trial.json"))
    )
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    for place in places:
        told = json.loads(place.read_text())
        config = Config.from_json(told["config"])
        kept = sorted((place.parents[2] / "nets" / config.vary(folds=()).key).glob("fold*.safetensors"))
        if config.train != "net" or told["status"] != "done" or not kept:
            continue
        row = _row(config.backbone, kept[0], kept[0], dict(config.model_args))
        if config.backbone not in best or told["score"] > best[config.backbone][0]:
            best[config.backbone] = told["score"], row
    return [row for _, row in best.values()]


def _single_file(file: Path) -> dict[str, Any]:
    if file.suffix not in (".safetensors", *CHECKPOINTS):
        raise Mistake(f"--weights {file.name}: weights are read from {FORMS}")
    beside = file.parent / "config.json"
    name = json.loads(beside.read_text()).get("architecture", "") if beside.is_file() else ""
    if file.suffix in CHECKPOINTS:
        told = loaded(file)  # also: a file that cannot be used is said before anything is trained
        arch = told.get("arch", "") if isinstance(told, Mapping) else ""
        name = arch if isinstance(arch, str) and timm.is_model(arch) else name
        if not tensors_in(told):
            raise Mistake(f"--weights {file.name}: there are no named tensors in it; save a net's state_dict")
    if not timm.is_model(name):
        stem = file.name.split(".")[0].replace("-", "_")
        name = max((m for m in timm.list_models() if stem.startswith(m)), key=len, default="")
    if not name:
        raise Mistake(f"--weights {file.name}: begin the file's name with timm's, like resnet18{file.suffix}")
    return _row(name, file, file, {})


# --- reading ---------------------------------------------------------------------------------------------------------


def loaded(file: Path) -> Any:
    """What torch.save wrote, tensors and plain values only: a file that needs more could run code when loaded."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # the options in timm's own checkpoints
            return torch.load(file, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        more = re.search(r"GLOBAL (\S+)", str(error))
        why = f"it holds {more[1]}" if more else str(error).strip().partition("\n")[0][:100]
        raise Mistake(
            f"--weights {file.name} cannot be read as tensors alone, and more is not loaded, for it could run code "
            f"({why}); save the net's state_dict, best as .safetensors"
        ) from error


def tensors_in(told: Any) -> dict[str, Tensor]:
    """The named tensors of a checkpoint, found in its wrappers; {} where there are none."""
    while isinstance(told, Mapping):
        found = {name: value for name, value in told.items() if isinstance(value, Tensor)}
        inner = next((told[name] for name in WRAPPERS if isinstance(told.get(name), Mapping)), None)
        if inner is None or len(found) > len(inner):
            return found
        told = inner
    return {}


def tensors_of(file: Path) -> dict[str, Tensor]:
    """The named tensors of a file of weights."""
    if file.suffix != ".safetensors":
        return tensors_in(loaded(file))
    try:
        return load_file(file)
    except SafetensorError as error:
        raise Unbuildable(f"{file.name}: {error}") from error


def without_prefix(found: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """The tensors by the names that a net gives them: without what most of them have before it, like `module.`."""
    before: Counter[str] = Counter()
    for name in found:
        parts = name.split(".")
        before.update(
            name.removesuffix(rest) for rest in (".".join(parts[i:]) for i in range(len(parts))) if rest in wanted
        )
    prefix = before.most_common(1)[0][0] if before else ""
    return {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}


def put_in(net: nn.Module, tensors: dict[str, Tensor], source: str) -> str:
    """Puts the tensors that fit into the net; the sentence says how many did and which had another shape.

    Raises Unbuildable where they are less than half of the net.
    """
    wanted = net.state_dict()
    found = without_prefix({k: v for k, v in tensors.items() if k not in (SCALE, INPUT)}, set(wanted))
    for key, value in found.items():
        fits = key in wanted and value.ndim == 4 and wanted[key].shape[2:] == value.shape[2:] and value.shape[1] == 3
        if fits and wanted[key].shape[1] != 3:
            found[key] = adapt_input_conv(wanted[key].shape[1], value)
    fitting = {key: value for key, value in found.items() if key in wanted and wanted[key].shape == value.shape}
    share = sum(v.numel() for v in fitting.values()) / max(sum(v.numel() for v in wanted.values()), 1)
    if share < 0.5:
        raise Unbuildable(f"{source} holds {share:.0%} of this net's weights; it is another architecture's")
    net.load_state_dict(fitting, strict=False)
    words = [f"{len(fitting)} of {len(wanted)} tensors from {source}"]
    others = {key.rpartition(".")[0]: key for key in reversed(found) if key in wanted and key not in fitting}
    for module, key in [*reversed(others.items())][:3]:
        there, here = (" x ".join(map(str, shape)) or "1" for shape in (found[key].shape, wanted[key].shape))
        words.append(f"{module} left out: {there} instead of {here}")
    if len(others) > 3:
        words.append(f"{len(others) - 3} more left out")
    return "; ".join(words)
