"""Where the lines truly go when the picture moves, and lines taken back from there.

Vehicle frame: a point of a line lies on flat ground, the undisturbed camera sees it at a pixel, the move puts that
pixel elsewhere, and a model that believes the calibration it has reads the ground point of *that* pixel. Image frame:
the same on pixels of the recorded picture. Lines of the disturbed picture are taken back along this way before they are
compared, so a model that sees what is there has no difference at all.

A model may find out by itself how its camera hangs, from where lines meet, and then rightly draws the lines where they
were. So the share of the movement that it follows is measured first (harness/sweep/measuring.py), and that share of it
is taken back: neither a model that believes its calibration nor one that knows better is wrong.

Where a line then reaches farther than the model can draw (its stations, the rows of the image), both are cut to what
can have been drawn: the range of its undisturbed lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from harness.errors import CannotTell
from harness.feed.inputs import cameras_of
from harness.feed.preprocess.dotted import is_dotted
from harness.feed.preprocess.mixing import checked_steps
from harness.feed.window import Window, moves_pixels, window_of
from harness.lines.table import LineTable
from harness.measures.stations import forward_of
from harness.model.card import Card
from harness.model.grid import Grid
from harness.sweep.disturbance import view_of
from harness.sweep.lens import Lens
from harness.sweep.perturbation import Move, Points

__all__ = ["Displacement", "displacement_of", "drawn_range"]

Floats = NDArray[np.float64]
Way = Callable[[Points], Points]

_HALVINGS = 50  # of a step between two points: below float32 at any length


@dataclass(frozen=True)
class Displacement:
    """What a move does to points of lines, in the lines' own frame: there and back; NaN where nowhere."""

    grid: Grid
    there: Way
    back: Way

    def moved(self, lines: LineTable) -> LineTable:
        """The undisturbed lines where the disturbed picture shows them."""
        return _with(lines, self.there(_points(lines)))

    def taken_back(self, lines: LineTable, drawn: tuple[float, float]) -> LineTable:
        """Lines of the disturbed picture where the undisturbed one has them, without what is beyond a model's range.

        Args:
            lines: of the disturbed picture.
            drawn: nearest and farthest forward position (`forward_of`) that the model draws.
        """
        points = _ended(_points(lines), lines, lambda p: self._inside(self.back(p), drawn))
        return _with(lines, self.back(points))

    def cut(self, lines: LineTable, drawn: tuple[float, float]) -> LineTable:
        """The undisturbed lines without what goes beyond a model's range; arguments as of `taken_back`."""
        return _with(lines, _ended(_points(lines), lines, lambda p: self._inside(self.there(p), drawn)))

    def _inside(self, points: Points, drawn: tuple[float, float]) -> NDArray[np.bool_]:
        """Which points lie within the range; those that are nowhere do not."""
        forward = forward_of(points[:, 0 if self.grid.frame == "vehicle" else 1], self.grid.frame)
        with np.errstate(invalid="ignore"):
            inside: NDArray[np.bool_] = (forward >= drawn[0] - _slack(drawn)) & (forward <= drawn[1] + _slack(drawn))
        return inside & np.isfinite(points[:, 0]) & np.isfinite(points[:, 1])


def displacement_of(card: Card, case: Case, move: Move) -> Displacement:
    """What a move of the camera's picture does to the model's lines.

    Raises:
        CannotTell: the case lacks calibration, or the pipeline moves pixels in a way that is not known.
    """
    camera = cameras_of(card)[0]
    view = view_of(case, camera)
    if card.frame == "vehicle":
        lens = view.lens
        return Displacement(card.grid, _on_ground(lens, move.target), _on_ground(lens, move.source))
    window = _window(card, camera, view.size)
    return Displacement(card.grid, _in_image(window, move.target), _in_image(window, move.source))


def drawn_range(lines: LineTable, grid: Grid) -> tuple[float, float]:
    """Nearest and farthest forward position that lines reach within the grid."""
    forward = forward_of(lines.x if grid.frame == "vehicle" else lines.y, grid.frame)
    forward = forward[np.isfinite(forward)]
    ends = forward_of(np.array([grid.edges[0][0], grid.edges[-1][1]]), grid.frame)
    if not len(forward):
        return float(ends[0]), float(ends[1])
    return max(float(forward.min()), float(ends[0])), min(float(forward.max()), float(ends[1]))


def _ended(points: Points, lines: LineTable, inside: Callable[[Points], NDArray[np.bool_]]) -> Points:
    """Points of lines, those outside NaN; a line that goes out gets a point where it does."""
    kept = inside(points)
    found = np.where(kept[:, None], points, np.nan)
    first = np.setdiff1d(np.arange(len(points) - 1), lines.start[1:-1] - 1)  # of points with a next one
    for inner, outer in ((first, first + 1), (first + 1, first)):
        edge = kept[inner] & ~kept[outer]
        found[outer[edge]] = _last(points[inner[edge]], points[outer[edge]], inside)
    return found


def _last(inner: Points, outer: Points, inside: Callable[[Points], NDArray[np.bool_]]) -> Points:
    """The last point inside on the way from points inside to points outside."""
    low, high = np.zeros((len(inner), 1)), np.ones((len(inner), 1))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        within = inside(inner + middle * (outer - inner))[:, None]
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    return np.asarray(inner + low * (outer - inner))


def _slack(drawn: tuple[float, float]) -> float:
    """Float32 rounding of an end must not cost a station."""
    return 1e-6 * max(1.0, abs(drawn[0]), abs(drawn[1]))


def _on_ground(lens: Lens, way: Way) -> Way:
    return lambda points: lens.ground(way(lens.of_ground(points)))


def _in_image(window: Window, way: Way) -> Way:
    return lambda points: window.shown_at(way(window.recorded(points)))


def _window(card: Card, camera: str, size: tuple[int, int]) -> Window:
    """Which part of the recorded picture the image of the lines shows."""
    spec = next(i for i in card.inputs if i.source == f"camera.{camera}")
    steps = checked_steps(card.preprocess.steps_of(spec.name, "deploy"), "preprocess.deploy", card.root)
    if moving := next((s["step"] for s in steps if moves_pixels(s)), None):
        raise CannotTell(
            f"step {moving!r} of the pipeline moves pixels in a way that is not known here",
            where=f"{card.path} preprocess.deploy",
            remedy="leave perturbations of the geometry out for this model",
        )
    assert card.image is not None  # the image frame has one
    image = card.image.width, card.image.height
    window = window_of(steps, size, image)
    whole = (window.left, window.top, window.width, window.height) == (0, 0, *size)
    if (own := next((s["step"] for s in steps if is_dotted(s["op"])), None)) and whole and image != size:
        raise CannotTell(
            f"step {own!r} is the card's own: what it does to the size of the picture is not known here",
            where=f"{card.path} preprocess.deploy",
            remedy="leave perturbations of the geometry out for this model",
        )
    return window


def _points(lines: LineTable) -> Points:
    return np.column_stack([lines.x, lines.y]).astype(np.float64)


def _with(lines: LineTable, points: Points) -> LineTable:
    return replace(lines, x=points[:, 0].astype(np.float32), y=points[:, 1].astype(np.float32))
