"""The lines that outputs lead to, and the outputs that they need: what is decoded when a node is switched."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.layers.network import Network
from engines.layers.parts import Part, part_of
from harness.lines.decode import Decoder
from harness.lines.table import LineTable
from harness.measures.movement import Moving
from harness.model.grid import Grid
from trueline import TruelineError

__all__ = ["Reference", "Suffixes"]

Array = NDArray[Any]
Values = Mapping[str, Array]


@dataclass(frozen=True)
class Reference:
    """What fp32 gives on one frame.

    Attributes:
        outputs: those that lines are decoded from, [1, ...].
        lines: decoded from them.
    """

    outputs: Mapping[str, Array]
    lines: LineTable


class Suffixes:
    """Runs what follows a node, and says how far its lines lie from fp32's.

    Args:
        network: the fp32 graph.
        grid, decoder: of the card.
        outputs: fp32's on one frame, to tell which of them the lines need.
        plugins: libraries with custom ops.
    """

    def __init__(
        self,
        network: Network,
        grid: Grid,
        decoder: Decoder,
        outputs: Mapping[str, Array],
        plugins: tuple[Path, ...] = (),
    ) -> None:
        self._network, self._grid, self._decoder, self._plugins = network, grid, decoder, plugins
        self.outputs = _needed(decoder, outputs)

    def on(self, outputs: Mapping[str, Array]) -> Reference:
        """Fp32's outputs on a frame, [1, ...], and their lines."""
        needed = {name: outputs[name] for name in self.outputs}
        return Reference(needed, self._decoder.decode(dict(needed)))

    def moving(self) -> Moving:
        """Nothing yet, to be given to `add`."""
        return Moving(self._grid, self._decoder)

    def behind(self, names: Sequence[str], known: Collection[str]) -> Part | None:
        """What follows these values, once all `known` ones are there; None where no line depends on them."""
        places = self._network.slice(self.outputs, known)
        if not set(names) & set(self._network.fed(places, self.outputs)):
            return None
        return part_of(self._network, self.outputs, known, where=f"what follows {names[0]}", plugins=self._plugins)

    def add(self, moving: Moving, part: Part, reference: Reference, live: Values, switched: Values) -> None:
        """Add the lines of a frame on which these tensors are switched."""
        given = part({**live, **switched})
        moving.add(reference.outputs, {name: given[name][None] for name in self.outputs}, reference.lines)


def _needed(decoder: Decoder, outputs: Mapping[str, Array]) -> list[str]:
    """Outputs without which the lines are not the same."""
    whole = decoder.decode(dict(outputs))
    needed = list(outputs)
    for name in list(outputs):
        rest = {key: outputs[key] for key in needed if key != name}
        try:
            if rest and _same(decoder.decode(rest), whole):
                needed.remove(name)
        except TruelineError:  # the decoder wants it
            continue
    return needed


def _same(one: LineTable, other: LineTable) -> bool:
    columns = ("frame", "slot", "category", "score", "topology", "start", "x", "y")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in columns)
