"""Tensors of a PyTorch engine: what its modules give, by the ONNX values that are the same tensor.

Which value is which module's is not read from names: PyTorch in fp32 and the ONNX file run on the same frame, and a
value belongs to the innermost module whose output has its shape and its numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.layers.marked import Marked
from engines.layers.network import Network
from engines.layers.shown import groups_of
from engines.protocol import ModelSource, Tensors
from engines.registry import open_engine

if TYPE_CHECKING:
    from engines.torch_engine import TorchEngine

__all__ = ["Call", "Hooked", "calls_of"]

Array = NDArray[Any]
SAMPLE = 4096  # numbers of a tensor that are compared
SAME = 1e-4  # relative RMS below which two fp32 runtimes gave the same tensor


class Call(NamedTuple):
    """A module, by its path, and which of its calls in a frame, from 0."""

    module: str
    call: int


class Hooked:
    """A PyTorch engine.

    Args:
        name: of the engine.
        source: the model.
        calls: ONNX value -> whose output it is, see `calls_of`.
    """

    def __init__(self, name: str, source: ModelSource, calls: Mapping[str, Call]) -> None:
        self._engine = _opened(name, source)
        self._calls = dict(calls)
        self.names = frozenset(calls) | frozenset(source.outputs)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Of the engine."""
        return self._engine.provenance

    def show(self, names: Sequence[str], feed: Tensors) -> Mapping[str, Array]:
        """Outputs of the modules that these values are of.

        Raises:
            EngineError: as of the engine.
        """
        wanted = {self._calls[name]: name for name in names if name in self._calls}
        found: dict[str, Array] = {}

        def see(path: str, call: int, output: Array) -> None:
            if (name := wanted.get(Call(path, call))) is not None:
                found[name] = output

        outputs = self._engine.watched(feed, see, {call.module for call in wanted} or {"no module"})
        return {name: found[name] if name in self._calls else outputs[name] for name in names}

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


def calls_of(source: ModelSource, network: Network, feed: Tensors) -> dict[str, Call]:
    """Which value of the graph is the output of which module; those that no module gives are missing.

    Raises:
        EngineUnavailable: the card has no PyTorch network.
        EngineError: a runtime failed.
    """
    engine, values = _opened("torch-fp32", source), Marked("ort-fp32-none", source, network)
    seen: dict[Call, _Sampled] = {}
    found: dict[str, Call] = {}
    try:
        engine.watched(feed, lambda path, call, output: seen.update({Call(path, call): _sample(output)}), ())
        for group in groups_of(network, values.names):
            for name, tensor in values.show(group, feed).items():
                call = _nearest(_sample(tensor), seen)
                if call is not None and call not in found.values():
                    found[name] = call
    finally:
        engine.close()
        values.close()
    return found


def _opened(name: str, source: ModelSource) -> TorchEngine:
    engine: Any = open_engine(name, source)  # a torch-* name gives no other class
    return engine  # type: ignore[no-any-return]


class _Sampled(NamedTuple):
    shape: tuple[int, ...]
    numbers: Array


def _sample(tensor: Array) -> _Sampled:
    flat = tensor.ravel()
    return _Sampled(tensor.shape, flat[:: max(flat.size // SAMPLE, 1)].astype(np.float64))


def _nearest(one: _Sampled, seen: Mapping[Call, _Sampled]) -> Call | None:
    """The call that gave the same tensor, the innermost of several; None where none did, or every number is 0."""
    size = _rms(one.numbers)
    if not 0 < size < math.inf:
        return None
    alike = [
        call
        for call, other in seen.items()
        if other.shape == one.shape and _rms(one.numbers - other.numbers) <= SAME * size
    ]
    return max(alike, key=lambda call: call.module.count("."), default=None)


def _rms(numbers: Array) -> float:
    return float(np.sqrt(np.square(numbers).mean())) if numbers.size else 0.0
