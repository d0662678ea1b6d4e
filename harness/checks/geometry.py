"""Geometry inside the graph: how many metres (or pixels) a line's points lose where the graph computes them in fp16.

A network that gives coordinates adds stations and offsets of tens of metres within the graph. At 20 m fp16 numbers are
0.0156 m apart, at 192 m 0.125 m. Two things are looked at, for the outputs that the decoder reads as coordinates: the
values themselves, and the large constants in front of them. A network that gives logits (`row-anchor`) or coefficients
(`polynomial`) has its geometry in the decoder, in float64; what its lines lose by outputs in fp16 is seen by decoding
twice. That is not done for `mask`: its lines get other points where a pixel changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.inspect.constants import LargeConstant, constants_before
from engines.inspect.graph import Graph
from engines.inspect.half import rounded, rounding_loss, spacing
from harness.checks.findings import Finding
from harness.lines.decode import build_decoder
from harness.model.card import Card
from trueline._text import counted

__all__ = ["coordinate_outputs", "geometry_findings"]

Array = NDArray[Any]

# decoder -> its options that name outputs in the unit of lines, with their defaults
COORDINATES: Mapping[str, Mapping[str, str | None]] = {
    "polyline": {"lines": "lines"},
    "polynomial": {"reach": None, "start": None},
    "openpilot": {"lane_lines": "lane_lines", "road_edges": None},
}
LEAST_LOSS = {"m": 0.01, "px": 0.25}  # rounding below it is no finding: below what bend and swing are judged by


def coordinate_outputs(card: Card) -> tuple[str, ...]:
    """Outputs that the card's decoder reads as metres or pixels; none of decoders that are not built in."""
    options = COORDINATES.get(card.decoder.name, {})
    names = (card.decoder.options.get(option, default) for option, default in options.items())
    return tuple(name for name in names if name)


def geometry_findings(
    card: Card, graph: Graph, outputs: Mapping[str, Sequence[Array]], frames: int
) -> Iterator[Finding]:
    """Loss of every coordinate output by its own values, then by the constants in front of it.

    Args:
        card: whose decoder and unit of length count.
        graph: the card's.
        outputs: name -> values of each frame.
        frames: how many there were; 0: the values are those of zeros as input.
    """
    unit = card.length_unit
    names = [name for name in coordinate_outputs(card) if name in outputs]
    given = counted(frames, "frame") if frames else "zeros as input"
    if not names:
        yield Finding("ok", f"no output is read as coordinates: decoder {card.decoder.name} computes them", "geometry")
    for name in names:
        yield _values(name, outputs[name], unit, given)
        yield from _constants(name, constants_before(graph, name), unit)
    if card.decoder.name != "mask" and not names:
        yield _decoded(card, outputs, given)


def _decoded(card: Card, outputs: Mapping[str, Sequence[Array]], given: str) -> Finding:
    """How far lines move when every float output is rounded to fp16 and nothing else is."""
    decoder, unit = build_decoder(card), card.length_unit
    stacked = {name: np.stack(values) for name, values in outputs.items()}
    exact = decoder.decode(stacked)
    coarse = decoder.decode({name: _as_half(values) for name, values in stacked.items()})
    where, remedy = f"geometry, {given}", "keep the outputs and what gives them in fp32, or rescale them"
    if not (np.array_equal(exact.frame, coarse.frame) and np.array_equal(exact.start, coarse.start)):
        what = f"rounding the outputs to fp16 changes which lines there are: {len(exact)} become {len(coarse)}"
        return Finding("warning", what, where, remedy)
    loss = max((float(np.abs(a - b).max(initial=0)) for a, b in ((exact.x, coarse.x), (exact.y, coarse.y))), default=0)
    what = f"rounding the outputs to fp16 moves a point of {len(exact)} lines by up to {loss:.2g} {unit}"
    return Finding("ok", what, where) if loss < LEAST_LOSS[unit] else Finding("warning", what, where, remedy)


def _as_half(values: Array) -> Array:
    return rounded(values).astype(values.dtype) if values.dtype.kind == "f" else values


def _values(name: str, values: Sequence[Array], unit: str, given: str) -> Finding:
    every = np.concatenate([np.asarray(v, np.float64).ravel() for v in values])
    every = every[np.isfinite(every)]
    largest, loss = float(np.abs(every).max(initial=0)), rounding_loss(every)
    what = (
        f"{name!r} reaches {largest:.4g} {unit}, where fp16 numbers are {spacing(largest):.3g} {unit} apart; "
        f"rounding it to fp16 moves a point by up to {loss:.2g} {unit}"
    )
    if loss < LEAST_LOSS[unit]:
        return Finding("ok", what, f"geometry, {given}")
    return Finding("warning", what, f"geometry, {given}", _remedy(name))


def _constants(name: str, constants: Sequence[LargeConstant], unit: str) -> Iterator[Finding]:
    for c in constants:
        if c.adds and c.loss >= LEAST_LOSS[unit]:
            yield Finding(
                "warning",
                f"constant {c.name!r} reaches {c.largest:.4g} {unit}, where fp16 numbers are {c.spacing:.3g} {unit} "
                f"apart; rounded, it moves {name!r} by up to {c.loss:.2g} {unit}",
                f"node {c.node} ({c.op})",
                _remedy(name),
            )
        elif not c.adds and not np.isfinite(c.loss):
            yield Finding(
                "warning",
                f"constant {c.name!r}, a factor of {name!r}, reaches {c.largest:.4g} and is infinite in fp16",
                f"node {c.node} ({c.op})",
                _remedy(name),
            )


def _remedy(name: str) -> str:
    return (
        f"keep the nodes in front of {name!r} in fp32, or give offsets from known stations (or shares of the far end) "
        "and let the decoder add and scale in fp32"
    )
