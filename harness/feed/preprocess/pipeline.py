"""A pipeline: the steps of a card, checked and bound once, then run on every picture."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.picture import Picture
from engines.foreign import guarded, outside
from harness.errors import PreprocessError
from harness.feed.preprocess.geometry import CalibrationLike
from harness.feed.preprocess.mixing import checked_steps
from harness.feed.preprocess.ops import OPS, Apply, Value, bind
from harness.feed.preprocess.shared import Prefix, SharedSteps, prefixes_of
from harness.feed.preprocess.values import arrange
from harness.model.card import InputSpec

__all__ = ["Pipeline", "Size", "build_pipeline"]

Array = NDArray[Any]
Size = tuple[int, ...]
"""Height and width, pixels."""


def build_pipeline(
    steps: Sequence[Mapping[str, Any]],
    spec: InputSpec,
    calibration: CalibrationLike | None = None,
    where: str = "preprocess",
    root: Path | None = None,
    shared: SharedSteps | None = None,
) -> Pipeline:
    """Bind the steps of one input.

    Args:
        steps: `{op = "...", step = "...", option = ...}` each; none at all passes tensors through.
        spec: the input: shape, dtype and layout that must come out.
        calibration: of the camera, for `undistort`.
        where: file and key, for messages.
        root: folder of the card, for dotted paths.
        shared: with the other pipelines of the same camera of the same case; None: it runs all its steps.

    Raises:
        PreprocessError: an unknown op or option, a step's name used twice, a dotted path that does not import.
    """
    checked = checked_steps(steps, where)
    bound = [(str(s["step"]), bind(s, calibration, root, f"{where}, step {s['step']}")) for s in checked]
    foreign = {str(s["step"]) for s in checked if s["op"] not in OPS}
    return Pipeline(bound, spec, where, foreign, shared, prefixes_of(checked, OPS) if shared else ())


class Pipeline:
    """From a recorded picture to the input tensor; see `build_pipeline`.

    Steps named in `foreign` are not ours and may write to what they are given, and use again what they gave. What
    comes of the first steps, `prefixes`, is `shared` with other pipelines.
    """

    def __init__(
        self,
        steps: Sequence[tuple[str, Apply]],
        spec: InputSpec,
        where: str,
        foreign: Collection[str] = (),
        shared: SharedSteps | None = None,
        prefixes: Sequence[Prefix] = (),
    ) -> None:
        self._steps = tuple(steps)
        self._foreign = foreign
        self._spec = spec
        self._where = where
        self._dtype = np.dtype(spec.dtype)
        self._shape = spec.shape
        self._shared, self._prefixes = shared or SharedSteps(), prefixes
        self._shared.join(prefixes)

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of the steps, in order."""
        return tuple(name for name, _ in self._steps)

    def __call__(self, picture: Picture, sizes: dict[str, Size] | None = None) -> Array:
        """The input tensor of one picture, in the spec's shape, dtype and layout.

        The picture is never written to; without steps its own array is returned.

        Args:
            picture: as recorded.
            sizes: filled with the size of what reaches each step, as far as they run.

        Raises:
            PreprocessError: a step cannot run on what reaches it, or the result is not what the input needs.
        """
        if not self._steps:
            data = picture.data
            if data.shape == self._shape and data.dtype == self._dtype:
                return data
        done, value = (0, picture) if sizes is not None else self._shared.begin(picture, self._prefixes)
        for index, (name, apply) in enumerate(self._steps[done:], start=done):
            if sizes is not None:
                sizes[name] = _size(value)
            try:
                run = self._of_others if name in self._foreign else self._of_ours
                value = run(name, apply, value)
            except PreprocessError as error:
                raise (error if self._where in error.where else error.within(f"{self._where}, step {name}")) from None
            if sizes is None and index < len(self._prefixes):
                self._shared.keep(self._prefixes[index], value)
        return self._finished(value)

    def _of_others(self, name: str, apply: Apply, value: Value) -> Value:
        """A step of the card's own: it gets pixels of its own; what it gives is copied, as it may use it again."""
        with outside(lambda cause: self._cannot(name, value, cause)):
            made = apply(_copied(value))
            if not isinstance(made, Picture | np.ndarray):
                raise TypeError(f"it gave a {type(made).__name__}, not an array")
            return _copied(made)

    def _of_ours(self, name: str, apply: Apply, value: Value) -> Value:
        """A built-in step; it raises TypeError and the like for what does not suit it, as NumPy and OpenCV do."""
        with guarded(lambda cause: self._cannot(name, value, cause)):
            try:
                return apply(value)
            except (TypeError, ValueError) as error:
                raise self._cannot(name, value, str(error)) from error

    def _cannot(self, name: str, value: Value, cause: str) -> PreprocessError:
        return PreprocessError(
            f"step {name!r} cannot take {_described(value)}: {cause}",
            where=self._where,
            remedy="check the order of the steps and the options of this one",
        )

    def _finished(self, value: Value) -> Array:
        array = np.asarray(value.data if isinstance(value, Picture) else value)
        if array.ndim in (2, 3) and self._spec.layout != "none" and len(self._shape) == 4:
            array = arrange(array, self._spec.layout) if self._is_pixels(array) else array[None]
        if not _fits(array.shape, self._shape):
            raise PreprocessError(
                f"input {self._spec.name!r} needs shape {list(self._shape)} ({self._spec.layout}), "
                f"the steps {list(self.steps)} gave {list(array.shape)}",
                where=self._where,
                remedy="correct the size in resize, crop, letterbox or warp, or the input's shape and layout",
            )
        return self._converted(array)

    def _is_pixels(self, array: Array) -> bool:
        """Whether [height, width, channels] must still be arranged; a dumped tensor may only lack its batch axis."""
        return bool(self._steps) or not _fits((1, *array.shape), self._shape)

    def _converted(self, array: Array) -> Array:
        if array.dtype == self._dtype:
            return array
        if not np.can_cast(array.dtype, self._dtype, "same_kind"):
            raise PreprocessError(
                f"input {self._spec.name!r} is {self._dtype}, the steps {list(self.steps)} gave {array.dtype}",
                where=self._where,
                remedy="end with round_u8, normalise or dtype so that the kind of number is the input's",
            )
        return array.astype(self._dtype)


def _copied(value: Value) -> Value:
    """The value with pixels of its own."""
    return replace(value, data=value.data.copy()) if isinstance(value, Picture) else np.array(value, subok=False)


def _size(value: Value) -> Size:
    """(height, width) of a picture or of pixels."""
    shape = value.data.shape if isinstance(value, Picture) else value.shape
    return (value.height, value.width) if isinstance(value, Picture) and value.height else shape[:2]


def _fits(shape: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    """Same rank and sizes; a named dimension takes any size."""
    return len(shape) == len(wanted) and all(isinstance(w, str) or s == w for s, w in zip(shape, wanted, strict=True))


def _described(value: Value) -> str:
    if isinstance(value, Picture):
        return f"a {value.pixel_format} picture, {value.data.dtype} {list(value.data.shape)}"
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
