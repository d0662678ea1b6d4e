"""What of a report's situation is free: seed, names, sizes, number of lines. docs/reports.md shows seed 0."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["CANONICAL", "Variant", "drawn"]

NAMES_OF_IMAGES = ("image", "input_rgb", "frame", "x0", "pixels")
NAMES_OF_LINES = ("lines", "lane_y", "output_0", "y_m", "polylines")
NAMES_OF_CASES = ("road", "drive_017", "A9-night", "loop.2")
NAMES_OF_MODULES = ("network", "lane_net", "model_v2")


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to build a report's situation.

    Attributes:
        seed: of textures, weights and sizes of errors.
        image, lines: names of the model's input and output.
        case, camera: names in the recording.
        module: name of the Python file that holds the network.
        height, width: of the network's input, pixels; the width is a multiple of 2 x count.
        count: number of lines.
        frames: of the recording.
        fps: frames a second.
        metres: lateral width that the input spans.
    """

    seed: int = 0
    image: str = "image"
    lines: str = "lines"
    case: str = "road"
    camera: str = "front"
    module: str = "network"
    height: int = 32
    width: int = 64
    count: int = 2
    frames: int = 16
    fps: float = 20.0
    metres: float = 16.0

    @property
    def rows(self) -> int:
        """Points of a line: one for every two rows of pixels."""
        return self.height // 2

    @property
    def stations(self) -> list[float]:
        """x of the points, metres."""
        return [round(80.0 * k / (self.rows - 1), 3) for k in range(self.rows)]


CANONICAL = Variant()


def drawn(seed: int) -> Variant:
    """The variant of a seed; 0 is the canonical one."""
    if seed == 0:
        return CANONICAL
    free = random.Random(seed)
    count = free.choice((2, 3, 4))
    return Variant(
        seed=seed,
        image=free.choice(NAMES_OF_IMAGES),
        lines=free.choice(NAMES_OF_LINES),
        case=free.choice(NAMES_OF_CASES),
        camera=free.choice(("front", "cam_wide", "narrow")),
        module=free.choice(NAMES_OF_MODULES),
        height=free.choice((24, 32, 40, 48)),
        width=count * free.choice((16, 24, 32)),
        count=count,
        frames=free.choice((12, 16, 24)),
        fps=free.choice((10.0, 20.0, 30.0)),
        metres=count * free.choice((7.0, 8.0, 10.0)),
    )
