"""Weights in safetensors files: into a network by name and shape, all of them, or one error that says what differs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from techniques.errors import ModelMismatch, TaskError
from trueline._outside import outside
from trueline._reading import read_file, regular

__all__ = ["begin_with", "file_sha256"]


def begin_with(model: nn.Module, path: Path, where: str = "[training] initial") -> None:
    """Put the weights of a safetensors file into the network, buffers too; its dtypes and device stay.

    Args:
        where: the option that named the file, for messages.

    Raises:
        TaskError: the file is missing or none of safetensors.
        ModelMismatch: names or shapes that differ, or a value that is not finite; the first ones are named.
    """
    weights = _read(path, where)
    own = model.state_dict()
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or extra:
        raise ModelMismatch(
            f"its weights are of another network: it lacks {_first(missing)} and has {_first(extra)} besides",
            where=f"{where}, {path}",
            remedy="use weights of the task's own network",
        )
    other = [k for k in own if own[k].shape != weights[k].shape]
    if other:
        key = other[0]
        raise ModelMismatch(
            f"{key!r} is {list(weights[key].shape)} there and {list(own[key].shape)} in the network"
            + (f", and so with {len(other) - 1} more" if len(other) > 1 else ""),
            where=f"{where}, {path}",
            remedy="use weights of the task's own network",
        )
    broken = [k for k, v in weights.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if broken:
        raise ModelMismatch(
            f"{broken[0]!r} has values that are not finite",
            where=f"{where}, {path}",
            remedy="use weights of a run that ended well",
        )
    model.load_state_dict(weights)


def file_sha256(path: Path, where: str = "[training] initial") -> str:
    """Of the file's content.

    Args:
        where: the option that named the file, for messages.

    Raises:
        TaskError: there is no such file.
    """
    try:
        return hashlib.sha256(read_file(path)).hexdigest()
    except OSError as error:
        raise _unreadable(path, where, str(error.strerror)) from error


def _read(path: Path, where: str) -> dict[str, Tensor]:
    try:
        regular(path)
    except OSError as error:
        raise _unreadable(path, where, error.strerror or str(error)) from error
    with outside(lambda error: _unreadable(path, where, f"not a safetensors file: {error}")):
        return load_file(path)


def _unreadable(path: Path, where: str, why: str) -> TaskError:
    return TaskError(
        f"cannot read weights: {why}",
        where=f"{where}, {path}",
        remedy="give a safetensors file of weights, relative to the task file",
    )


def _first(keys: list[str]) -> str:
    if not keys:
        return "none"
    return ", ".join(map(repr, keys[:2])) + (f" (and {len(keys) - 2} more)" if len(keys) > 2 else "")
