"""`row-column`: lanes that run upwards are located row by row, those that run aside column by column.

As in Ultra Fast Lane Detection v2 (Qin et al., arXiv 2206.07389): at every row anchor the network classifies the cell
of a lane, at every column anchor too, and says for both whether the lane is there. The two inner lanes are read by
rows, the two outer ones by columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.errors import DecoderError
from harness.lines.decode.polyline import per_slot
from harness.lines.decode.protocol import Options, Outputs, line_table, read_options, read_output, require_pixels
from harness.lines.table import LineTable
from harness.model.card import Card

__all__ = ["RowColumnDecoder", "RowColumnOptions", "build"]

Array = NDArray[Any]


class RowColumnOptions(Options):
    """Options of `row-column`.

    Attributes:
        row_cells, column_cells: outputs [cells, anchors, lanes], logits of the cell.
        row_present, column_present: outputs [2, anchors, lanes], logits of "absent" and "there".
        rows: v of each row anchor in the card's image frame, in the output's order.
        columns: u of each column anchor.
        across: u of the two sides between which the row anchors' cells lie; None: the picture's.
        down: v of the two ends between which the column anchors' cells lie; None: the picture's. Not the picture's
            where the network sees a crop of what its anchors are shares of.
        by_rows, by_columns: lanes that are read by rows and by columns; a lane is its slot.
        window: cells to each side of the likeliest one, over which the expectation goes.
        least_rows, least_columns: share of the anchors at which a lane must be there.
        threshold: least score, the mean probability of being there over the anchors where it is.
        classes: class of each lane, or one for all.
    """

    row_cells: str = "loc_row"
    column_cells: str = "loc_col"
    row_present: str = "exist_row"
    column_present: str = "exist_col"
    rows: Annotated[tuple[float, ...], Field(min_length=2)]
    columns: Annotated[tuple[float, ...], Field(min_length=2)]
    across: tuple[float, float] | None = None
    down: tuple[float, float] | None = None
    by_rows: tuple[int, ...] = (1, 2)
    by_columns: tuple[int, ...] = (0, 3)
    window: Annotated[int, Field(ge=0)] = 1
    least_rows: Annotated[float, Field(ge=0, le=1)] = 0.5
    least_columns: Annotated[float, Field(ge=0, le=1)] = 0.25
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    classes: int | tuple[int, ...] = 0


@dataclass(frozen=True, slots=True)
class _Read:
    """Lanes read along one kind of anchor: points [frames, lanes, anchors, 2], kept and scores like them."""

    points: Array
    kept: Array
    score: Array


class RowColumnDecoder:
    """See `RowColumnOptions`; lines come near to far: from their end that is lower in the picture."""

    def __init__(self, options: RowColumnOptions, card: Card) -> None:
        self._options = options
        self._across = options.across or (0.0, card.grid.width)
        self._down = options.down or (0.0, card.grid.height)
        self.slots = max((*options.by_rows, *options.by_columns)) + 1

    def decode(self, outputs: Outputs) -> LineTable:
        """See `harness.lines.decode.Decoder`."""
        o = self._options
        frames = len(outputs[o.row_cells]) if o.row_cells in outputs else 0
        length = max(len(o.rows), len(o.columns))
        points = np.full((frames, self.slots, length, 2), np.nan)
        kept = np.zeros((frames, self.slots, length), bool)
        score = np.full((frames, self.slots), np.nan, np.float32)
        for read, lanes in (
            (self._along(outputs, "row"), o.by_rows),
            (self._along(outputs, "column"), o.by_columns),
        ):
            chosen, count = list(lanes), read.kept.shape[2]
            points[:, chosen, :count], kept[:, chosen, :count] = read.points[:, chosen], read.kept[:, chosen]
            score[:, chosen] = read.score[:, chosen]
        points, kept = _near_first(points, kept)
        category = per_slot(np.atleast_1d(o.classes), self.slots, "classes")
        topology = np.zeros(self.slots, np.uint8)
        return line_table(points, score, o.threshold, category=category, topology=topology, kept=kept)

    def _along(self, outputs: Outputs, kind: Literal["row", "column"]) -> _Read:
        o = self._options
        anchors = np.asarray(o.rows if kind == "row" else o.columns, np.float64)
        names = (o.row_cells, o.row_present) if kind == "row" else (o.column_cells, o.column_present)
        cells = read_output(outputs, names[0], (None, len(anchors), None), f"cells x {kind}s x lanes")
        there = read_output(outputs, names[1], (2, len(anchors), cells.shape[3]), f"2 x {kind}s x lanes")
        if self.slots > cells.shape[3]:
            raise DecoderError(
                f"lane {self.slots - 1} is asked for, output {names[0]!r} has {cells.shape[3]}",
                where="[decoder] by_rows, by_columns",
                remedy="name lanes that the output has, counted from 0",
            )
        with np.errstate(invalid="ignore", over="ignore"):
            place = _expected_cell(cells.astype(np.float64), o.window)
            probability = 1 / (1 + np.exp(there[:, 0].astype(np.float64) - there[:, 1]))
        low, high = self._across if kind == "row" else self._down
        along = low + (place + 0.5) / (cells.shape[1] - 1) * (high - low)
        level = np.broadcast_to(anchors[:, None], along.shape)
        pair = (along, level) if kind == "row" else (level, along)
        kept = there[:, 1] > there[:, 0]
        least = (o.least_rows if kind == "row" else o.least_columns) * len(anchors)
        kept = kept & (kept.sum(axis=1, keepdims=True) > least)
        total = np.where(kept, probability, 0).sum(axis=1) / np.maximum(kept.sum(axis=1), 1)
        finite = np.isfinite(cells).all(axis=(1, 2)) & np.isfinite(there).all(axis=(1, 2))
        score = np.where(finite, total, np.nan).astype(np.float32)
        return _Read(np.stack(pair, axis=-1).swapaxes(1, 2), kept.swapaxes(1, 2), score)


def _expected_cell(logits: Array, window: int) -> Array:
    """Expectation of the cell over the likeliest one and `window` beside it: [frames, anchors, lanes]."""
    best = logits.argmax(axis=1)
    places = best[:, None] + np.arange(-window, window + 1)[None, :, None, None]
    inside = (places >= 0) & (places < logits.shape[1])
    chosen = np.take_along_axis(logits, np.clip(places, 0, logits.shape[1] - 1), axis=1)
    weight = np.where(inside, np.exp(chosen - chosen.max(axis=1, keepdims=True)), 0)
    return np.asarray((weight * places).sum(axis=1) / weight.sum(axis=1))


def _near_first(points: Array, kept: Array) -> tuple[Array, Array]:
    """Every line turned so that its lower end in the picture comes first."""
    v = np.where(kept, points[..., 1], np.nan)
    first = np.take_along_axis(v, kept.argmax(axis=2)[..., None], axis=2)[..., 0]
    last = np.take_along_axis(v, (kept.shape[2] - 1 - kept[..., ::-1].argmax(axis=2))[..., None], axis=2)[..., 0]
    turned = (first < last)[..., None]
    return np.where(turned[..., None], points[:, :, ::-1], points), np.where(turned, kept[..., ::-1], kept)


def build(card: Card) -> RowColumnDecoder:
    """The decoder of a card.

    Raises:
        DecoderError: the card's lines are not in the image frame, or an option is wrong.
    """
    require_pixels(card, "row and column anchors give pixels")
    options = read_options(card, RowColumnOptions)
    if set(options.by_rows) & set(options.by_columns) or not (options.by_rows or options.by_columns):
        raise DecoderError(
            f"by_rows {list(options.by_rows)} and by_columns {list(options.by_columns)} share a lane, or name none",
            where=f"{card.path} [decoder]",
            remedy="read each lane by rows or by columns",
        )
    return RowColumnDecoder(options, card)
