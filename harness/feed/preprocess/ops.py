"""The built-in ops: one row each, and how a step of a card is checked against its op.

The options of an op are the parameters of its function after the first one, so that signature, check and defaults
cannot drift apart.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, get_type_hints
from typing import cast as tcast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from cases.picture import Picture
from engines.foreign import outside
from harness.errors import PreprocessError
from harness.feed.preprocess.colour import Arithmetic, Chroma, MatrixChoice, RangeChoice, encode_nv12, to_gray, to_rgb
from harness.feed.preprocess.dotted import is_dotted, load_dotted
from harness.feed.preprocess.geometry import (
    CalibrationLike,
    Sampling,
    crop,
    letterbox,
    undistort_maps,
    undistorted,
    warp,
)
from harness.feed.preprocess.resample import resize
from harness.feed.preprocess.values import arrange, normalise, pick_channels, round_u8

__all__ = ["OPS", "Apply", "Op", "Value", "bind", "canonical", "defaults_of", "meant_for", "step_name"]

Array = NDArray[Any]
Value = Picture | Array
Apply = Callable[[Value], Value]


def to_bgr(
    picture: Picture,
    *,
    matrix: MatrixChoice = "declared",
    range: RangeChoice = "declared",
    chroma: Chroma = "bilinear",
    arithmetic: Arithmetic = "float",
) -> Array:
    """As `to_rgb`, blue first."""
    rgb = to_rgb(picture, matrix=matrix, range=range, chroma=chroma, arithmetic=arithmetic)
    return np.ascontiguousarray(rgb[..., ::-1])


def cast(values: Array, to: Literal["float32", "float16", "uint8", "int32", "int64"]) -> Array:
    """Plain NumPy cast; fractions are cut off, use `round_u8` to round."""
    return values.astype(to)


class Undistort:
    """Undistortion with the case's calibration; maps are made once per picture size."""

    def __init__(
        self,
        calibration: CalibrationLike | None,
        *,
        kernel: Sampling = "bilinear",
    ) -> None:
        self._maps = cache(lambda size: undistort_maps(calibration, size))
        self._kernel: Sampling = kernel

    def __call__(self, pixels: Array) -> Array:
        """Undistort pixels [height, width, channels] of the size the camera matrix is for."""
        return undistorted(pixels, self._maps((pixels.shape[1], pixels.shape[0])), self._kernel)


@dataclass(frozen=True, slots=True)
class Op:
    """One built-in op.

    Attributes:
        step: name of the step where the card gives none.
        run: the function; its first parameter is the value (or, with `calibrated`, the case's calibration).
        takes: `picture` (as recorded), `pixels` ([height, width, channels]) or `array` (any shape).
        calibrated: `run(calibration, **options)` makes the function.
        meant_for: pictures of which size its options make sense for: `any`; `either` pipeline's, where both have the
            step; `own`, that of the pipeline they are written in.
    """

    step: str
    run: Callable[..., Any]
    takes: Literal["picture", "pixels", "array"] = "pixels"
    calibrated: bool = False
    meant_for: Literal["any", "either", "own"] = "any"


OPS: dict[str, Op] = {
    "nv12": Op("nv12", encode_nv12, "picture"),
    "to_rgb": Op("colour", to_rgb, "picture"),
    "to_bgr": Op("colour", to_bgr, "picture"),
    "to_gray": Op("colour", to_gray, "picture"),
    "undistort": Op("undistort", Undistort, calibrated=True, meant_for="own"),
    "crop": Op("crop", crop, meant_for="own"),
    "resize": Op("resize", resize, meant_for="either"),
    "letterbox": Op("letterbox", letterbox, meant_for="either"),
    "warp": Op("warp", warp, meant_for="own"),
    "round_u8": Op("round", round_u8, "array"),
    "normalise": Op("normalise", normalise, "array"),
    "dtype": Op("dtype", cast, "array"),
    "channels": Op("channels", pick_channels),
    "layout": Op("layout", arrange),
}


def meant_for(op: str) -> Literal["any", "either", "own"]:
    """`Op.meant_for`; what the card's own functions expect is not known, so their own pipeline's."""
    return OPS[op].meant_for if op in OPS else "own"


def defaults_of(op: str) -> dict[str, Any]:
    """Options of an op of ours that a card may leave out, and what they are then; none are known of others."""
    fields = _options_model(op).model_fields if op in OPS else {}
    return {name: field.default for name, field in fields.items() if not field.is_required()}


def step_name(step: Mapping[str, Any]) -> str:
    """The step's name: `step`, else its op's default, else the function of a dotted path."""
    op = str(step.get("op", ""))
    named = step.get("step")
    return str(named) if named else OPS[op].step if op in OPS else op.rpartition(":")[2]


def canonical(step: Mapping[str, Any], where: str, root: Path | None = None) -> dict[str, Any]:
    """The step with every default filled in, so that two ways to write one step are equal.

    Args:
        step: of a card.
        where: file and key, for messages.
        root: folder of the card: the defaults of a function named by a dotted path are read from its signature, as far
            as it imports; None leaves them out.

    Raises:
        PreprocessError: no such op, or an option that is unknown, missing or of the wrong kind.
    """
    op = step.get("op")
    options = {key: value for key, value in step.items() if key not in ("op", "step")}
    if not isinstance(op, str) or (op not in OPS and not is_dotted(op)):
        raise PreprocessError(
            f"no op {op!r}" if op else f"a step without op: {dict(step)!r}",
            where=where,
            remedy=f"use one of {', '.join(OPS)}, or a dotted path package.module:function",
        )
    if op in OPS:
        try:
            options = _options_model(op)(**options).model_dump()
        except ValidationError as error:
            raise PreprocessError(
                f"op {op!r}: {_problems(error)}",
                where=where,
                remedy=f"its options are {', '.join(_options_model(op).model_fields) or 'none'}; see docs/cards.md",
            ) from error
    elif root is not None:
        options = _defaults_of_dotted(op, root, where) | options
    return {"op": op, "step": step_name(step), **options}


def bind(step: Mapping[str, Any], calibration: CalibrationLike | None, root: Path | None, where: str) -> Apply:
    """The function of one canonical step."""
    name, options = str(step["op"]), {k: v for k, v in step.items() if k not in ("op", "step")}
    if name not in OPS:
        found = load_dotted(name, root, error=PreprocessError, where=where)
        if inspect.isclass(found):  # it keeps state from picture to picture of one case
            return _made(tcast("Callable[..., Apply]", found), options, where)
        return partial(found, **options)
    op = OPS[name]
    run = op.run(calibration, **options) if op.calibrated else partial(op.run, **options)
    take = {"picture": _picture, "pixels": _pixels, "array": _array}[op.takes]
    return lambda value: run(take(value))


def _made(make: Callable[..., Apply], options: Mapping[str, Any], where: str) -> Apply:
    """An object of a class of the card's own."""
    with outside(
        lambda cause: PreprocessError(
            f"it cannot be made: {cause}", where=where, remedy=f"check its options {dict(options)!r}"
        )
    ):
        return make(**options)


def _defaults_of_dotted(path: str, root: Path, where: str) -> dict[str, Any]:
    """Defaults of a function or class of the card's own, those that a card could write; none where it does not load."""
    try:
        found = load_dotted(path, root, error=PreprocessError, where=where)
        parameters = list(inspect.signature(found).parameters.values())
    except (PreprocessError, TypeError, ValueError):  # whoever builds the pipeline says what is wrong
        return {}
    named = [p for p in parameters[not inspect.isclass(found) :] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: p.default for p in named if p.default is not p.empty and _is_plain(p.default)}


def _is_plain(value: object) -> bool:
    """Whether run.json can hold a default as it is."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _picture(value: Value) -> Picture:
    if not isinstance(value, Picture):
        raise TypeError("it reads a recorded picture and must stand before every op on pixels, at most once")
    return value


def _array(value: Value) -> Array:
    if not isinstance(value, Picture):
        return value
    if value.pixel_format != "tensor":
        raise TypeError(f"it needs pixels, not a {value.pixel_format} picture; put to_rgb, to_bgr or to_gray before it")
    return np.asarray(value.data)


def _pixels(value: Value) -> Array:
    array = _array(value)
    if array.ndim != 3:
        raise TypeError("it needs pixels [height, width, channels]")
    return array


@cache
def _options_model(op: str) -> type[BaseModel]:
    run = OPS[op].run
    function = run.__init__ if inspect.isclass(run) else run
    hints = get_type_hints(function)
    names = list(inspect.signature(run).parameters.values())[1:]
    fields: dict[str, Any] = {
        p.name: (hints[p.name], ... if p.default is inspect.Parameter.empty else p.default) for p in names
    }
    return create_model(f"options_of_{op}", __config__=ConfigDict(extra="forbid"), **fields)


def _problems(error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        shown = "" if item["type"] in ("extra_forbidden", "missing") else f" (got {item['input']!r})"
        parts.append(f"{key}: {item['msg']}{shown}")
    return "; ".join(parts)
