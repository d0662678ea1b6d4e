"""Renders a scene at a moment: sky, ground, paint, shadow, objects, then what lens and sensor do to them.

Without camera roll a row of the picture sees the ground at one distance, so a pixel's lateral coordinate is linear in
its column. Paint is not drawn as polygons: a stripe covers of each pixel the exact area between its two edges, and a
dash the exact share of the row's arc length (longer by the way driven while the shutter is open), so there is neither
aliasing nor rounding between paint and truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cases.picture import Ego
from cases.synth import textures
from cases.synth.camera import Camera, GroundRows
from cases.synth.conditions import under
from cases.synth.geometry import RoadView
from cases.synth.objects import draw_objects
from cases.synth.scene import DOUBLE, Marking, Scene, State, draw_scene

__all__ = ["Frame", "render_clip", "render_frame"]

Picture = NDArray[np.uint8]
Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Frame:
    """One rendered moment.

    rgb: uint8 [height, width, 3]. lines: y in metres at x = 0, 1, ..., 80 m, float64 [4 slots, 81], NaN rows where the
    road has no such line. ego: the vehicle's motion. shake_rad: pitch on top of the mount's at this moment.
    """

    rgb: Picture
    lines: NDArray[np.float64]
    ego: Ego
    shake_rad: float


def render_clip(
    seed: int, seconds: float, fps: float = 20.0, size: tuple[int, int] = (640, 360), condition: str | None = None
) -> Iterator[tuple[Picture, NDArray[np.float64], Ego]]:
    """Frames of a seed's scene at a fixed rate: (rgb, lines, ego), as in `Frame`.

    Args:
        condition: one of cases.synth.conditions.CONDITIONS.
    """
    scene = draw_scene(seed, seconds, size)
    scene = scene if condition is None else under(scene, condition)
    for index in range(round(seconds * fps)):
        frame = render_frame(scene, index / fps)
        yield frame.rgb, frame.lines, frame.ego


def render_frame(scene: Scene, t_s: float) -> Frame:
    """One moment of a scene; the same scene and time give the same bytes."""
    state = scene.state(t_s)
    view = scene.view(state)
    rows = scene.camera.ground_rows(state.shake_rad)
    picture = np.empty((scene.camera.height, scene.camera.width, 3), np.float32)
    picture[: rows.first] = _sky(scene, state, rows.first)
    picture[rows.first :] = _ground(scene, state, view, rows)
    solid = np.clip(picture, 0, 255).astype(np.uint8)
    draw_objects(solid, scene, state, view, scene.look.white[1] / 225)
    return Frame(_exposed(solid, scene, state), scene.truth(view), state.ego, state.shake_rad)


def _sky(scene: Scene, state: State, rows: int) -> Image:
    """Gradient and two ranges of hills that stay put in the world, [rows, width, 3]."""
    camera, look = scene.camera, scene.look
    horizon = camera.horizon_row(state.shake_rad)
    v = np.arange(rows, dtype=np.float32)[:, None]
    low = np.clip(v / max(horizon, 1.0), 0, 1) ** 1.5
    sky = (
        np.asarray(look.sky_top, np.float32) * (1 - low[..., None])
        + np.asarray(look.sky_low, np.float32) * low[..., None]
    )
    image = np.broadcast_to(sky, (rows, camera.width, 3)).astype(np.float32)
    azimuth = state.pose.yaw_rad - np.arctan((np.arange(camera.width) - camera.center[0]) / camera.focal_px)
    for height, rate, nearness in ((0.045, 5.0, 0.35), (0.022, 23.0, 0.75)):
        ridge = 0.6 + 0.25 * np.sin(rate * azimuth + look.skyline) + 0.15 * np.sin(3.7 * rate * azimuth + 1.0)
        top = (horizon - camera.focal_px * height * ridge).astype(np.float32)
        colour = (1 - nearness) * np.asarray(look.haze) + nearness * 0.62 * np.asarray(look.verge)
        first = max(int(top.min()) - 1, 0)
        cover = np.clip(v[first:] - top + 0.5, 0, 1)[..., None]
        image[first:] += cover * (colour.astype(np.float32) - image[first:])
    return image


def _ground(scene: Scene, state: State, view: RoadView, rows: GroundRows) -> Image:
    """Verge, road, paint and shadow, [ground rows, width, 3]."""
    look, camera = scene.look, scene.camera
    lattice = _Lattice(camera, view, rows)
    grain, coarse = (
        lattice.sample(textures.fine(), textures.FINE_M, look.offset_m),
        lattice.sample(textures.coarse(), textures.COARSE_M, look.offset_m),
    )
    grain_fade, coarse_fade = lattice.fade(0.03), lattice.fade(1.2)
    verge = 1 + 0.16 * grain[..., 1] * grain_fade + 0.12 * coarse[..., 3] * coarse_fade
    road = 1 + 0.055 * grain[..., 0] * grain_fade + 0.05 * coarse[..., 0] * coarse_fade
    image = _blend(
        verge[..., None] * np.asarray(look.verge, np.float32),
        lattice.stripe(*scene.shoulder_m),
        road[..., None] * np.asarray(look.road, np.float32),
    )
    for seam in scene.seams_m:
        image *= (1 - 0.35 * lattice.stripe(seam + 0.03, seam - 0.03))[..., None]
    driven = state.ego.speed_mps or 0.0
    for colour, group in ((look.white, False), (look.yellow, True)):
        marks = [m for m in scene.markings if m.yellow == group]
        if marks:
            cover = lattice.paint(marks, driven * look.exposure_s, coarse[..., 1])
            image = _blend(image, cover, np.asarray(colour, np.float32))
    if look.shadow < 0.9 and look.shade_threshold < 1:
        image *= (1 - (1 - look.shadow) * coarse[..., 2] * coarse_fade)[..., None]
    clear = np.exp(-rows.x_m / look.haze_m).astype(np.float32)[:, None, None]
    return np.asarray(image * clear + np.asarray(look.haze, np.float32) * (1 - clear), np.float32)


def _blend(under: Image, cover: Image, over: Image) -> Image:
    """over where cover is 1, under where it is 0."""
    return np.asarray(under + cover[..., None] * (over - under), np.float32)


class _Lattice:
    """Road coordinates of every ground pixel, as one offset and one slope per row, and what can be made of them."""

    def __init__(self, camera: Camera, view: RoadView, rows: GroundRows) -> None:
        self.camera, self.view, self.rows = camera, view, rows
        self.column = np.arange(camera.width, dtype=np.float32)
        self.metre_px = (camera.focal_px / rows.range_m).astype(np.float32)  # pixels of a metre across
        reference_y, reference_s = view.parallel_at(0.0, np.clip(rows.x_m, None, view.x_m.max() - 0.5))
        heading = np.interp(reference_s, view.s_m, view.heading_rad)
        # across = y - reference_y at the pixel; lateral and along follow by the road's heading there
        start = camera.y_m - reference_y + camera.center[0] / self.metre_px
        self.lateral = (start * np.cos(heading), -np.cos(heading) / self.metre_px)
        self.along = (reference_s + start * np.sin(heading), -np.sin(heading) / self.metre_px)
        self.reference_s = reference_s

    def sample(self, texture: Image, texel_m: float, offset_m: tuple[float, float]) -> Image:
        """The texture at every pixel, wrapped, bilinear: [rows, width, channels]."""
        import cv2

        maps = []
        for (start, slope), shift in zip((self.lateral, self.along), offset_m, strict=True):
            first = np.mod((start + shift) / texel_m, textures.SIZE)
            maps.append(self._spread(first, slope / texel_m))
        return np.asarray(cv2.remap(texture, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))

    def fade(self, feature_m: float) -> Image:
        """Contrast that a texture of that feature size keeps in each row, [rows, 1]: small features vanish far away."""
        footprint = np.maximum(self.rows.far_m - self.rows.near_m, 0.0)
        return (1 / (1 + (footprint / (3 * feature_m)) ** 2)).astype(np.float32)[:, None]

    def stripe(self, left_m: float | NDArray[np.float64], right_m: float | NDArray[np.float64]) -> Image:
        """Share of each pixel between two lines along the road, as RoadView.parallel takes them, [rows, width]."""
        return np.asarray(self._right_of(left_m) - self._right_of(right_m))

    def paint(self, marks: list[Marking], blur_m: float, wear: Image) -> Image:
        """Opacity of all those markings, [rows, width]."""
        total = np.zeros((len(self.rows.x_m), self.camera.width), np.float32)
        for mark in marks:
            shift = (mark.width_m + mark.gap_m) / 2
            share = (mark.strength * self._painted(mark, blur_m)).astype(np.float32)[:, None]
            lateral = mark.lateral_m(self.view.s_m)
            for middle in (lateral + shift, lateral - shift) if mark.kind == DOUBLE else (lateral,):
                stripe = self.stripe(middle + mark.width_m / 2, middle - mark.width_m / 2)
                total += stripe * share * (1 - mark.wear * wear)
        return total

    def _right_of(self, lateral_m: float | NDArray[np.float64]) -> Image:
        """Share of each pixel's area to the right, in the picture, of one line along the road, [rows, width]."""
        y, _ = self.view.parallel_at(lateral_m, self.rows.x_m)
        edge = self.camera.center[0] + (self.camera.y_m - np.where(np.isfinite(y), y, -1e4)) * self.metre_px
        slope = np.clip(np.abs(np.gradient(edge)), 0, 50) if len(edge) > 1 else np.zeros_like(edge)
        per_px = (1 / np.sqrt(1 + slope**2)).astype(np.float32)
        return np.clip(self._spread(0.5 - edge * per_px, per_px), 0, 1)

    def _painted(self, mark: Marking, blur_m: float) -> NDArray[np.float64]:
        """Share of each row's arc length that a dash pattern paints, [rows]."""
        if mark.dash_m >= mark.period_m:
            return np.ones(len(self.rows.x_m))
        lateral = mark.lateral_m(self.view.s_m)
        far = self.view.parallel_at(lateral, self.rows.far_m)[1] + mark.phase_m
        near = self.view.parallel_at(lateral, self.rows.near_m)[1] + mark.phase_m
        start, end = near, far + blur_m
        length = np.maximum(end - start, 1e-6)
        share = (_painted_before(end, mark) - _painted_before(start, mark)) / length
        return np.where(np.isfinite(share), share, mark.dash_m / mark.period_m)

    def _spread(self, start: NDArray[np.floating], slope: NDArray[np.floating]) -> Image:
        """start + slope * column for every pixel, float32 [rows, width]."""
        first, step = np.asarray(start, np.float32), np.asarray(slope, np.float32)
        return np.asarray(first[:, None] + step[:, None] * self.column)


def _painted_before(s_m: NDArray[np.float64], mark: Marking) -> NDArray[np.float64]:
    """Painted length from s = 0 to s: the dash pattern's antiderivative."""
    periods = np.floor(s_m / mark.period_m)
    return periods * mark.dash_m + np.minimum(s_m - periods * mark.period_m, mark.dash_m)


def _exposed(picture: Picture, scene: Scene, state: State) -> Picture:
    """Lens blur, shutter blur of the pitch rate, exposure, vignette, sensor noise, rounding."""
    import cv2

    look, camera = scene.look, scene.camera
    sigma = look.softness_px * camera.width / 640
    smear = abs(state.shake_rate_radps) * look.exposure_s * camera.focal_px
    soft = cv2.GaussianBlur(picture, (0, 0), sigmaX=sigma, sigmaY=float(np.hypot(sigma, smear / np.sqrt(12))))
    drift = 1 + look.drift * np.sin(2 * np.pi * look.drift_hz * state.t_s + look.skyline)
    gain = _vignette(camera.height, camera.width)
    lit = cv2.multiply(soft, ((1 - look.vignette * gain) * drift).astype(np.float32), dtype=cv2.CV_32F)
    rng = np.random.default_rng([scene.seed, 99, round(state.t_s * 1_000_000)])
    bank = textures.noise_bank(camera.height, camera.width)
    row, column = rng.integers(0, 64, 2)
    noise = bank[row : row + camera.height, column : column + camera.width]
    noisy = cv2.scaleAdd(np.ascontiguousarray(noise), look.noise, lit)
    return np.asarray(cv2.convertScaleAbs(np.maximum(noisy, 0)), np.uint8)


def _vignette(height: int, width: int) -> Image:
    """Darkening from 0 in the middle to 1 in the corners, [height, width, 3]."""
    v = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    u = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    return np.repeat(((u**2 + v**2) / 2)[..., None], 3, axis=2)
