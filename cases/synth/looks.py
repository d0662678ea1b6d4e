"""Light, weather and sensor of a scene: colours in linear-ish 0-255 display values, drawn from a few kinds of day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Look", "draw_look"]

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Look:
    """How a scene looks.

    Attributes:
        sky_top, sky_low, haze: RGB of the sky overhead, at the horizon, and of far ground.
        haze_m: distance at which ground has lost 63 % of its colour.
        road, verge, white, yellow: RGB albedo times the light of the day.
        shadow: light left in shadow, 0 to 1 (1: no shadows).
        shade_threshold: how much of the canopy texture counts, 0 (all) to 1 (none).
        drift: relative brightness change of the automatic exposure; drift_hz its rhythm.
        noise: sensor noise, standard deviation in 8-bit steps.
        exposure_s: shutter time, which sets motion blur.
        softness_px: lens blur, standard deviation at 640 pixels width.
        vignette: darkening in the corners, 0 to 1.
        offset_m: shift of the ground textures along and across the road.
        skyline: phase of the hills, radians.
    """

    sky_top: Colour
    sky_low: Colour
    haze: Colour
    haze_m: float
    road: Colour
    verge: Colour
    white: Colour
    yellow: Colour
    shadow: float
    shade_threshold: float
    drift: float
    drift_hz: float
    noise: float
    exposure_s: float
    softness_px: float
    vignette: float
    offset_m: tuple[float, float]
    skyline: float


@dataclass(frozen=True, slots=True)
class _Day:
    """Ranges of one kind of day: light level, tint of the light, sky, shadow depth, noise, shutter."""

    light: tuple[float, float]
    tint: Colour
    sky_top: Colour
    sky_low: Colour
    shadow: tuple[float, float]
    shady: float
    noise: tuple[float, float]
    exposure_s: tuple[float, float]
    haze_m: tuple[float, float]


_DAYS = (
    _Day((0.85, 1.15), (1.0, 1.0, 0.98), (92, 140, 205), (190, 212, 232), (0.35, 0.6), 0.6, (0.8, 2.0),
         (0.001, 0.004), (250, 600)),  # sun
    _Day((0.7, 1.0), (0.97, 1.0, 1.03), (176, 184, 192), (214, 218, 222), (0.9, 1.0), 0.0, (1.0, 2.5),
         (0.003, 0.008), (120, 350)),  # overcast
    _Day((0.6, 0.95), (1.1, 0.98, 0.84), (110, 130, 175), (240, 214, 180), (0.3, 0.5), 0.75, (1.2, 2.8),
         (0.003, 0.008), (180, 400)),  # low sun
    _Day((0.32, 0.55), (0.95, 0.97, 1.1), (52, 62, 92), (120, 118, 128), (0.85, 1.0), 0.1, (2.5, 4.5),
         (0.010, 0.020), (150, 350)),  # dusk
)  # fmt: skip


def draw_look(rng: np.random.Generator) -> Look:
    """A kind of day, then everything within its ranges."""
    day = _DAYS[int(rng.choice(len(_DAYS), p=[0.35, 0.3, 0.2, 0.15]))]
    light = float(rng.uniform(*day.light))
    road = float(rng.uniform(62, 128))
    paint = float(rng.uniform(175, 235))
    warm = float(rng.uniform(-4, 8))
    green = float(rng.uniform(0, 1))
    verge = tuple(a + green * (b - a) for a, b in zip((148, 128, 96), (84, 112, 58), strict=True))

    def lit(colour: Colour) -> Colour:
        r, g, b = (light * c * t for c, t in zip(colour, day.tint, strict=True))
        return r, g, b

    return Look(
        sky_top=day.sky_top,
        sky_low=day.sky_low,
        haze=lit(day.sky_low) if light < 0.6 else day.sky_low,
        haze_m=float(rng.uniform(*day.haze_m)),
        road=lit((road + warm, road, road - warm)),
        verge=lit((verge[0], verge[1], verge[2])),
        white=lit((paint, paint, paint * 0.97)),
        yellow=lit((paint * 0.95, paint * 0.74, paint * 0.22)),
        shadow=float(rng.uniform(*day.shadow)),
        shade_threshold=0.0 if rng.random() < day.shady else 1.0,
        drift=float(rng.uniform(0.0, 0.08)),
        drift_hz=float(rng.uniform(0.05, 0.3)),
        noise=float(rng.uniform(*day.noise)),
        exposure_s=float(rng.uniform(*day.exposure_s)),
        softness_px=float(rng.uniform(0.45, 0.9)),
        vignette=float(rng.uniform(0.0, 0.3)),
        offset_m=(float(rng.uniform(0, 500)), float(rng.uniform(0, 500))),
        skyline=float(rng.uniform(0, 6.28)),
    )
