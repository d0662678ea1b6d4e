"""What is told of a network's nodes, in memory and as JSON (`layers.json`); terminal and report draw from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from engines.layers.numbers import Numbers
from harness.errors import UsageError
from harness.measures.movement import Movement
from harness.run.json import plain
from trueline._reading import json_of, read_file

__all__ = ["LayerRow", "LayerTable", "Reason", "layers_json", "read_layers"]

SCHEMA = 1

Reason = Literal["switched", "adds nothing", "not on the way to the lines"]


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


def read_layers(path: Path) -> LayerTable:
    """A table that `trueline model layers` wrote.

    Raises:
        UsageError: the file is none.
    """
    try:
        told = json_of(read_file(path))
        if told["schema"] != SCHEMA:
            raise ValueError(f"schema {told['schema']}")
        rows = tuple(_row(row) for row in told["rows"])
        own = {f.name: told[f.name] for f in fields(LayerTable)}
        return LayerTable(**{**own, "rows": rows, "whole": _movement(told["whole"]), "floor": _number(told["floor"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            "no table that `trueline model layers` wrote",
            where=str(path),
            remedy="write one with trueline model layers CARD --cases DIR --out FILE",
        ) from error


def _row(told: Mapping[str, Any]) -> LayerRow:
    own = {f.name: told[f.name] for f in fields(LayerRow)}
    counted = {"nonfinite", "first_nonfinite"}
    numbers = {f.name: told["numbers"][f.name] for f in fields(Numbers)}
    numbers = {name: value if name in counted else _number(value) for name, value in numbers.items()}
    moved = None if told["moved"] is None else _movement(told["moved"])
    names = {name: tuple(map(str, told[name])) for name in ("nodes", "modules")}
    return LayerRow(**{**own, **names, "numbers": Numbers(**numbers), "moved": moved})


def _movement(told: Mapping[str, Any]) -> Movement:
    sizes = {name: _number(told[name]) for name in ("line_rms", "line_max", "cost")}
    outputs = {str(name): _number(value) for name, value in told["outputs"].items()}
    return Movement(outputs=outputs, lines_changed=int(told["lines_changed"]), **sizes)


def _number(told: Any) -> float:
    return math.nan if told is None else float(told)
