"""The table of perturbations, in the order in which they happen on the way of a picture.

Severity 1 is what two good deployments differ by, severity 5 what nobody would ship. Amounts in pixels are of the
recorded picture.
"""

from __future__ import annotations

from harness.errors import UsageError
from harness.sweep import geometric, photometric, timing
from harness.sweep.perturbation import Perturbation

__all__ = ["PERTURBATIONS", "chosen"]

_STEPS = "8-bit steps"
_SUB = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)
_SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
_FACTORS = (1.1, 1.25, 1.5, 2.2, 3.0)

_ALL = (
    Perturbation("pitch", "geometry", "deg", (0.05, 0.1, 0.2, 0.4, 0.8), "camera turned nose down",
                 signed=True, move=geometric.pitch),
    Perturbation("yaw", "geometry", "deg", (0.05, 0.1, 0.2, 0.4, 0.8), "camera turned to the left",
                 signed=True, move=geometric.yaw),
    Perturbation("roll", "geometry", "deg", (0.05, 0.1, 0.2, 0.4, 0.8), "camera turned clockwise about its axis",
                 signed=True, move=geometric.roll),
    Perturbation("height", "geometry", "m", (0.01, 0.02, 0.04, 0.07, 0.1), "camera lifted",
                 signed=True, move=geometric.height),
    Perturbation("shift-right", "geometry", "px", _SUB, "picture moved to the right",
                 signed=True, move=geometric.shift_right),
    Perturbation("shift-down", "geometry", "px", _SUB, "picture moved down", signed=True, move=geometric.shift_down),
    Perturbation("crop", "geometry", "px", (1, 2, 4, 8, 16), "rows and columns cut off at the top and left",
                 move=geometric.crop),
    Perturbation("scale", "geometry", "share", (0.002, 0.005, 0.01, 0.02, 0.04), "picture enlarged about its middle",
                 signed=True, move=geometric.scale),
    Perturbation("blur", "optics", "px", (0.4, 0.7, 1.0, 1.5, 2.5), "Gaussian blur, sigma", draw=photometric.blur),
    Perturbation("motion-blur", "optics", "px", (1.5, 3, 5, 8, 12), "mean along a horizontal way",
                 draw=photometric.motion_blur),
    Perturbation("noise", "sensor", _STEPS, (1, 2, 4, 8, 16), "Gaussian noise, sigma", draw=photometric.noise),
    Perturbation("brighter", "sensor", _STEPS, (4, 8, 16, 32, 64), "every value raised",
                 signed=True, draw=photometric.brightness),
    Perturbation("darker", "sensor", _STEPS, (-4, -8, -16, -32, -64), "every value lowered",
                 signed=True, draw=photometric.brightness),
    Perturbation("gamma-dark", "sensor", "log2", (0.05, 0.1, 0.2, 0.4, 0.7), "gamma above 1: middle tones darker",
                 signed=True, draw=photometric.gamma),
    Perturbation("gamma-bright", "sensor", "log2", (-0.05, -0.1, -0.2, -0.4, -0.7),
                 "gamma below 1: middle tones brighter", signed=True, draw=photometric.gamma),
    Perturbation("range-dull", "colour", "share", _SHARES, "on the way to limited range shown as full",
                 draw=photometric.limited_read_as_full),
    Perturbation("range-harsh", "colour", "share", _SHARES, "on the way to full range stretched as limited",
                 draw=photometric.full_read_as_limited),
    Perturbation("matrix", "colour", "share", _SHARES, "on the way to BT.601 read as BT.709",
                 signed=True, draw=photometric.other_matrix),
    Perturbation("chroma", "colour", "factor", (2, 3, 4, 6, 8), "colour at a lower resolution", neutral=1.0,
                 draw=photometric.chroma_subsampling),
    Perturbation("chroma-shift", "colour", "px", (0.25, 0.5, 1.0, 1.5, 2.0), "colour moved against brightness",
                 signed=True, draw=photometric.chroma_shift),
    Perturbation("rescale-area", "codec", "factor", _FACTORS, "shrunk by area averages and enlarged again",
                 neutral=1.0, draw=photometric.rescaled_by("area")),
    Perturbation("rescale-bilinear", "codec", "factor", _FACTORS, "shrunk bilinearly, not smoothed, and enlarged",
                 neutral=1.0, draw=photometric.rescaled_by("bilinear")),
    Perturbation("rescale-cubic", "codec", "factor", _FACTORS, "shrunk with cubics, not smoothed, and enlarged",
                 neutral=1.0, draw=photometric.rescaled_by("cubic")),
    Perturbation("rescale-nearest", "codec", "factor", _FACTORS, "shrunk to the nearest pixels and enlarged again",
                 neutral=1.0, draw=photometric.rescaled_by("nearest")),
    Perturbation("jpeg", "codec", "100 - quality", (10, 25, 45, 65, 85), "JPEG and back", draw=photometric.jpeg),
    Perturbation("dropped", "time", "share", (0.02, 0.05, 0.1, 0.2, 0.4), "moments without a picture",
                 timing=timing.dropped),
    Perturbation("repeated", "time", "share", (0.02, 0.05, 0.1, 0.2, 0.4), "moments with the picture before",
                 timing=timing.repeated),
    Perturbation("time-jitter", "time", "ms", (2, 5, 10, 20, 40), "motion data off in time, sigma",
                 timing=timing.late_motion),
)  # fmt: skip
PERTURBATIONS: dict[str, Perturbation] = {p.name: p for p in _ALL}


def chosen(names: tuple[str, ...]) -> tuple[Perturbation, ...]:
    """The perturbations of these names, or of these kinds (`geometry`), in the table's order; all where none is given.

    Raises:
        UsageError: a name that is neither.
    """
    for name in names:
        if name not in PERTURBATIONS and name not in {p.kind for p in _ALL}:
            raise UsageError(
                f"no perturbation {name!r}",
                where="--perturbations",
                remedy=f"use {', '.join(PERTURBATIONS)}, or a kind: {', '.join(dict.fromkeys(p.kind for p in _ALL))}",
            )
    return tuple(p for p in _ALL if not names or p.name in names or p.kind in names)
