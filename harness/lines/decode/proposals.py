"""`proposals`: many candidate lines, each with a score and its u at fixed rows; the best that lie apart are kept.

LaneATT (Tabelini et al., arXiv 2010.12035) gives 2 logits, start row, start u, length in rows, then u in pixels of the
network's input at rows spread from the bottom of the picture to its top. CLRNet (Zheng et al., arXiv 2203.10350) gives
2 logits, start row, start u, angle, length as a share of the rows, then u as shares of the width. Of two lines whose
mean distance over the rows that both have is below a gate, the one with the lower score goes (greedy suppression).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.errors import DecoderError
from harness.lines.decode.protocol import Options, Outputs, line_table, read_options, read_output, require_pixels
from harness.lines.table import LineTable
from harness.model.card import Card

__all__ = ["ProposalsDecoder", "ProposalsOptions", "build", "suppressed"]

Array = NDArray[Any]
HEAD = {"laneatt": 5, "clrnet": 6}  # columns before the u of the rows


class ProposalsOptions(Options):
    """Options of `proposals`.

    Attributes:
        output: [proposals, 5 or 6 + rows].
        form: whose columns: `laneatt` or `clrnet`.
        rows: (first, last): v of the first and the last row in the card's image frame; None: its bottom and its top.
        width: the width that u is a share of: 1 for `clrnet`; None for `laneatt`: of the network's input.
        length: unit of the length column: `rows`, or `share` of the rows but one; None: as the form has it.
        threshold: least score, the softmax of the second logit.
        gate: mean distance below which two lines are one, pixels of the card's image frame.
        most: lines kept in a frame.
        category: class of the lines.
    """

    output: str = "proposals"
    form: Literal["laneatt", "clrnet"]
    rows: tuple[float, float] | None = None
    width: Annotated[float, Field(gt=0)] | None = None
    length: Literal["rows", "share"] | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    gate: Annotated[float, Field(ge=0)] = 50.0
    most: Annotated[int, Field(ge=1)] = 5
    category: int = 0


class ProposalsDecoder:
    """See `ProposalsOptions`; no slots: a proposal is not the same line in every frame. Lines come near to far."""

    slots = 0

    def __init__(self, options: ProposalsOptions, card: Card) -> None:
        self._options = options
        self._size = (card.grid.width, card.grid.height)
        self._width = options.width or (1.0 if options.form == "clrnet" else _input_width(card))
        self._rows = options.rows or (card.grid.height, 0.0)

    def decode(self, outputs: Outputs) -> LineTable:
        """See `harness.lines.decode.Decoder`."""
        o = self._options
        head = HEAD[o.form]
        values = read_output(outputs, o.output, (None, None), f"proposals x ({head} + rows)").astype(np.float64)
        count = values.shape[2] - head
        if count < 2:
            raise DecoderError(
                f"output {o.output!r} has {values.shape[2]} columns, {o.form} has {head} and at least 2 rows",
                where="[decoder]",
                remedy="choose the other form, or another decoder",
            )
        with np.errstate(all="ignore"):
            score = 1 / (1 + np.exp(values[..., 0] - values[..., 1]))
            u = values[..., head:] / self._width
            first = np.clip(np.round(values[..., 2] * (count - 1)), 0, count - 1)
            share = (o.length or ("share" if o.form == "clrnet" else "rows")) == "share"
            length = np.round(values[..., head - 1] * ((count - 1) if share else 1))
            last = np.minimum(first + length - 1, count - 1)
        score[~np.isfinite(values).all(axis=2)] = np.nan
        kept = _extent(u, first, last)
        best = suppressed(u * self._size[0], first, last, score, o.threshold, o.gate, o.most)
        v = np.linspace(*self._rows, count)
        points = np.stack([u * self._size[0], np.broadcast_to(v, u.shape)], axis=-1)
        points, kept = (points, kept) if v[0] > v[-1] else (points[:, :, ::-1], kept[..., ::-1])
        proposals = values.shape[1]
        return line_table(
            points, np.where(best, score, np.nan).astype(np.float32), o.threshold,
            category=np.full(proposals, o.category), topology=np.zeros(proposals, np.uint8), kept=kept, slots=False,
        )  # fmt: skip


def _extent(u: Array, first: Array, last: Array) -> NDArray[np.bool_]:
    """Rows of a line: from its start to its end, and below its start as long as it stays in the picture."""
    row = np.arange(u.shape[2])
    inside = (u >= 0) & (u <= 1)
    before = row < first[..., None]
    unbroken = np.logical_and.accumulate((inside | ~before)[..., ::-1], axis=2)[..., ::-1]
    return np.asarray(((row <= last[..., None]) & ~before & (u >= 0)) | (before & unbroken & inside))


def suppressed(
    u: Array, first: Array, last: Array, score: Array, threshold: float, gate: float, most: int
) -> NDArray[np.bool_]:
    """Which proposals stay.

    Args:
        u: [frames, proposals, rows], pixels.
        first, last: [frames, proposals], rows, both included.
        score: [frames, proposals]; NaN never stays.
        threshold: least score.
        gate: pixels: a line closer to a better one than this, in the mean over the rows of both, goes.
        most: lines of a frame that stay.

    Returns:
        bool [frames, proposals].
    """
    stays = np.zeros(score.shape, bool)
    for frame in range(len(score)):
        order = np.argsort(-np.nan_to_num(score[frame], nan=-1.0), kind="stable")
        waiting = order[score[frame][order] >= threshold]
        while len(waiting) and stays[frame].sum() < most:
            best, waiting = waiting[0], waiting[1:]
            stays[frame, best] = True
            waiting = waiting[~_near(u[frame], first[frame], last[frame], best, waiting, gate)]
    return stays


def _near(u: Array, first: Array, last: Array, best: int, others: Array, gate: float) -> NDArray[np.bool_]:
    row = np.arange(u.shape[1])
    start, end = np.maximum(first[others], first[best]), np.minimum(last[others], last[best])
    both = (row >= start[:, None]) & (row <= end[:, None])
    count = both.sum(axis=1)
    apart = np.where(both, np.abs(u[others] - u[best]), 0).sum(axis=1)
    return np.asarray((count > 0) & (apart < gate * count))


def _input_width(card: Card) -> float:
    """Width of the first camera input."""
    for spec in card.inputs:
        size = spec.shape[-2 if spec.layout == "NHWC" else -1]
        if spec.source.startswith("camera.") and isinstance(size, int):
            return float(size)
    raise DecoderError(
        "LaneATT's u are pixels of the network's input, whose width the card does not say",
        where=f"{card.path} [decoder]",
        remedy="set width = PIXELS",
    )


def build(card: Card) -> ProposalsDecoder:
    """The decoder of a card.

    Raises:
        DecoderError: the card's lines are not in the image frame, or the width that u is in is unknown.
    """
    require_pixels(card, "proposals give pixels")
    return ProposalsDecoder(read_options(card, ProposalsOptions), card)
