"""A warm start: a run that begins with trained weights, as fine-tuning does.

    [training]
    initial = "baseline.safetensors"

The weights go into the network that the task builds, by name and shape, all of them or not at all. What decides the
outcome is the file's content, not its place: a checkpoint of the run knows its SHA-256.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from techniques.errors import ModelMismatch, TaskError, TechniqueOptionError
from techniques.technique import Run

__all__ = ["begin_with", "check_warm", "weights_sha256"]


def begin_with(model: nn.Module, path: Path) -> None:
    """Put the weights of a safetensors file into the network, buffers too; its dtypes and device stay.

    Raises:
        TaskError: the file is missing or none of safetensors.
        ModelMismatch: names or shapes that differ, or a value that is not finite; the first ones are named.
    """
    weights = _read(path)
    own = model.state_dict()
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or extra:
        raise ModelMismatch(
            f"its weights are of another network: it lacks {_first(missing)} and has {_first(extra)} besides",
            where=f"[training] initial, {path}",
            remedy="begin with weights of the task's own network",
        )
    other = [k for k in own if own[k].shape != weights[k].shape]
    if other:
        key = other[0]
        raise ModelMismatch(
            f"{key!r} is {list(weights[key].shape)} there and {list(own[key].shape)} in the network"
            + (f", and so with {len(other) - 1} more" if len(other) > 1 else ""),
            where=f"[training] initial, {path}",
            remedy="begin with weights of the task's own network",
        )
    broken = [k for k, v in weights.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if broken:
        raise ModelMismatch(
            f"{broken[0]!r} has values that are not finite",
            where=f"[training] initial, {path}",
            remedy="begin with weights of a run that ended well",
        )
    model.load_state_dict(weights)


def weights_sha256(path: Path) -> str:
    """Of the file's content.

    Raises:
        TaskError: there is no such file.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error


def check_warm(loop: Run, name: str, option: str) -> None:
    """Nothing if the run began with trained weights.

    Raises:
        TechniqueOptionError: it did not, and the option's value 0 stands for them.
    """
    if not loop.settings.initial:
        raise TechniqueOptionError(
            "0 means the weights that the run begins with, and those are random",
            where=f"[technique.{name}] {option}",
            remedy='give [training] initial = "WEIGHTS.safetensors", or a share of the budget above 0',
        )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except SafetensorError as error:
        raise _unreadable(path, f"not a safetensors file: {error}") from error


def _unreadable(path: Path, why: str) -> TaskError:
    return TaskError(
        f"cannot read the first weights: {why}",
        where=f"[training] initial, {path}",
        remedy="give a safetensors file of weights, relative to the task file",
    )


def _first(keys: list[str]) -> str:
    if not keys:
        return "none"
    return ", ".join(map(repr, keys[:2])) + (f" (and {len(keys) - 2} more)" if len(keys) > 2 else "")
