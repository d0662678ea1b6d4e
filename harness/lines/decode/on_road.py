"""Lines of a picture laid on the road: metres for a model that draws in pixels, by the calibration in its card.

The road is flat and the camera level: a point at row v below the vanishing row v0 is f h / (v - v0) ahead, and a column
u is (u0 - u) h / (v - v0) to the left, with the camera at height h and focal length f. Points at the vanishing row or
above it are nowhere on the road and left out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.lines.decode.protocol import Decoder, Outputs
from harness.lines.table import LineTable
from harness.model.card import ImageGridPart

__all__ = ["OnRoad", "on_road"]

FARTHEST_M = 500.0  # a row of the picture is hundreds of metres there


class OnRoad:
    """A decoder of pixels whose lines are laid on the road.

    Args:
        decoder: gives lines in pixels of the image.
        image: with the calibration.
    """

    def __init__(self, decoder: Decoder, image: ImageGridPart) -> None:
        self._decoder, self._image = decoder, image
        self.slots = decoder.slots

    def decode(self, outputs: Outputs) -> LineTable:
        """Lines in metres; those that keep fewer than two points are dropped."""
        return on_road(self._decoder.decode(outputs), self._image)


def on_road(lines: LineTable, image: ImageGridPart) -> LineTable:
    """Lines in pixels as lines in metres around the vehicle."""
    assert image.vanishing_row is not None  # the card saw to it
    below = lines.y.astype(np.float64) - image.vanishing_row
    middle = image.width / 2 if image.principal_column is None else image.principal_column
    ahead_px = image.focal * image.camera_height_m
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = ahead_px / below, (middle - lines.x) * image.camera_height_m / below
    keep = (below > 0) & (x <= FARTHEST_M)
    start = np.concatenate([[0], np.cumsum(keep)])[lines.start].astype(np.int64)
    laid = replace(lines, x=x[keep].astype(np.float32), y=y[keep].astype(np.float32), start=start)
    return laid.take(np.diff(start) >= 2)
