"""Draws what stands on the road: vehicles as shaded boxes with glass, lamps and wheels, trees as trunk and crown.

Far objects first. Polygons are filled with subpixel corners and smooth edges. Faces nearer than NEAR_M are cut there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cases.synth.camera import Camera
from cases.synth.geometry import RoadView
from cases.synth.scene import Scene, State
from cases.synth.traffic import Tree, Vehicle

__all__ = ["draw_objects"]

NEAR_M = 0.8  # in front of the camera
FAR_M = 220.0
_SHIFT = 4  # cv2's fixed-point bits of a pixel

Picture = NDArray[np.uint8]
Corner = tuple[float, float, float]


def draw_objects(picture: Picture, scene: Scene, state: State, view: RoadView, light: float) -> None:
    """Draw trees and vehicles into an RGB picture, in place; light scales their albedo."""
    painter = _Painter(picture, scene.camera, state.shake_rad, light, scene)
    things: list[tuple[float, Vehicle | Tree]] = [(v.rear_s_m(state.t_s, state.s_m), v) for v in scene.vehicles] + [
        (t.s_m, t) for t in scene.trees
    ]
    end_m = min(FAR_M, float(view.s_m[-1]) - state.s_m - 1)
    visible = [(s, thing) for s, thing in things if -12 < s - state.s_m < end_m]
    for s, thing in sorted(visible, key=lambda item: -item[0]):
        if isinstance(thing, Tree):
            painter.tree(thing, view.point(s, thing.lateral_m))
        else:
            painter.vehicle(thing, view.point(s + thing.size_m[0] / 2, thing.lateral_m))


class _Painter:
    """Fills polygons of the vehicle frame into one picture."""

    def __init__(self, picture: Picture, camera: Camera, shake_rad: float, light: float, scene: Scene) -> None:
        self.picture = picture
        self.camera = camera
        self.shake_rad = shake_rad
        self.light = light
        self.haze = np.array(scene.look.haze)
        self.haze_m = scene.look.haze_m

    def fill(self, corners: Sequence[Corner], colour: Sequence[float], alpha: float = 1.0) -> None:
        """One flat polygon; blended over what is there where alpha is below 1."""
        import cv2

        pixels = self.camera.project(corners, self.shake_rad)
        if not np.isfinite(pixels).all():
            return
        pixels = np.clip(pixels, -4000, 4000)
        fixed = np.round(pixels * (1 << _SHIFT)).astype(np.int32)
        shown = self.hazed(colour, corners[0][0])
        if alpha >= 1:
            cv2.fillPoly(self.picture, [fixed], shown, cv2.LINE_AA, _SHIFT)
            return
        low = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 2, [self.camera.width, self.camera.height])
        if (high <= low).any():
            return
        patch = self.picture[low[1] : high[1], low[0] : high[0]]
        over = patch.copy()
        cv2.fillPoly(over, [fixed - (low << _SHIFT).astype(np.int32)], shown, cv2.LINE_AA, _SHIFT)
        cv2.addWeighted(over, alpha, patch, 1 - alpha, 0, dst=patch)

    def hazed(self, colour: Sequence[float], distance_m: float) -> tuple[float, float, float]:
        """Albedo under this light at that distance."""
        clear = np.exp(-max(distance_m, 0.0) / self.haze_m)
        r, g, b = np.clip(np.array(colour) * self.light * clear + self.haze * (1 - clear), 0, 255).tolist()
        return r, g, b

    def tree(self, tree: Tree, place: Corner) -> None:
        """Trunk and a crown of three discs."""
        import cv2

        x, y, _ = place
        if x < self.camera.x_m + 4:
            return
        trunk = [(x, y + 0.15, 0.0), (x, y - 0.15, 0.0), (x, y - 0.15, tree.crown_m), (x, y + 0.15, tree.crown_m)]
        self.fill(trunk, (70, 58, 46))
        for left, up, size, shade in ((0.5, 0.0, 0.75, 0.8), (-0.5, 0.1, 0.75, 0.95), (0.0, 0.6, 0.8, 1.1)):
            middle = (x, y + left * tree.radius_m, tree.crown_m + up * tree.radius_m)
            u, v = np.clip(self.camera.project(middle, self.shake_rad), -3000, 3000)
            radius = self.camera.focal_px * size * tree.radius_m / (x - self.camera.x_m)
            colour = self.hazed([c * shade for c in tree.colour], x)
            center = (round(float(u) * 16), round(float(v) * 16))
            cv2.circle(self.picture, center, max(round(radius * 16), 1), colour, -1, cv2.LINE_AA, _SHIFT)

    def vehicle(self, vehicle: Vehicle, place: Corner) -> None:
        """Shadow, side, roof line, rear and its details."""
        length, width, height = vehicle.size_m
        box = _Box(place, length, width, self.camera.x_m + NEAR_M)
        if box.front <= box.rear:
            return
        self.fill(box.ground(0.25), (26, 27, 30), alpha=0.75)
        body = 0.62 * height if vehicle.kind == "car" else height
        side = 1 if box.side_y(0.0) < self.camera.y_m else -1  # which long side faces the camera
        self._side(box, vehicle, side, body)
        if not box.cut:
            self._rear(box, vehicle, body)

    def _side(self, box: _Box, vehicle: Vehicle, side: int, body: float) -> None:
        colour, height = vehicle.colour, vehicle.size_m[2]
        self.fill(box.wall(side, 0.0, 1.0, 0.28, body), [0.72 * c for c in colour])
        if vehicle.kind == "car":
            self.fill(box.roof_wall(side, body, height), [0.3 * c + 16 for c in colour])
        for at in (0.16, 0.82):
            self.fill(box.wall(side, at - 0.07, at + 0.07, 0.0, 0.6), (18, 18, 20))

    def _rear(self, box: _Box, vehicle: Vehicle, body: float) -> None:
        colour, height = vehicle.colour, vehicle.size_m[2]
        self.fill(box.rear_face(-1, 1, 0.28, body), colour)
        if vehicle.kind == "car":
            self.fill(box.rear_trapeze(body, height, 0.78), [0.9 * c for c in colour])
            self.fill(box.rear_trapeze(body + 0.04, height - 0.1, 0.7), (34, 40, 46))
        elif vehicle.kind == "van":
            self.fill(box.rear_face(-0.8, 0.8, 0.62 * height, 0.9 * height), (34, 40, 46))
        else:
            self.fill(box.rear_face(-0.02, 0.02, 0.3, 0.97 * height), [0.6 * c for c in colour])
        self.fill(box.rear_face(-1, 1, 0.28, 0.42), (40, 40, 42))
        for low, high in ((-0.97, -0.72), (0.72, 0.97)):
            self.fill(box.rear_face(low, high, 0.62 * body, 0.84 * body), (178, 24, 22))
            self.fill(box.rear_face(low, high - 0.04, 0.0, 0.28), (16, 16, 18))
        self.fill(box.rear_face(-0.25, 0.25, 0.45, 0.57), (205, 205, 200))


class _Box:
    """Corner arithmetic of one vehicle; its rear is cut at the near plane."""

    def __init__(self, place: Corner, length: float, width: float, near_x_m: float) -> None:
        self.x, self.y, self.heading = place
        self.length, self.half = length, width / 2
        reach = max(np.cos(self.heading), 0.2)
        self.cut = self._at(-length / 2, 0, 0)[0] - abs(np.sin(self.heading)) * self.half < near_x_m
        self.rear = max(-length / 2, (near_x_m - self.x) / reach + self.half) if self.cut else -length / 2
        self.front = length / 2

    def _at(self, along: float, left: float, up: float) -> Corner:
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        return float(self.x + along * cos - left * sin), float(self.y + along * sin + left * cos), up

    def side_y(self, left: float) -> float:
        """y of the box's middle."""
        return self._at(self.rear, left, 0)[1]

    def ground(self, margin: float) -> list[Corner]:
        """Footprint with a margin."""
        rear = self.rear - (0 if self.cut else margin)
        return [
            self._at(along, side * (self.half + margin), 0.0)
            for along, side in ((rear, 1), (rear, -1), (self.front, -1), (self.front, 1))
        ]

    def wall(self, side: int, start: float, end: float, low: float, high: float) -> list[Corner]:
        """Part of a long side, from `start` to `end` of the full length (0 rear, 1 front), cut at the near plane."""
        a = max(-self.length / 2 + start * self.length, self.rear)
        b = max(-self.length / 2 + end * self.length, self.rear)
        left = side * self.half
        return [self._at(a, left, low), self._at(b, left, low), self._at(b, left, high), self._at(a, left, high)]

    def roof_wall(self, side: int, low: float, high: float) -> list[Corner]:
        """Cabin side of a car, narrower at the top."""
        points = ((0.04, low, 1.0), (0.74, low, 1.0), (0.58, high, 0.78), (0.14, high, 0.78))
        along = [max(-self.length / 2 + p * self.length, self.rear) for p, _, _ in points]
        return [self._at(a, side * self.half * w, up) for a, (_, up, w) in zip(along, points, strict=True)]

    def rear_face(self, start: float, end: float, low: float, high: float) -> list[Corner]:
        """Part of the rear, across from -1 (right) to 1 (left)."""
        a, b = start * self.half, end * self.half
        return [self._at(self.rear, left, up) for left, up in ((a, low), (b, low), (b, high), (a, high))]

    def rear_trapeze(self, low: float, high: float, top: float) -> list[Corner]:
        """Cabin rear of a car."""
        a, b = 0.94 * self.half, top * self.half
        inward = self.rear + 0.1 * self.length
        return [
            self._at(self.rear, -a, low),
            self._at(self.rear, a, low),
            self._at(inward, b, high),
            self._at(inward, -b, high),
        ]
