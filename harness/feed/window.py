"""Which part of the recorded picture the network's image shows: its pixels lie where the pipeline took them from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Window", "moves_pixels", "steps_of_run", "window_of"]

_MOVES = {"undistort", "warp"}  # steps after which a pixel is no longer where a box would put it


@dataclass(frozen=True, slots=True)
class Window:
    """A box of the recorded picture, pixels from its left and top edge, shown as an image of some size.

    Attributes:
        left, top, width, height: the box; a letterbox reaches beyond the picture.
        shown: width and height of the image.
    """

    left: float
    top: float
    width: float
    height: float
    shown: tuple[float, float]

    def recorded(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Pixels of the recorded picture of points (u, v) in the image, [points, 2]; centres of pixels are whole."""
        scale = np.array((self.width, self.height)) / self.shown
        return (np.asarray(points, np.float64) + 0.5) * scale + (self.left, self.top) - 0.5

    def shown_at(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Where points of the recorded picture lie in the image; the inverse of `recorded`."""
        scale = np.array((self.width, self.height)) / self.shown
        return np.asarray((np.asarray(points, np.float64) + 0.5 - (self.left, self.top)) / scale - 0.5)


def window_of(steps: Sequence[Mapping[str, Any]], size: tuple[int, int], image: tuple[float, float]) -> Window:
    """Where an image of lines lies in the recorded picture.

    An image of the size that the pipeline gives is the network's; any other is the whole picture at another scale, as
    is one behind a step that moves pixels in another way (undistort, warp, a step of the card's own that says no size).

    Args:
        steps: resolved steps of the pipeline, as run.json has them.
        size: width and height of the recorded picture.
        image: width and height of the image that lines are in.
    """
    width, height = float(size[0]), float(size[1])
    whole = Window(0.0, 0.0, width, height, image)
    if image == (width, height):
        return whole
    found = Window(0.0, 0.0, width, height, (width, height))
    for step in steps:
        if moves_pixels(step):
            return whole
        found = _after(found, step)
    return found if found.shown == image else whole


def moves_pixels(step: Mapping[str, Any]) -> bool:
    """Whether pixels are no longer where a box would put them after this step."""
    return step.get("op") in _MOVES


def steps_of_run(meta: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The deploy steps of a run's first camera input, from its run.json; none where it has none."""
    return next((tuple(p.get("deploy", ())) for p in (meta.get("pipelines") or {}).values()), ())


def _after(seen: Window, step: Mapping[str, Any]) -> Window:
    across, down = seen.width / seen.shown[0], seen.height / seen.shown[1]
    if step.get("op") == "crop":
        left, top, width, height = map(float, step["box"])
        begin = seen.left + left * across, seen.top + top * down
        return Window(*begin, width * across, height * down, (width, height))
    if step.get("op") == "resize":
        return Window(seen.left, seen.top, seen.width, seen.height, (float(step["size"][0]), float(step["size"][1])))
    if step.get("op") == "letterbox":
        return _letterboxed(seen, step)
    return seen


def _letterboxed(seen: Window, step: Mapping[str, Any]) -> Window:
    width, height = map(float, step["size"])
    factor = min(width / seen.shown[0], height / seen.shown[1])
    inner = max(1, round(seen.shown[0] * factor)), max(1, round(seen.shown[1] * factor))
    centred = step.get("anchor", "center") == "center"
    left, top = ((width - inner[0]) // 2, (height - inner[1]) // 2) if centred else (0.0, 0.0)
    across, down = seen.width / inner[0], seen.height / inner[1]
    return Window(seen.left - left * across, seen.top - top * down, width * across, height * down, (width, height))
