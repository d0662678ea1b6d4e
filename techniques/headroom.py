"""Room left in fp16: the greatest activation and weight of every layer, against 65504 and 512.

    headroom_fp16     = 65504 / greatest magnitude     below 1: infinite in fp16
    headroom_autocast = 512 / greatest magnitude       below 1: beyond ModelOpt AutoCast's default `data_max`,
                                                       so the layer stays in fp32 (and above 512 fp16 steps by 0.5)

Source: ours; 65504 is the largest finite fp16 number, 512 the default that `harness.checks.findings` judges an exported
network by. A factor of 1 leaves no room: activations of unseen pictures are larger than those of the pictures here.

Activations are those of leaf modules, their inputs as well as their outputs, so that sums of branches count that feed a
leaf module. Sums computed between two functional calls are not seen here; the exported graph's check sees them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from techniques.batchnorm import evaluating
from techniques.errors import EmptyData
from techniques.task import Objective, Tensors

__all__ = ["AUTOCAST_LIMIT", "FP16_LARGEST", "LayerHeadroom", "headroom", "tightest"]

FP16_LARGEST = 65504.0
AUTOCAST_LIMIT = 512.0


@dataclass(frozen=True)
class LayerHeadroom:
    """One leaf module.

    Attributes:
        kind: its class.
        activation: greatest magnitude of its inputs and outputs, in the model's units; inf where one is not finite,
            NaN where no batch reached it.
        weight: greatest magnitude of its parameters and stored floating buffers; NaN where it has none.
    """

    layer: str
    kind: str
    activation: float
    weight: float

    @property
    def headroom_fp16(self) -> float:
        """65504 / greatest magnitude of activation and weight; inf where all are 0, 0 where one is not finite."""
        return _factor(FP16_LARGEST, self.activation, self.weight)

    @property
    def headroom_autocast(self) -> float:
        """512 / greatest activation; NaN where no batch reached it."""
        return _factor(AUTOCAST_LIMIT, self.activation)


def headroom(model: nn.Module, objective: Objective, batches: Iterable[Tensors]) -> list[LayerHeadroom]:
    """Every leaf module, in the network's order; evaluation mode, nothing is changed.

    Raises:
        EmptyData: no batch.
    """
    leaves = {n or "(root)": m for n, m in model.named_modules() if not any(True for _ in m.children())}
    greatest: dict[str, float] = {}
    hooks = [m.register_forward_hook(partial(_watch, greatest, n)) for n, m in leaves.items()]
    count = 0
    try:
        with evaluating(model), torch.no_grad():
            for inputs in batches:
                objective.outputs(model, inputs)
                count += 1
    finally:
        for hook in hooks:
            hook.remove()
    if not count:
        raise EmptyData("there is no batch", where="headroom(batches)", remedy="give batches of inputs")
    return [
        LayerHeadroom(name, type(module).__name__, greatest.get(name, math.nan), _weight(module))
        for name, module in leaves.items()
    ]


def tightest(rows: list[LayerHeadroom]) -> LayerHeadroom:
    """The layer with the least fp16 headroom.

    Raises:
        EmptyData: no layer that a batch reached or that has weights.
    """
    known = [row for row in rows if not math.isnan(row.headroom_fp16)]
    if not known:
        raise EmptyData("no layer has a headroom", where="tightest(rows)", remedy="give rows of headroom()")
    return min(known, key=lambda row: row.headroom_fp16)


def _watch(greatest: dict[str, float], name: str, module: nn.Module, args: Any, output: Any) -> None:
    here = max((_magnitude(t) for t in _tensors((args, output))), default=math.nan)
    if not math.isnan(here):
        greatest[name] = max(here, greatest.get(name, 0.0))


def _tensors(value: Any) -> list[Tensor]:
    """All floating tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, dict):
        value = tuple(value.values())
    return [t for part in value for t in _tensors(part)] if isinstance(value, tuple | list) else []


def _magnitude(x: Tensor) -> float:
    """Greatest absolute value; inf where one is inf or NaN, 0 for none."""
    if not x.numel():
        return 0.0
    largest = float(x.detach().abs().max())
    return math.inf if math.isnan(largest) else largest


def _weight(module: nn.Module) -> float:
    own = [t for t in module.state_dict().values() if t.is_floating_point()]
    return max((_magnitude(t) for t in own), default=math.nan)


def _factor(limit: float, *magnitudes: float) -> float:
    known = [m for m in magnitudes if not math.isnan(m)]
    if not known:
        return math.nan
    largest = max(known)
    return limit / largest if largest > 0 else math.inf
