"""Checkpoints that a training may go on from: takes the Trainer's folder, gives the last one that is whole.

A kill or a full disk leaves a checkpoint torn, and the Trainer takes whatever has a name. It writes
trainer_state.json after all else that this process writes, but other processes of torchrun write their own files
when they come to it, so every file is looked at.
"""

import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

_WEIGHTS = ("model*.safetensors", "adapter_model.safetensors", "pytorch_model_fsdp*")
_NEEDED = (_WEIGHTS, ("optimizer.pt", "optimizer.bin", "optimizer_*"), ("scheduler.pt",), ("rng_state*.pth",))


def last_whole(folder: Path) -> Path | None:
    """The whole checkpoint of the latest step, with the one that it names the best still there; None without any.

    Those that are later, or torn, are removed: the Trainer would count them when it lets go of old ones, and take one
    of them for the newest. Nothing in them is unpickled here, nor later: torch reads them by `weights_only=True`.
    """
    whole: dict[int, Path] = {}
    best: dict[int, int | None] = {}
    for path in folder.glob("checkpoint-*"):
        if (steps := _steps(path)) is None:
            shutil.rmtree(path, ignore_errors=True)
        else:
            whole[steps[0]], best[steps[0]] = path, steps[1]
    for step in sorted(whole, reverse=True):
        if best[step] is None or best[step] in whole:
            return whole[step]
        shutil.rmtree(whole[step], ignore_errors=True)
    return None


def _steps(path: Path) -> tuple[int, int | None] | None:
    """A whole checkpoint's step and the best one's; None for one that is torn."""
    try:
        state = json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        best = state["best_global_step"]
        steps = int(state["global_step"]), None if best is None else int(best)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return steps if all(_there(path, names) for names in _NEEDED) and _named(path) else None


def _there(path: Path, names: Sequence[str]) -> bool:
    """Whether there are files of these names, and all of them are whole."""
    found = [one for name in names for one in path.glob(name) if one.suffix != ".json"]
    return bool(found) and all(_readable(one) for one in found)


def _named(path: Path) -> bool:
    """Whether every part that an index of the weights names is there."""
    index = path / "model.safetensors.index.json"
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values() if index.exists() else ()
    except (OSError, ValueError, KeyError):
        return False
    return all((path / name).exists() for name in names)


def _readable(path: Path) -> bool:
    """Whether a file ends where it says that it does; a folder of shards has a list of them that is written last."""
    if path.is_dir():
        return (path / ".metadata").exists()
    if path.suffix != ".safetensors":
        return zipfile.is_zipfile(path)  # as torch.save writes it, with its directory at the end
    try:
        with safe_open(path, framework="np"):
            return True
    except (SafetensorError, OSError):
        return False
