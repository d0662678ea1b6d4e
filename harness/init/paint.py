"""How much of the lines lies on paint: what a person looks for in the picture of the first frames, as two shares.

Paint is brighter than the road on both sides of it. Lines of a network that is fed as it was trained lie on it wherever
the road has some; lines that are drawn beside it, or meet above the road, lie on bright stripes no more often than the
same lines moved aside. Neither share says that a line is right: a worn road has little paint, a rail is a stripe too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from harness.feed.window import window_of
from harness.lines.table import LineTable
from harness.model.card import Card
from harness.report.draw import place
from harness.report.pictures import rgb_of

__all__ = ["Paint", "paint_of", "paint_under"]

Floats = NDArray[np.float64]

LEAST = 0.05  # of the lines' length: less on stripes tells nothing
BRIGHTER = 12  # grey levels by which paint is brighter than both sides
SIDES = (1 / 320, 1 / 160, 1 / 90, 1 / 58)  # of the picture's width: how far away the sides are looked at
ASIDE = (-3 / 64, -1 / 32, 1 / 32, 3 / 64)  # of the width: where the same lines are looked at by chance
SMOOTHED = 1 / 850  # of the width: sigma of the blur that takes single bright pixels away


@dataclass(frozen=True, slots=True)
class Paint:
    """Shares of the points of lines, 0 to 1; NaN where there are none.

    Attributes:
        on: that lie on a bright stripe.
        beside: the same of the lines moved aside.
    """

    on: float
    beside: float

    @property
    def more(self) -> float:
        """How much more lies on stripes than by chance; 0 where there is no line."""
        return max(self.on - self.beside, 0.0) if np.isfinite(self.on) else 0.0

    @property
    def tells(self) -> bool:
        """Lines lie on stripes twice as much as by chance, and somewhat."""
        return self.more >= LEAST and self.on >= 2 * self.beside

    def __str__(self) -> str:
        return f"{self.on:.0%} ({self.beside:.0%})" if np.isfinite(self.on) else "no line"


def paint_of(card: Card, cases: Sequence[Case], lines: Mapping[str, LineTable]) -> Paint:
    """The shares over the frames that lines were drawn on.

    Args:
        card: says where the network's picture lies in the recorded one; lines in pixels.
        cases: recordings.
        lines: case -> lines with the case's frame numbers.
    """
    return paint_under((rgb, points) for case in cases for rgb, points in _placed(card, case, lines[case.id]))


def _placed(card: Card, case: Case, lines: LineTable) -> Iterable[tuple[NDArray[np.uint8], list[Floats]]]:
    steps = [dict(step) for step in card.preprocess.deploy]
    camera = case.cameras[0]
    for frame, rgb in rgb_of(case, camera, sorted(set(lines.frame.tolist()))):
        grid = card.grid
        window = window_of(steps, (rgb.shape[1], rgb.shape[0]), (grid.width, grid.height))
        own = np.flatnonzero(lines.frame == frame)
        yield rgb, [place(lines.points(i), grid, case.calibration(camera), window) for i in own.tolist()]


def paint_under(pictures: Iterable[tuple[NDArray[np.uint8], Sequence[Floats]]]) -> Paint:
    """The shares over pictures with their lines.

    Args:
        pictures: (RGB uint8 [height, width, 3], lines in its pixels [points, 2]).
    """
    on: list[NDArray[np.bool_]] = []
    beside: list[NDArray[np.bool_]] = []
    for rgb, lines in pictures:
        stripes = _stripes(rgb)
        width = rgb.shape[1]
        for line in map(_every_row, lines):
            on.append(_at(stripes, line))
            beside += [_at(stripes, line + np.array([share * width, 0.0])) for share in ASIDE]
    return Paint(_share(on), _share(beside))


def _share(found: Sequence[NDArray[np.bool_]]) -> float:
    all_ = np.concatenate([np.zeros(0, bool), *found])
    return float(all_.mean()) if all_.size else float("nan")


def _every_row(line: Floats) -> Floats:
    """The line's point in every row that it crosses, so that length counts and not how many points it has."""
    if len(line) < 2:
        return line
    order = np.argsort(line[:, 1], kind="stable")
    rows = np.arange(np.ceil(line[order[0], 1]), np.floor(line[order[-1], 1]) + 1)
    return np.stack([np.interp(rows, line[order, 1], line[order, 0]), rows], axis=1)


def _stripes(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where red and green are brighter than to the left and to the right: white and yellow paint are."""
    import cv2

    width = rgb.shape[1]
    gray = cv2.GaussianBlur(rgb[..., :2].mean(axis=2, dtype=np.float32), (0, 0), max(width * SMOOTHED, 0.5))
    found = np.zeros(gray.shape, bool)
    for share in SIDES:
        far = max(round(width * share), 1)
        left, right = (np.roll(gray, by, axis=1) for by in (far, -far))
        found |= gray - np.maximum(left, right) > BRIGHTER
    return found


def _at(stripes: NDArray[np.bool_], line: Floats) -> NDArray[np.bool_]:
    """Whether each point that lies in the picture lies on a stripe."""
    u, v = np.rint(line).astype(np.int64).T
    inside = (u >= 0) & (u < stripes.shape[1]) & (v >= 0) & (v < stripes.shape[0])
    found: NDArray[np.bool_] = stripes[v[inside], u[inside]]
    return found
