"""What a definition of ours consists of, and what it asks of a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["Body", "has_input", "ints", "number", "rank_of"]


@dataclass(frozen=True, slots=True)
class Body:
    """Steps as ONNX text over the inputs i0, i1, ... and the constants, giving the outputs in the operator's order."""

    text: str
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("o0",)


def number(value: float) -> NDArray[np.float32]:
    """A constant of one number."""
    return np.array(value, np.float32)


def ints(*values: int) -> NDArray[np.int64]:
    """A constant of axes or sizes."""
    return np.array(values, np.int64)


def rank_of(node: ir.Node) -> int:
    """Axes of the first input."""
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    return len(shape) if shape is not None else 0


def has_input(node: ir.Node, place: int) -> bool:
    """Whether the node is given this input."""
    return len(node.inputs) > place and node.inputs[place] is not None
