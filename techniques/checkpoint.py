"""Nested state (dicts, lists, numbers, text, tensors) in one safetensors file: no pickle.

Tensors are stored as tensors, the nesting around them as JSON in the file's metadata. A file is written beside its
place and moved there, so that a stop in the middle leaves the old one.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from techniques.errors import CheckpointError
from trueline._drafts import replacing
from trueline._outside import outside
from trueline._reading import json_of, regular

__all__ = ["load_state", "save_state"]

_FORMAT = "trueline-state-1"


def save_state(path: Path, state: Any) -> None:
    """Write `state` to `path`, complete or not at all.

    Raises:
        CheckpointError: a value that is no dict, list, tuple, number, text, None or tensor.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _taken_apart(state, tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        save_file(tensors, draft, metadata={"format": _FORMAT, "state": json.dumps(skeleton)})


def load_state(path: Path) -> Any:
    """What `save_state` wrote; tuples come back as tuples.

    Raises:
        CheckpointError: no such file, or not one of ours.
    """
    told = partial(CheckpointError, where=str(path), remedy="delete it and start anew")
    with outside(lambda error: told(f"cannot read it: {error}")), safe_open(regular(path), framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # safe_open is no dict
    if metadata.get("format") != _FORMAT:
        raise told("not the state of a run")
    try:
        return _put_together(json_of(metadata["state"]), tensors)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise told(f"it is damaged: {type(error).__name__}: {error}") from error


def _taken_apart(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        key = f"t{len(tensors)}"
        tensors[key] = value.detach().clone(memory_format=torch.contiguous_format)
        return {"tensor": key}
    if isinstance(value, dict):
        return {"dict": [[_taken_apart(k, tensors), _taken_apart(v, tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_taken_apart(v, tensors) for v in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CheckpointError(
        f"cannot store a {type(value).__name__}",
        where="save_state(state)",
        remedy="keep state in dicts, lists, numbers, text and tensors",
    )


def _put_together(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {_put_together(k, tensors): _put_together(v, tensors) for k, v in content}
    parts = [_put_together(v, tensors) for v in content]
    return parts if kind == "list" else tuple(parts)
