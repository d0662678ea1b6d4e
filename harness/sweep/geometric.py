"""Perturbations that move things in the picture, each a map of pixels and its inverse: shift, crop, scale, camera.

Where a road line lies in the disturbed picture follows from the same map (harness/sweep/expected.py), so what the
picture does to the true line is known and is no error of the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.sweep.lens import Lens, View
from harness.sweep.perturbation import Move, Points, Rgb

__all__ = ["crop", "height", "pitch", "roll", "scale", "shift_down", "shift_right", "warp_maps", "warped", "yaw"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scaled:
    """Every pixel at `factor * pixel + offset`; both (u, v)."""

    factor: tuple[float, float]
    offset: tuple[float, float]

    def target(self, points: Points) -> Points:
        """Where pixels go."""
        return points * self.factor + self.offset

    def source(self, points: Points) -> Points:
        """Where they came from."""
        return np.asarray((points - self.offset) / np.array(self.factor))


@dataclass(frozen=True)
class Turned:
    """The camera turned in its place: a ray r of the camera as it was is r @ turn in the turned one."""

    lens: Lens
    turn: Floats

    def target(self, points: Points) -> Points:
        """Where pixels go."""
        return self.lens.pixels(self.lens.rays(points) @ self.turn)

    def source(self, points: Points) -> Points:
        """Where they came from."""
        return self.lens.pixels(self.lens.rays(points) @ self.turn.T)


@dataclass(frozen=True)
class Raised:
    """The camera lifted straight up by so many metres, over flat ground; what is above the horizon stays."""

    lens: Lens
    up_m: float

    def target(self, points: Points) -> Points:
        """Where pixels go."""
        return _or(self.lens.of_ground(self.lens.ground(points), self.up_m), points, self.lens)

    def source(self, points: Points) -> Points:
        """Where they came from."""
        return _or(self.lens.of_ground(self.lens.ground(points, self.up_m)), points, self.lens)


def _or(moved: Points, points: Points, lens: Lens) -> Points:
    """Moved pixels below the horizon, the pixels themselves above it."""
    below = np.isfinite(lens.ground(points)).all(axis=1, keepdims=True)
    return np.where(below, moved, points)


def shift_right(pixels: float, view: View) -> Move:
    """The picture moved to the right."""
    return Scaled((1.0, 1.0), (pixels, 0.0))


def shift_down(pixels: float, view: View) -> Move:
    """The picture moved down."""
    return Scaled((1.0, 1.0), (0.0, pixels))


def scale(share: float, view: View) -> Move:
    """The picture enlarged about its middle by a share of its size."""
    middle = (np.array(view.size) - 1) / 2
    return Scaled((1 + share, 1 + share), (float(-share * middle[0]), float(-share * middle[1])))


def crop(pixels: float, view: View) -> Move:
    """So many columns cut off at the left, as many rows at the top, and the rest at the size of the whole again."""
    factor = tuple(n / (n - pixels) for n in view.size)
    return Scaled((factor[0], factor[1]), tuple(f * (0.5 - pixels) - 0.5 for f in factor))  # type: ignore[arg-type]  # two


def pitch(degrees: float, view: View) -> Move:
    """The camera turned nose down: things move up in the picture."""
    return _turned(view, (1.0, 0.0, 0.0), -degrees)


def yaw(degrees: float, view: View) -> Move:
    """The camera turned to the left: things move to the right in the picture."""
    return _turned(view, (0.0, 1.0, 0.0), -degrees)


def roll(degrees: float, view: View) -> Move:
    """The camera turned clockwise about its axis: things turn the other way in the picture."""
    return _turned(view, (0.0, 0.0, 1.0), degrees)


def height(metres: float, view: View) -> Move:
    """The camera lifted."""
    return Raised(view.lens, metres)


def _turned(view: View, axis: tuple[float, float, float], degrees: float) -> Turned:
    """The camera turned about an axis of its own frame, right-handed."""
    import cv2

    rotation = np.asarray(cv2.Rodrigues(np.radians(degrees) * np.array(axis))[0], np.float64)
    return Turned(view.lens, rotation)


def warp_maps(move: Move, size: tuple[int, int]) -> tuple[Rgb, Rgb]:
    """Source u and v of every pixel of a picture (width, height) after a move, [height, width] each."""
    u, v = np.meshgrid(np.arange(size[0], dtype=np.float64), np.arange(size[1], dtype=np.float64))
    source = move.source(np.column_stack([u.ravel(), v.ravel()])).astype(np.float32)
    source = np.where(np.isfinite(source), source, np.float32(-1e4)).reshape(size[1], size[0], 2)
    return np.ascontiguousarray(source[..., 0]), np.ascontiguousarray(source[..., 1])


def warped(rgb: Rgb, maps: tuple[Rgb, Rgb]) -> Rgb:
    """The picture after a move, bilinear between pixels; its border goes on where the move looks beyond it."""
    import cv2

    return np.asarray(cv2.remap(rgb, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
