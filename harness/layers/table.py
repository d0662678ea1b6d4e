"""What is told of a network's nodes, in memory and as JSON (`layers.json`); terminal and report draw from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from engines.layers.numbers import Numbers
from harness.measures.movement import Movement
from harness.run.json import plain

__all__ = ["LayerRow", "LayerTable", "Reason", "layers_json"]

SCHEMA = 1

Reason = Literal["switched", "adds nothing", "not on the way to the lines", "not switched"]


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One node, in the network's order.

    Attributes:
        name: of the node, or of the input.
        op: its operator; `Input` for an input.
        nodes: of the file that it stands for, after constants and BatchNorm are folded.
        modules: of the network that those are in; empty where the file does not say.
        kernel: of the compiled plan that it is in; empty where there is no plan.
        numbers: of its tensor.
        moved: what it alone does to the lines; None where it was not switched.
        reason: why it was switched, or was not.
        frames: on how many frames it was switched.
    """

    name: str
    op: str
    nodes: tuple[str, ...]
    modules: tuple[str, ...]
    kernel: str
    numbers: Numbers
    moved: Movement | None
    reason: Reason
    frames: int

    @property
    def cost(self) -> float:
        """How far it moves the lines, in the grid's unit; 0 where it adds nothing or leads to no line."""
        return self.moved.cost if self.moved is not None else 0.0


@dataclass(frozen=True, slots=True)
class LayerTable:
    """All nodes of a network.

    Attributes:
        card, a, b: which model, which engines.
        how: how the nodes of `b` were had.
        precision: format of `b` that headroom and spacing are told of.
        frames: that were looked at.
        unit: of lines, m or px.
        rows: in the network's order.
        whole: everything as `b` computes it.
        floor: a suffix with nothing switched; what is below it says nothing.
        first_nonfinite: the first node whose tensor is not finite in `b`, None where there is none.
        facts: what was done, for provenance.
    """

    card: str
    a: str
    b: str
    how: str
    precision: str
    frames: int
    unit: str
    rows: tuple[LayerRow, ...]
    whole: Movement
    floor: float
    first_nonfinite: str | None
    facts: Mapping[str, Any]

    def ranked(self) -> list[LayerRow]:
        """By how far they move the lines, the farthest first; then by what they inject."""
        return sorted(self.rows, key=lambda row: (-row.cost, -row.numbers.injected))


def layers_json(found: LayerTable) -> dict[str, Any]:
    """JSON values; NaN is null, infinity the word inf. `order` has places of rows, the farthest mover first."""
    places = {row.name: place for place, row in enumerate(found.rows)}
    rows = [{"place": place, "cost": row.cost, **asdict(row)} for place, row in enumerate(found.rows)]
    told = {**asdict(found), "schema": SCHEMA, "rows": rows, "order": [places[row.name] for row in found.ranked()]}
    told["facts"] = dict(found.facts)
    result: dict[str, Any] = plain(told, tell_infinity=True)
    return result
