"""An engine that computes no node by itself and only shows tensors: PyTorch by hooks, a runtime with marked outputs, a
dump.

What a node adds is told on the engine's own inputs: its tensor less what fp32 makes of those. Switched alone, a node
gives fp32's tensor plus that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineOutputMissing
from engines.layers.network import Network
from engines.layers.walk import Unit, Values
from engines.protocol import Tensors

__all__ = ["GROUP_BYTES", "Shown", "Shows", "floating", "groups_of"]

Array = NDArray[Any]
GROUP_BYTES = 64 * 2**20  # of tensors that are shown at once
UNKNOWN_BYTES = 4 * 2**20  # taken for a tensor whose shape is not told


class Shows(Protocol):
    """What gives tensors by the names of a network's values."""

    @property
    def names(self) -> frozenset[str]:
        """Values that it can show."""
        ...

    def show(self, names: Sequence[str], feed: Tensors) -> Mapping[str, Array]:
        """Tensors of the frame that is fed; more may come than were asked for.

        Raises:
            EngineError: the engine failed, or has no such tensor.
        """
        ...


class Shown:
    """`walk.Other` of such an engine; a few tensors are in memory at a time.

    Args:
        network: that is walked.
        shows: the engine.
    """

    def __init__(self, network: Network, shows: Shows) -> None:
        self._shows = shows
        self._group = {name: group for group in groups_of(network, shows.names) for name in group}
        self._held: dict[str, Array] = {}
        self._feed: Tensors = {}

    def inputs(self, feed: Tensors) -> dict[str, Array]:
        """What the engine was fed, where it shows that; else what fp32 is fed."""
        self._held, self._feed = {}, feed
        return {name: self._own(name, array) for name, array in feed.items()}

    def step(self, unit: Unit, exact: Values, theirs: Values, made: Values, through: Values) -> tuple[Values, Values]:
        """See `walk.Other`."""
        if not unit.nodes:
            own = {name: theirs[name] for name in unit.outputs}
            return own, own
        own = {name: self._own(name, through[name]) for name in unit.outputs}
        return own, {name: _added(made[name], own[name], through[name]) for name in unit.outputs}

    def _own(self, name: str, like: Array) -> Array:
        """The engine's tensor; `like` itself where it does not show it."""
        if name not in self._group:
            return like
        if name not in self._held:
            self._held |= self._shows.show(self._group[name], self._feed)
        tensor = self._held.pop(name)
        if tensor.shape != like.shape:
            raise EngineOutputMissing(
                f"tensor {name!r} is {list(tensor.shape)}, the ONNX file's is {list(like.shape)}",
                where="the engine's tensors",
                remedy="give those of the same network, by the names of its ONNX file",
            )
        return tensor.astype(like.dtype, copy=False)


def groups_of(network: Network, names: frozenset[str]) -> list[tuple[str, ...]]:
    """The network's values of these names in its order, as many together as GROUP_BYTES hold."""
    order = [*network.inputs, *(name for node in network.nodes for name in node.output)]
    groups: list[tuple[str, ...]] = []
    room = 0
    for name in order:
        if name in names:
            size = _bytes(network, name)
            if size > room:
                groups.append(())
                room = GROUP_BYTES
            groups[-1] += (name,)
            room -= size
    return groups


def floating(network: Network) -> frozenset[str]:
    """Values that nodes give and that hold floating numbers."""
    import onnx

    kinds = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
    made = {name for node in network.nodes for name in node.output}
    return frozenset(n for n, value in network.types.items() if n in made and value.type.tensor_type.elem_type in kinds)


def _bytes(network: Network, name: str) -> int:
    sizes = network.shape(name)
    if sizes is None or any(isinstance(size, str) for size in sizes):
        return UNKNOWN_BYTES
    return 4 * math.prod(map(int, sizes))


def _added(exact: Array, own: Array, through: Array) -> Array:
    """fp32's tensor with what the engine's node adds; where that is no finite number, the engine's own."""
    if not np.issubdtype(exact.dtype, np.floating):
        return np.where(own == through, exact, own)
    with np.errstate(over="ignore", invalid="ignore"):
        alone = exact + (own - through)
    alone = np.where(np.isfinite(alone), alone, own)
    same = (own == through) | (np.isnan(own) & np.isnan(through))
    found: Array = np.where(same, exact, alone).astype(exact.dtype, copy=False)
    return found
