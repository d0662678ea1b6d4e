"""`curves`: queries with a class each, and a curve of the road's projection with its two ends.

As in End-to-end Lane Shape Prediction with Transformers (LSTR, Liu et al., arXiv 2011.04233): a cubic on a pitched
ground plane is, in the picture, u = k / (v - f)^2 + m / (v - f) + n + b v - c, for v between the curve's two ends; u
and v are shares of the picture.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.errors import DecoderError
from harness.lines.decode.protocol import (
    Options,
    Outputs,
    in_picture,
    line_table,
    read_options,
    read_output,
    require_pixels,
)
from harness.lines.table import LineTable
from harness.model.card import Card

__all__ = ["CurvesDecoder", "CurvesOptions", "build", "curve_u"]

Array = NDArray[Any]
COLUMNS = 8  # one end, other end, k, f, m, n, b, c


class CurvesOptions(Options):
    """Options of `curves`.

    Attributes:
        logits: output [queries, classes].
        curves: output [queries, 8]: both ends, then k, f, m, n, b, c of the module's formula.
        lane_class: which class is a lane; its softmax is the score.
        threshold: least score.
        points: of a line, spread evenly over its rows.
        slots: whether query k is the same line in every frame.
        category: class of the lines.
    """

    logits: str = "pred_logits"
    curves: str = "pred_curves"
    lane_class: Annotated[int, Field(ge=0)] = 1
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    points: Annotated[int, Field(ge=2)] = 56
    slots: bool = False
    category: int = 0


class CurvesDecoder:
    """See `CurvesOptions`; lines come near to far, points outside the picture are left out."""

    def __init__(self, options: CurvesOptions, card: Card) -> None:
        self._options = options
        self._size = (card.grid.width, card.grid.height)
        shape = next((o.shape for o in card.outputs if o.name == options.curves), None)
        queries = shape[-2] if options.slots and shape is not None and len(shape) >= 2 else 0
        self.slots = queries if isinstance(queries, int) else 0

    def decode(self, outputs: Outputs) -> LineTable:
        """See `harness.lines.decode.Decoder`."""
        o = self._options
        curves = read_output(outputs, o.curves, (None, COLUMNS), "queries x (2 ends, k, f, m, n, b, c)")
        logits = read_output(outputs, o.logits, (curves.shape[1], None), "queries x classes")
        if o.lane_class >= logits.shape[2]:
            raise DecoderError(
                f"lane_class {o.lane_class}, but output {o.logits!r} has {logits.shape[2]} classes",
                where="[decoder]",
                remedy="count the classes from 0",
            )
        curves, logits = curves.astype(np.float64), logits.astype(np.float64)
        near, far = np.maximum(curves[..., 0], curves[..., 1]), np.minimum(curves[..., 0], curves[..., 1])
        v = near[..., None] + (far - near)[..., None] * np.linspace(0, 1, o.points)
        with np.errstate(all="ignore"):
            u = curve_u(curves[..., 2:], v)
            raised = np.exp(logits - logits.max(axis=2, keepdims=True))
            score = (raised[..., o.lane_class] / raised.sum(axis=2)).astype(np.float32)
        finite = np.isfinite(curves).all(axis=2) & np.isfinite(u).all(axis=2)
        score[~finite] = np.nan
        points = np.stack([u * self._size[0], v * self._size[1]], axis=-1)
        queries = curves.shape[1]
        return line_table(
            points, score, o.threshold,
            category=np.full(queries, o.category), topology=np.zeros(queries, np.uint8),
            kept=in_picture(np.stack([u, v], axis=-1)), slots=o.slots,
        )  # fmt: skip


def curve_u(parameters: Array, v: Array) -> Array:
    """u of curves at rows v.

    Args:
        parameters: [..., 6]: k, f, m, n, b, c.
        v: [..., points], shares of the picture's height.

    Returns:
        [..., points], shares of its width; not finite where v is the curve's vanishing row f.
    """
    k, f, m, n, b, c = (parameters[..., i, None] for i in range(6))
    return np.asarray(k / (v - f) ** 2 + m / (v - f) + n + b * v - c)


def build(card: Card) -> CurvesDecoder:
    """The decoder of a card.

    Raises:
        DecoderError: the card's lines are not in the image frame.
    """
    require_pixels(card, "these curves are of the picture")
    return CurvesDecoder(read_options(card, CurvesOptions), card)
