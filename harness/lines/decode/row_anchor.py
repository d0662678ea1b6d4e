"""`row-anchor`: for every row anchor and lane the network classifies the cell in which the lane lies.

As in Ultra Fast Structure-aware Lane Detection (Qin et al., arXiv 2004.11757): the position is the expectation of the
softmax over the cells; the last class says that there is no lane at that row, where it is the likeliest of all classes
(as the authors' demo.py has it: the cells together may outweigh it).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.lines.decode.polyline import per_slot
from harness.lines.decode.protocol import Options, Outputs, line_table, read_options, read_output, require_pixels
from harness.lines.table import LineTable
from harness.model.card import Card

__all__ = ["RowAnchorDecoder", "RowAnchorOptions", "build"]

Array = NDArray[Any]


class RowAnchorOptions(Options):
    """Options of `row-anchor`.

    Attributes:
        output: logits with the axes of `axes`.
        axes: order of cells + 1 (c), rows (r) and slots (s) in the output; `crs` is UFLD's.
        rows: the v of each row anchor in the card's image frame, in the output's order.
        cells: (left, right): u of the first and the last cell's centre; None: spread over the image's width.
        absent: which class says "no lane" where it is the likeliest: `last`, `first`, or `none` where there is no such
            class.
        argmax: decode the likeliest cell and not the expectation.
        least_rows: rows a line must be present at.
        threshold: least score; the score is the mean probability of being present over the rows where it is.
        classes: class of each slot, or one for all.
    """

    output: str = "logits"
    axes: Literal["crs", "csr", "rcs", "rsc", "scr", "src"] = "crs"
    rows: Annotated[tuple[float, ...], Field(min_length=2)]
    cells: tuple[float, float] | None = None
    absent: Literal["last", "first", "none"] = "last"
    argmax: bool = False
    least_rows: Annotated[int, Field(ge=2)] = 2
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    classes: int | tuple[int, ...] = 0


class RowAnchorDecoder:
    """See `RowAnchorOptions`; lines come near to far (from the lowest row up), whatever the order of the anchors."""

    def __init__(self, options: RowAnchorOptions, card: Card) -> None:
        self._options = options
        self._order = np.argsort(-np.asarray(options.rows), kind="stable")
        self._rows = np.asarray(options.rows, np.float64)[self._order]
        width = card.grid.width
        self._cells = options.cells or (0.0, width - 1)
        shape = next((o.shape for o in card.outputs if o.name == options.output), None)
        slots = 0 if shape is None else shape[options.axes.index("s") - 3]
        self.slots = slots if isinstance(slots, int) else 0

    def decode(self, outputs: Outputs) -> LineTable:
        """See `harness.lines.decode.Decoder`."""
        o = self._options
        sizes = tuple(len(o.rows) if axis == "r" else None for axis in o.axes)
        logits = read_output(outputs, o.output, sizes, " x ".join(_AXES[a] for a in o.axes))
        logits = np.moveaxis(logits, [1 + o.axes.index(a) for a in "src"], [1, 2, 3])[:, :, self._order]
        with np.errstate(invalid="ignore", over="ignore"):
            probability = _softmax(logits.astype(np.float64))
            position, present = self._position(probability)
        slots = logits.shape[1]
        kept = self._there(probability)
        kept &= kept.sum(axis=2, keepdims=True) >= o.least_rows
        total = np.where(kept, present, 0).sum(axis=2) / np.maximum(kept.sum(axis=2), 1)
        score = np.where(np.isfinite(logits).all(axis=(2, 3)), total, np.nan).astype(np.float32)
        points = np.stack([position, np.broadcast_to(self._rows, position.shape)], axis=-1)
        none = np.zeros(slots, np.uint8)
        category = per_slot(np.atleast_1d(o.classes), slots, "classes")
        return line_table(points, score, o.threshold, category=category, topology=none, kept=kept)

    def _there(self, probability: Array) -> NDArray[np.bool_]:
        """Where a cell is the likeliest class: [frames, slots, rows]."""
        if self._options.absent == "none":
            return np.ones(probability.shape[:-1], bool)
        nothing = probability.shape[-1] - 1 if self._options.absent == "last" else 0
        return np.asarray(probability.argmax(axis=-1) != nothing)

    def _position(self, probability: Array) -> tuple[Array, Array]:
        """u of every slot and row, and the probability that the lane is there: [frames, slots, rows] each."""
        o = self._options
        there = {"last": probability[..., :-1], "first": probability[..., 1:], "none": probability}[o.absent]
        present = there.sum(axis=-1)
        if o.argmax:
            cell = there.argmax(axis=-1).astype(np.float64)
        else:
            cell = there @ np.arange(there.shape[-1]) / np.where(present > 0, present, 1)
        left, right = self._cells
        return left + cell * ((right - left) / (there.shape[-1] - 1)), present


_AXES = {"c": "cells + 1", "r": "rows", "s": "slots"}


def _softmax(logits: Array) -> Array:
    raised: Array = np.exp(logits - logits.max(axis=-1, keepdims=True))
    raised /= raised.sum(axis=-1, keepdims=True)
    return raised


def build(card: Card) -> RowAnchorDecoder:
    """The decoder of a card.

    Raises:
        DecoderError: the card's lines are not in the image frame.
    """
    require_pixels(card, "row anchors give pixels")
    return RowAnchorDecoder(read_options(card, RowAnchorOptions), card)
