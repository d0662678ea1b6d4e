"""`bezier`: queries with a score and the control points of a Bézier curve each; image frame.

As in Rethinking Efficient Lane Detection via Curve Modeling (BézierLaneNet, Feng et al., arXiv 2203.02431): one query a
column of features, control points in shares of the picture, and of queries side by side only a local maximum is a line.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field

from harness.errors import DecoderError
from harness.lines.decode.protocol import (
    Options,
    Outputs,
    in_picture,
    line_table,
    near_first,
    read_options,
    read_output,
    read_scores,
    require_pixels,
)
from harness.lines.table import LineTable
from harness.model.card import Card

__all__ = ["BezierDecoder", "BezierOptions", "bernstein", "build", "local_maxima"]

Array = NDArray[Any]


class BezierOptions(Options):
    """Options of `bezier`.

    Attributes:
        curves: output [queries, control points, 2], u then v, shares of the picture.
        scores: output [queries] or [queries, 1]; None: every query is a line.
        score: `logit` to apply a sigmoid, or `probability`.
        threshold: least score.
        window: queries, an odd number: of so many side by side only the best is a line; 1 keeps all.
        points: of a line, spread evenly over the curve's parameter.
        slots: whether query k is the same line in every frame.
        category: class of the lines.
    """

    curves: str = "curves"
    scores: str | None = "logits"
    score: Literal["probability", "logit"] = "logit"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    window: Annotated[int, Field(ge=1)] = 9
    points: Annotated[int, Field(ge=2)] = 56
    slots: bool = False
    category: int = 0


class BezierDecoder:
    """See `BezierOptions`; lines come near to far, points outside the picture are left out."""

    def __init__(self, options: BezierOptions, card: Card) -> None:
        self._options = options
        self._size = (card.grid.width, card.grid.height)
        shape = next((o.shape for o in card.outputs if o.name == options.curves), None)
        queries = shape[-3] if options.slots and shape is not None and len(shape) >= 3 else 0
        self.slots = queries if isinstance(queries, int) else 0

    def decode(self, outputs: Outputs) -> LineTable:
        """See `harness.lines.decode.Decoder`."""
        o = self._options
        control = read_output(outputs, o.curves, (None, None, 2), "[queries, control points, 2]").astype(np.float64)
        frames, queries, count = control.shape[:3]
        scores = read_scores(outputs, o.scores, queries, o.score, frames)
        with np.errstate(all="ignore"):
            points = np.einsum("pn,fqnc->fqpc", bernstein(count - 1, np.linspace(0, 1, o.points)), control)
        best = np.where(local_maxima(scores, o.window), scores, np.float32(np.nan))
        points = near_first(points)
        return line_table(
            points * self._size, best, o.threshold,
            category=np.full(queries, o.category), topology=np.zeros(queries, np.uint8),
            kept=in_picture(points), slots=o.slots,
        )  # fmt: skip


def bernstein(order: int, t: Array) -> NDArray[np.float64]:
    """Weight of every control point at parameters t: [points, order + 1], rows sum to 1."""
    k = np.arange(order + 1)
    ways = np.array([math.comb(order, int(i)) for i in k], np.float64)
    return np.asarray(ways * t[:, None] ** k * (1 - t[:, None]) ** (order - k))


def local_maxima(scores: NDArray[np.float32], window: int) -> NDArray[np.bool_]:
    """Which queries no other within the window exceeds; of equal ones the first.

    Args:
        scores: [frames, queries].
        window: queries, odd.
    """
    if window == 1:
        return np.ones(scores.shape, bool)
    half = window // 2
    around = np.pad(np.nan_to_num(scores, nan=-np.inf), ((0, 0), (half, half)), constant_values=-np.inf)
    return np.asarray(sliding_window_view(around, window, axis=1).argmax(axis=2) == half)


def build(card: Card) -> BezierDecoder:
    """The decoder of a card.

    Raises:
        DecoderError: the card's lines are not in the image frame, or the window is even.
    """
    options = read_options(card, BezierOptions)
    require_pixels(card, "these curves are of the picture")
    if options.window % 2 == 0:
        raise DecoderError(
            f"window {options.window} is even",
            where=f"{card.path} [decoder]",
            remedy="give an odd number of queries",
        )
    return BezierDecoder(options, card)
