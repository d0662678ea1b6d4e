"""What is compared: recorded pictures, the car's tensors, and every hypothesis rendered from the first.

All is compared as pixels [height, width, channels] in levels: steps of 8 bit, 0..255 where the declared pipeline is
right. A tensor becomes levels by undoing the declared normalisation.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.picture import Picture
from harness.diagnosis.chain import OWN, Chain, Step
from harness.diagnosis.steps import misread
from harness.feed.preprocess.geometry import CalibrationLike
from harness.feed.preprocess.ops import Apply, bind
from trueline import TruelineError

__all__ = ["Levels", "Scene", "Units", "units_of"]

Levels = NDArray[np.float32]
"""[height, width, channels], steps of 8 bit."""

CACHE_BYTES = 400_000_000
FAINTEST = 1e-6


@dataclass(frozen=True)
class Units:
    """Between tensors and levels: tensor = (level scale - mean) / std, by channel.

    Attributes:
        scale: of one level; 1 / 255 as training code does.
        mean, std: [channels] or a number.
    """

    scale: float = 1.0
    mean: NDArray[np.float32] = field(default_factory=lambda: np.zeros(1, np.float32))
    std: NDArray[np.float32] = field(default_factory=lambda: np.ones(1, np.float32))

    def levels(self, tensor: NDArray[Any]) -> Levels:
        """A tensor [height, width, channels] in levels."""
        return np.asarray((tensor.astype(np.float32) * self.std + self.mean) / np.float32(self.scale), np.float32)

    def reread(self, shown: NDArray[np.float32], order: str) -> NDArray[np.float32]:
        """Pictures in levels, [frames, height, width, channels], their tensors read in another layout."""
        tensors = (shown * np.float32(self.scale) - self.mean) / self.std
        return np.stack([self.levels(misread(t, order)) for t in tensors])


def units_of(steps: Sequence[Step]) -> Units:
    """Of the last `normalise` step; without one a tensor is in levels already."""
    last = next((s for s in reversed(steps) if s["op"] == "normalise"), None)
    if last is None:
        return Units()
    scale = 1 / 255 if last["scale"] is None else float(last["scale"])
    return Units(scale or 1 / 255, *(np.atleast_1d(np.asarray(last[k], np.float32)) for k in ("mean", "std")))


class Scene:
    """Pictures and tensors of some moments of one case.

    Args:
        declared: the pipeline that is said to run.
        pictures: (camera, position) -> picture; positions count the case's moments.
        targets: position -> the car's tensor, [height, width, channels].
        units: of the tensors.
        calibration: of each camera, for `undistort`.
        root: folder of the card, for dotted paths.

    Attributes:
        likeliest: how many moments late a frame looks, by what was asked; filled by harness/diagnosis/time_edits.py.
    """

    def __init__(
        self,
        declared: Chain,
        pictures: Mapping[tuple[str, int], Picture],
        targets: Mapping[int, NDArray[Any]],
        units: Units,
        calibration: Mapping[str, CalibrationLike | None],
        root: Path | None,
    ) -> None:
        self.declared = declared
        self.units = units
        self.pictures = pictures
        self.targets = {at: units.levels(tensor) for at, tensor in targets.items()}
        self.calibration = calibration
        self._root = root
        last = declared.steps[-1] if declared.steps else {}
        self._last = declared.keys[-1] if last.get("op") == "normalise" else None
        self._bound: dict[tuple[str, str], Apply | None] = {}
        self.likeliest: dict[tuple[Any, ...], int] = {}
        self._made: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._bytes = 0

    @cached_property
    def faintness(self) -> float:
        """What a square level of the car's tensors is worth: 1, less where they have less contrast than declared.

        Divided by 255 once too often, a car's tensor has a noise of 0.01 levels: little and much are told by this.
        """
        shown = {at: self.render(self.declared, at) for at in self.targets}
        pairs = [(s.var(), self.targets[at].var()) for at, s in shown.items() if s is not None]
        ours, theirs = (float(sum(side)) for side in zip(*pairs, strict=True)) if pairs else (1.0, 1.0)
        return min(1.0, max(theirs / max(ours, FAINTEST), FAINTEST))

    @property
    def positions(self) -> tuple[int, ...]:
        """Moments at which there is a tensor of the car."""
        return tuple(self.targets)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras that there are pictures of."""
        return tuple(dict.fromkeys(camera for camera, _ in self.pictures))

    def first_picture(self) -> Picture:
        """A picture of the declared camera."""
        return next(p for (camera, _), p in self.pictures.items() if camera == self.declared.camera)

    def render(self, chain: Chain, position: int) -> Levels | None:
        """What the chain makes of a moment; None where it cannot run, or gives another shape than the car's."""
        stop = len(chain.steps)
        as_declared = stop > 1 and chain.keys[-1] == self._last  # then levels are what reaches it
        value = self._run(chain, position, stop - as_declared)
        if not isinstance(value, np.ndarray):
            return None
        pixels = self._pixels(value, chain)
        if as_declared and pixels is not None and pixels.shape == self.targets[position].shape:
            return pixels.astype(np.float32)
        if pixels is None or pixels.shape != self.targets[position].shape:
            return None
        return self.units.levels(pixels)

    def as_pictures(self, chain: Chain, shown: NDArray[np.float32]) -> NDArray[np.float32]:
        """What a chain renders, or the car's, [frames, height, width, channels], as it was before memory was misread.

        Neighbours are neighbours again, so that motion, edges and noise can be measured.
        """
        at = chain.index((f"{OWN}misread",))
        if at is None:
            return shown
        return self.units.reread(shown, " as ".join(reversed(str(chain.steps[at]["order"]).split(" as "))))

    def before(self, chain: Chain, position: int, step: int) -> Any:
        """What reaches a step, None where it cannot run so far."""
        return self._run(chain, position, step)

    def _pixels(self, value: NDArray[Any], chain: Chain) -> NDArray[Any] | None:
        if value.ndim == 4 and len(value) == 1:
            layout = next((s["layout"] for s in reversed(chain.steps) if s["op"] == "layout"), "NCHW")
            return np.asarray(value[0].transpose(1, 2, 0) if layout == "NCHW" else value[0])
        if value.ndim == 2:
            return value[..., None]
        return value if value.ndim == 3 else None

    def _run(self, chain: Chain, position: int, stop: int) -> Any:
        """The value after `stop` steps, each step once for all chains that begin alike."""
        at = (chain.camera, chain.timing.source(position))
        if stop == 0:
            picture = self.pictures.get(at)
            return picture.data if picture is not None and picture.pixel_format == "tensor" else picture
        key = (*at, chain.keys[:stop])
        if key in self._made:
            self._made.move_to_end(key)
            return self._made[key]
        value = self._run(chain, position, stop - 1)
        made = None if value is None else self._applied(chain.keys[stop - 1], chain.camera, value)
        self._keep(key, made)
        return made

    def _applied(self, step: str, camera: str, value: Any) -> Any:
        try:
            if (step, camera) not in self._bound:
                self._bound[step, camera] = None
                self._bound[step, camera] = bind(json.loads(step), self.calibration.get(camera), self._root, "deploy")
            run = self._bound[step, camera]
            return None if run is None else run(value)
        except (TruelineError, TypeError, ValueError, IndexError):
            return None  # a hypothesis that cannot run is none

    def _keep(self, key: tuple[Any, ...], value: Any) -> None:
        self._made[key] = value
        self._bytes += getattr(value, "nbytes", 0)
        while self._bytes > CACHE_BYTES:
            _, dropped = self._made.popitem(last=False)
            self._bytes -= getattr(dropped, "nbytes", 0)
