"""What a generator of candidate edits sees of a hypothesis: its chain, what it renders, and the car's tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.picture import Picture
from harness.diagnosis.chain import READS_PLANES, Chain
from harness.diagnosis.fit import Motion, motion
from harness.diagnosis.scene import Scene

__all__ = ["View"]

Stack = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """A hypothesis on the frames that edits are fitted on.

    Attributes:
        scene: pictures and tensors.
        chain: of the hypothesis.
        positions: the frames.
        rendered, target: [frames, height, width, channels], levels.
    """

    scene: Scene
    chain: Chain
    positions: tuple[int, ...]
    rendered: Stack
    target: Stack

    @cached_property
    def still(self) -> Motion:
        """How the rendered content must move, without a change of scale."""
        return motion(self.rendered, self.target)

    @cached_property
    def zooming(self) -> Motion:
        """How the rendered content must move and be scaled."""
        return motion(self.rendered, self.target, zoom=True)

    @cached_property
    def picture(self) -> Picture:
        """A picture of the chain's camera."""
        return next(p for (camera, _), p in self.scene.pictures.items() if camera == self.chain.camera)

    def reaches(self, step: int) -> Any:
        """What reaches a step on the first frame."""
        return self.scene.before(self.chain, self.positions[0], step)

    @cached_property
    def planes(self) -> Picture | None:
        """The YCbCr picture that the colour step reads; None where pixels are RGB already."""
        at = self.chain.index(READS_PLANES)
        value = None if at is None else self.reaches(at)
        is_planes = isinstance(value, Picture) and value.pixel_format in ("nv12", "yuv420p")
        return value if is_planes else None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the tensors."""
        return self.target.shape[2], self.target.shape[1]

    @property
    def channels(self) -> int:
        """Of the tensors."""
        return int(self.target.shape[3])

    @property
    def bgr(self) -> bool:
        """Whether blue stands first behind the colour step."""
        at = self.chain.index(READS_PLANES)
        return at is not None and self.chain.steps[at]["op"] == "to_bgr"
