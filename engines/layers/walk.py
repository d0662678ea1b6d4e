"""Node after node over one frame, in fp32 and as the other engine computes it.

Every tensor is dropped after its last reader, so that memory holds what is open across one place of the network; it
grows neither with the network's depth nor with the frames.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.layers.network import Network
from engines.layers.parts import Part, part_of

if TYPE_CHECKING:
    from engines.protocol import Tensors

__all__ = ["Other", "Step", "Unit", "same", "units_of", "walk"]

Array = NDArray[Any]
Values = Mapping[str, Array]


@dataclass(frozen=True)
class Unit:
    """What is looked at as one: a node, the nodes between tensors that an engine shows, or an input.

    Attributes:
        name: of the last node, or of the input.
        op: its operator; `Input` for an input.
        outputs: values that it gives.
        inputs: values that it reads, constants left out.
        nodes: names of its nodes.
    """

    name: str
    op: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One unit on one frame, tensors by value.

    Attributes:
        unit: which.
        exact: fp32 on fp32's inputs.
        through: fp32 on the other engine's inputs.
        other: the other engine on its own inputs.
        switched: the unit alone as the other engine computes it, on fp32's inputs.
        before: what the other engine's inputs are, and `live` has fp32's.
        live: every fp32 tensor that is still to be read, the unit's own among them.
    """

    unit: Unit
    exact: Values
    through: Values
    other: Values
    switched: Values
    before: Values
    live: Values

    @property
    def changes(self) -> bool:
        """Whether the switched unit gives another bit."""
        return not all(same(self.exact[name], self.switched[name]) for name in self.unit.outputs)


class Other(Protocol):
    """The engine that is held against fp32."""

    def inputs(self, feed: Tensors) -> dict[str, Array]:
        """What the network is fed, as this engine has it; a new frame begins."""
        ...

    def step(self, unit: Unit, exact: Values, theirs: Values, made: Values, through: Values) -> tuple[Values, Values]:
        """What it makes of its own inputs, and what a switched unit gives on fp32's.

        Args:
            unit: which.
            exact, theirs: inputs, fp32's and its own.
            made: what fp32 makes of its inputs.
            through: what fp32 makes of this engine's inputs.
        """
        ...


def units_of(network: Network, shown: Container[str] | None = None) -> list[Unit]:
    """Inputs, and every node; with `shown`, the nodes between tensors that are shown, each with the last of them."""
    units = [Unit(name, "Input", (name,), (), ()) for name in network.inputs]
    read = {name for reads in network.reads for name in reads} | set(network.outputs)
    known = set(network.inputs)
    for node in network.nodes:
        outputs = [name for name in node.output if name in read and name in network.types]
        outputs = [name for name in outputs if shown is None or name in shown or name in network.outputs]
        if not outputs:
            continue
        places = network.slice(outputs, known)
        inputs = network.fed(places, ())
        names = tuple(network.nodes[place].name for place in places)
        units.append(Unit(node.name, node.op_type, tuple(outputs), tuple(inputs), names))
        known |= set(outputs)
    return units


def walk(
    network: Network, units: Sequence[Unit], other: Other, feed: Tensors, plugins: tuple[Path, ...] = ()
) -> Iterator[Step]:
    """Every unit on one frame, in order.

    Raises:
        ModelLoadError, EngineError: a part of the graph does not load or run.
    """
    last = _last_readers(network, units)
    live: dict[str, Array] = {name: feed[name] for name in network.inputs}
    theirs = other.inputs(feed)
    for place, unit in enumerate(units):
        yield _step(network, unit, other, live, theirs, plugins)
        for name in [name for name in live if last.get(name) == place]:
            del live[name]
            theirs.pop(name, None)


def _step(
    network: Network,
    unit: Unit,
    other: Other,
    live: dict[str, Array],
    theirs: dict[str, Array],
    plugins: tuple[Path, ...],
) -> Step:
    """Compute one unit, and add what it gives to what is live."""
    before = {name: theirs[name] for name in unit.inputs}
    part = _part(network, unit, plugins)
    exact = _made(part, unit, live)
    through = exact if all(before[name] is live[name] for name in unit.inputs) else _made(part, unit, theirs)
    found, switched = other.step(unit, live, theirs, exact, through)
    step = Step(unit, exact, through, found, switched, before, live)
    live.update(exact)
    theirs.update({name: exact[name] if same(found[name], exact[name]) else found[name] for name in exact})
    return step


def same(one: Array, other: Array) -> bool:
    """Whether two tensors are equal, bit for bit but for the payload of NaN."""
    if one is other:
        return True
    floating = np.issubdtype(one.dtype, np.floating)
    return one.shape == other.shape and bool(np.array_equal(one, other, equal_nan=bool(floating)))


def _part(network: Network, unit: Unit, plugins: tuple[Path, ...]) -> Part | None:
    if not unit.nodes:
        return None
    return part_of(network, unit.outputs, unit.inputs, where=f"node {unit.name}", plugins=plugins)


def _made(part: Part | None, unit: Unit, values: Values) -> dict[str, Array]:
    return part(values) if part is not None else {name: values[name] for name in unit.outputs}


def _last_readers(network: Network, units: Sequence[Unit]) -> dict[str, int]:
    """Value -> place of the last unit that reads it; what the network gives is never dropped."""
    last: dict[str, int] = {}
    for place, unit in enumerate(units):
        last.update(dict.fromkeys([*unit.inputs, *unit.outputs], place))
    return {name: place for name, place in last.items() if name not in network.outputs}
