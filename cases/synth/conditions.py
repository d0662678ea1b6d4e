"""Hard conditions on top of a seed's scene: night, rain, worn paint, a lane that ends.

The road, the motion and the traffic stay the seed's; light, paint or the outer lines are changed. Truth follows. No
training picture of the demo model has any of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cases.errors import ImportSourceError
from cases.synth.looks import Colour, Look
from cases.synth.scene import Scene, Taper

__all__ = ["CONDITIONS", "under"]


def under(scene: Scene, condition: str) -> Scene:
    """The scene of the same seed under that condition.

    Raises:
        ImportSourceError: no such condition.
    """
    if condition not in CONDITIONS:
        raise ImportSourceError(
            f"no condition {condition!r}", where="condition", remedy=f"use one of {', '.join(CONDITIONS)}"
        )
    change, number = CONDITIONS[condition]
    return change(scene, np.random.default_rng([scene.seed, 100 + number]))


def _night(scene: Scene, rng: np.random.Generator) -> Scene:
    """Headlights: ground is lost in the dark within tens of metres; long shutter, much noise, no shadows."""
    look = scene.look
    light = float(rng.uniform(0.75, 1.1)) * 170 / look.white[1]
    dark = (4.0, 5.0, 9.0)
    return replace(
        scene,
        look=replace(
            _lit(look, light),
            sky_top=dark,
            sky_low=(10.0, 11.0, 16.0),
            haze=dark,
            haze_m=float(rng.uniform(30, 55)),
            shade_threshold=1.0,
            noise=float(rng.uniform(4, 7)),
            exposure_s=float(rng.uniform(0.02, 0.03)),
        ),
    )


def _rain(scene: Scene, rng: np.random.Generator) -> Scene:
    """Spray takes the contrast, drops soften, the wet road is dark and its paint dull."""
    look, grey = _lit(scene.look, float(rng.uniform(0.6, 0.85))), float(rng.uniform(130, 170))
    wet = replace(
        look,
        sky_top=(grey, grey, grey + 4),
        sky_low=(grey + 14, grey + 14, grey + 16),
        haze=(grey + 8, grey + 8, grey + 10),
        haze_m=float(rng.uniform(45, 90)),
        shade_threshold=1.0,
        noise=look.noise + float(rng.uniform(1, 2.5)),
        softness_px=float(rng.uniform(1.2, 1.9)),
    )
    dull = float(rng.uniform(0.5, 0.75))
    return replace(scene, look=wet, markings=tuple(replace(m, strength=dull * m.strength) for m in scene.markings))


def _worn_paint(scene: Scene, rng: np.random.Generator) -> Scene:
    """What the tyres left of it."""
    left = float(rng.uniform(0.3, 0.5))
    worn = tuple(replace(m, wear=float(rng.uniform(0.8, 1.0)), strength=left * m.strength) for m in scene.markings)
    return replace(scene, markings=worn)


def _merge(scene: Scene, rng: np.random.Generator) -> Scene:
    """The lane beside the vehicle's ends: the lines beyond it move in by its width, 30 to 60 m ahead at the start."""
    lines, right = scene.markings, scene.ego_left + 2 < len(scene.markings)
    inner, outer = (scene.ego_left + 1, scene.ego_left + 2) if right else (scene.ego_left, scene.ego_left - 1)
    if not 0 <= outer < len(lines):
        return scene  # one lane only: there is none beside it
    start = scene.state(0.0).s_m + float(rng.uniform(30, 60))
    taper = Taper(start, start + float(rng.uniform(70, 110)), lines[inner].offset_m - lines[outer].offset_m)
    moved = {i for i in range(len(lines)) if (i >= outer if right else i <= outer)}
    return replace(scene, markings=tuple(replace(m, taper=taper) if i in moved else m for i, m in enumerate(lines)))


def _lit(look: Look, gain: float) -> Look:
    """Ground and paint under that share of the light."""

    def times(colour: Colour) -> Colour:
        r, g, b = (gain * part for part in colour)
        return r, g, b

    return replace(
        look, road=times(look.road), verge=times(look.verge), white=times(look.white), yellow=times(look.yellow)
    )


# name -> (what it changes, number of its random stream)
CONDITIONS: dict[str, tuple[Callable[[Scene, np.random.Generator], Scene], int]] = {
    "night": (_night, 0),
    "rain": (_rain, 1),
    "worn-paint": (_worn_paint, 2),
    "merge": (_merge, 3),
}
