"""Weights that numerics treat specially: denormal in fp32, lost in fp16, or too large for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.inspect.graph import Graph
from engines.inspect.half import SMALLEST_NORMAL, rounded

__all__ = ["WeightFacts", "WeightTensor", "weight_facts"]

FP32_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)  # 1.18e-38


@dataclass(frozen=True, slots=True)
class WeightTensor:
    """One weight tensor and the first node that reads it; the numbers count its elements.

    Attributes:
        name: of the tensor.
        node: that reads it, "" for an output.
        count: of elements.
        largest: the greatest finite magnitude.
        denormal: 0 < magnitude < 2^-126.
        lost: not 0, and 0 in fp16, denormal ones among them.
        subnormal: not lost, and below 2^-14, so less precise in fp16.
        overflowing: infinite in fp16 (from 65520 on) and finite before.
        infinite: infinite in the file already.
        nan: no number.
    """

    name: str
    node: str
    count: int
    largest: float
    denormal: int
    lost: int
    subnormal: int
    overflowing: int
    infinite: int
    nan: int


@dataclass(frozen=True, slots=True)
class WeightFacts:
    """Every float weight tensor; sums over them."""

    tensors: tuple[WeightTensor, ...]

    @property
    def count(self) -> int:
        """Float weights."""
        return sum(t.count for t in self.tensors)

    @property
    def denormal(self) -> int:
        """Denormal weights."""
        return sum(t.denormal for t in self.tensors)

    @property
    def lost(self) -> int:
        """Weights that are 0 in fp16 only."""
        return sum(t.lost for t in self.tensors)


def weight_facts(graph: Graph) -> WeightFacts:
    """Facts of every float constant that a node reads or that is an output, in the file's order."""
    return WeightFacts(
        tuple(
            _facts(name, graph.readers[name][0].name if name in graph.readers else "", array)
            for name, array in graph.constants.items()
            if array.dtype.kind == "f" and array.size and (name in graph.readers or name in graph.outputs)
        )
    )


def _facts(name: str, node: str, array: NDArray[Any]) -> WeightTensor:
    size = np.abs(array.astype(np.float64))
    finite = np.isfinite(size)
    nan = np.isnan(size)
    half = rounded(size)
    lost = (size > 0) & (half == 0)
    return WeightTensor(
        name=name,
        node=node,
        count=array.size,
        largest=float(size[finite].max(initial=0.0)),
        denormal=int(((size > 0) & (size < FP32_SMALLEST_NORMAL)).sum()),
        lost=int(lost.sum()),
        subnormal=int(((size > 0) & ~lost & (size < SMALLEST_NORMAL)).sum()),
        overflowing=int((finite & ~np.isfinite(half)).sum()),
        infinite=int((~finite & ~nan).sum()),
        nan=int(nan.sum()),
    )
