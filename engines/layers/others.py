"""The engine that is held against fp32: an emulated one computes its nodes here, one by one, on any inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from engines.emulated.pair import Pair
from engines.layers.network import Network
from engines.layers.parts import Part, part_of
from engines.layers.walk import Unit, Values
from engines.protocol import Tensors

__all__ = ["Rewritten"]

Array = NDArray[Any]


class Rewritten:
    """An emulated engine: its nodes are parts of the rewritten graph."""

    def __init__(self, pair: Pair, plugins: tuple[Path, ...] = ()) -> None:
        self._network = Network(pair.reduced)
        self._stands = pair.stands
        self._plugins = plugins

    def inputs(self, feed: Tensors) -> dict[str, Array]:
        """As they are fed: what an input is rounded to is the work of its unit."""
        return {name: feed[name] for name in self._network.inputs}

    def step(self, unit: Unit, exact: Values, theirs: Values, made: Values, through: Values) -> tuple[Values, Values]:
        """See `walk.Other`."""
        part = self._part(unit)
        if part is None:
            return through, made
        switched = self._run(part, unit, exact)
        untouched = all(theirs[name] is exact[name] for name in unit.inputs)
        return switched if untouched else self._run(part, unit, theirs), switched

    def _part(self, unit: Unit) -> Part | None:
        """The unit's form in the rewritten graph; None of an input that stays as it is."""
        outputs = [self._stands[name] for name in unit.outputs]
        if not unit.nodes and outputs == list(unit.outputs):
            return None
        known = [self._stands[name] for name in unit.inputs] if unit.nodes else list(unit.outputs)
        return part_of(self._network, outputs, known, where=f"node {unit.name}, reduced", plugins=self._plugins)

    def _run(self, part: Part, unit: Unit, values: Values) -> dict[str, Array]:
        fed: Mapping[str, Array] = (
            {self._stands[name]: values[name] for name in unit.inputs}
            if unit.nodes
            else {name: values[name] for name in unit.outputs}
        )
        given = part(fed)
        return {name: given[self._stands[name]] for name in unit.outputs}
