"""`recorded-lines`: lines that a device drew with its own decoder and logged (engines/formats/polylines.py)."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from engines.formats.polylines import CLASSES, LENGTHS, LINE_ARRAYS, POINTS, SCORES, SLOTS, TOPOLOGY
from harness.errors import DecoderError
from harness.lines.decode.protocol import Options, Outputs, read_options
from harness.lines.table import OPEN, LineTable
from harness.model.card import Card

__all__ = ["RecordedLines", "RecordedLinesOptions", "build", "holds_lines"]


class RecordedLinesOptions(Options):
    """Options of `recorded-lines`.

    Attributes:
        threshold: least score of a line; the device has dropped the others already.
    """

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0


class RecordedLines:
    """Lines as they were logged; open ones are turned to run from near to far.

    Args:
        frame: of the card, `vehicle` (near is small x) or `image` (near is large v).
        threshold: least score of a line.
    """

    slots = 0

    def __init__(self, frame: str, threshold: float = 0.0) -> None:
        self._image, self._threshold = frame == "image", threshold

    def decode(self, outputs: Outputs) -> LineTable:
        """See `harness.lines.decode.Decoder`."""
        if not holds_lines(outputs):
            raise DecoderError(
                "no lines in the outputs",
                where="[decoder] recorded-lines",
                remedy=f"only a dump of lines has {LINE_ARRAYS}; see docs/recordings.md",
            )
        points, length, score = (outputs[name] for name in (POINTS, LENGTHS, SCORES))
        inside = np.arange(points.shape[2]) < length[..., None]
        finite = (np.isfinite(points).all(axis=-1) | ~inside).all(axis=-1) & np.isfinite(score)
        frame, line = np.nonzero((length > 1) & finite & (score >= self._threshold))
        topology = outputs[TOPOLOGY][frame, line]
        lines = [points[f, k, : length[f, k]] for f, k in zip(frame, line, strict=True)]
        return LineTable.from_points(
            frame,
            [self._turned(p) if kind == OPEN else p for p, kind in zip(lines, topology, strict=True)],
            slot=outputs[SLOTS][frame, line],
            category=outputs[CLASSES][frame, line],
            score=score[frame, line],
            topology=topology,
        )

    def _turned(self, points: NDArray[Any]) -> NDArray[Any]:
        """The points from near to far."""
        backwards = points[0, 1] < points[-1, 1] if self._image else points[0, 0] > points[-1, 0]
        return points[::-1] if backwards else points


def holds_lines(outputs: Outputs) -> bool:
    """Whether outputs are lines and not what a decoder makes them of."""
    return all(name in outputs for name in LINE_ARRAYS)


def build(card: Card) -> RecordedLines:
    """The decoder of a card."""
    return RecordedLines(card.frame, read_options(card, RecordedLinesOptions).threshold)
