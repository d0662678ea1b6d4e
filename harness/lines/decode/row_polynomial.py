"""`row-polynomial`: a score, the two end rows and a polynomial u(v) for each lane, in one vector; image frame.

As in PolyLaneNet: Lane Estimation via Deep Polynomial Regression (Tabelini et al., arXiv 2004.10924): seven numbers a
lane, the logit of its score, its top row, its bottom row, and a cubic's coefficients, the highest power first; u and v
are shares of the picture.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.errors import DecoderError
from harness.lines.decode.protocol import Options, Outputs, in_picture, line_table, read_options, require_pixels
from harness.lines.table import LineTable
from harness.model.card import Card

__all__ = ["RowPolynomialDecoder", "RowPolynomialOptions", "build"]

Array = NDArray[Any]
HEAD = 3  # score, top, bottom


class RowPolynomialOptions(Options):
    """Options of `row-polynomial`.

    Attributes:
        output: output [lanes x numbers], or [lanes, numbers].
        numbers: of a lane: score, top and bottom row, and the polynomial's coefficients.
        score: `logit` to apply a sigmoid, or `probability`.
        threshold: least score.
        shared_top: all lanes begin at the first one's top row, as the network may be trained to say it once.
        points: of a line, spread evenly over its rows.
        slots: whether lane k is the same line in every frame.
        category: class of the lines.
    """

    output: str = "output"
    numbers: Annotated[int, Field(ge=HEAD + 2)] = 7
    score: Literal["probability", "logit"] = "logit"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    shared_top: bool = False
    points: Annotated[int, Field(ge=2)] = 56
    slots: bool = False
    category: int = 0


class RowPolynomialDecoder:
    """See `RowPolynomialOptions`; lines come near to far, points outside the picture are left out."""

    def __init__(self, options: RowPolynomialOptions, card: Card) -> None:
        self._options = options
        self._size = (card.grid.width, card.grid.height)
        shape = next((o.shape for o in card.outputs if o.name == options.output), None) or (0,)
        last = shape[-1] if isinstance(shape[-1], int) else 0
        lanes = shape[-2] if last == options.numbers and len(shape) > 1 else last // options.numbers
        self.slots = lanes if options.slots and isinstance(lanes, int) else 0

    def decode(self, outputs: Outputs) -> LineTable:
        """See `harness.lines.decode.Decoder`."""
        o = self._options
        lanes = self._lanes(outputs)
        with np.errstate(all="ignore"):
            score = lanes[..., 0] if o.score == "probability" else 1 / (1 + np.exp(-lanes[..., 0]))
            top, bottom = lanes[..., 1], lanes[..., 2]
            if o.shared_top:
                top = np.broadcast_to(top[:, :1], top.shape)
            v = bottom[..., None] + (top - bottom)[..., None] * np.linspace(0, 1, o.points)
            u = np.zeros_like(v)
            for k in range(HEAD, lanes.shape[2]):
                u = u * v + lanes[..., k, None]
        sound = np.isfinite(lanes).all(axis=2) & (bottom > top)
        points, count = np.stack([u, v], axis=-1), lanes.shape[1]
        return line_table(
            points * self._size, np.where(sound, score, np.nan).astype(np.float32), o.threshold,
            category=np.full(count, o.category), topology=np.zeros(count, np.uint8),
            kept=in_picture(points), slots=o.slots,
        )  # fmt: skip

    def _lanes(self, outputs: Outputs) -> Array:
        """float64 [frames, lanes, numbers].

        Raises:
            DecoderError: no such output, or one that is not so many numbers for each lane.
        """
        o = self._options
        if o.output not in outputs:
            raise DecoderError(
                f"no output {o.output!r}", where="[decoder]", remedy=f"the model gives {sorted(outputs)}; name one"
            )
        values = outputs[o.output].astype(np.float64)
        if values.ndim > 2 and values.shape[1] == 1:
            values = values[:, 0]
        flat = values.ndim == 2 and values.shape[1] > 0 and values.shape[1] % o.numbers == 0
        if not (flat or (values.ndim == 3 and values.shape[2] == o.numbers)):
            raise DecoderError(
                f"output {o.output!r} is {list(outputs[o.output].shape[1:])} a frame, must be [lanes x {o.numbers}] or "
                f"[lanes, {o.numbers}]",
                where="[decoder]",
                remedy="say how many `numbers` a lane has: score, top, bottom and coefficients",
            )
        return np.asarray(values.reshape(len(values), -1, o.numbers))


def build(card: Card) -> RowPolynomialDecoder:
    """The decoder of a card.

    Raises:
        DecoderError: the card's lines are not in the image frame.
    """
    require_pixels(card, "these lines are of the picture")
    return RowPolynomialDecoder(read_options(card, RowPolynomialOptions), card)
