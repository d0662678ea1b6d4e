"""The options of the TensorRT engines, checked where they come in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from engines.base import refuse_options
from engines.errors import EngineOptionError
from engines.tensorrt import FILE_OPTIONS
from engines.tensorrt.product import product_of

__all__ = ["Options", "Range", "parse_options"]

Range = tuple[int, int, int]
NUMBERS = ("workspace_mib", "optimization_level", "rebuild")
LISTS = ("builder_flags", "tactic_sources", "keep_fp32")
OF_A_BUILD = ("calibration_cache", "rest", "tf32", "profiles", "timing_cache", "target", *NUMBERS, *LISTS)
OF_TENSORRT = ("calibration_cache", "rest", "timing_cache", "tactic_sources")  # TensorRT for RTX times nothing here
OF_RTX = ("target",)


@dataclass(frozen=True)
class Options:
    """What an engine may be told beyond its name; None means TensorRT's or the engine's default.

    Attributes:
        plan: a prebuilt plan; nothing is built then.
        names: card's name of an input or output -> the plan's.
        profiles: dynamic dimension -> (smallest, best, largest) size.
        calibration: npz of real inputs for AutoCast, each array of shape (frames, *shape of the input).
        calibration_cache: scales of int8 (to TensorRT 10.x).
        rest: precision of what a weakly typed int8 build leaves out of int8, `fp32` or `fp16`.
        tf32: whether fp32 layers of an fp16, bf16 or int8 build may use TF32.
        builder_flags: further names of trt.BuilderFlag to set, `STRICT_NANS`.
        tactic_sources: names of trt.TacticSource, instead of TensorRT's own choice.
        workspace_mib: limit of the builder's scratch memory.
        optimization_level: 0 to 5; TensorRT's default is 3.
        timing_cache: file of measured tactics that decides the build; a tactic that it lacks is an error where TensorRT
            knows that error (from 10.0). Without it each GPU has a file of its own in the cache.
        rebuild: a number; another number builds another engine, timed afresh, for the noise floor.
        keep_fp32: names of nodes and of operators that AutoCast leaves in fp32.
        target: `sm86`, `portable`, ...: what TensorRT for RTX plans for.
    """

    plan: Path | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    profiles: Mapping[str, Range] = field(default_factory=dict)
    calibration: Path | None = None
    calibration_cache: Path | None = None
    rest: str | None = None
    tf32: bool | None = None
    builder_flags: tuple[str, ...] = ()
    tactic_sources: tuple[str, ...] = ()
    workspace_mib: int | None = None
    optimization_level: int | None = None
    timing_cache: Path | None = None
    rebuild: int = 0
    keep_fp32: tuple[str, ...] = ()
    target: str = "portable"


def parse_options(name: str, given: Mapping[str, Any]) -> Options:
    """Options as they come from a caller or a file.

    Raises:
        EngineOptionError: an unknown option, a value of the wrong kind, a build's option beside a prebuilt plan.
    """
    others = OF_TENSORRT if product_of(name).apart else OF_RTX
    known = tuple(f.name for f in fields(Options) if f.name not in others)
    refuse_options(name, {key: value for key, value in given.items() if key not in known}, known)
    values = {key: _value(name, key, value) for key, value in given.items()}
    options = Options(**values)
    if options.plan is not None and (extra := [key for key in OF_A_BUILD if key in given]):
        raise _wrong(name, extra[0], "says how to build, and `plan` is built already", "give one of the two")
    if options.names and options.plan is None:
        raise _wrong(name, "names", "is for a prebuilt plan", "name the ONNX file's tensors in model.toml itself")
    return options


def _value(name: str, key: str, value: Any) -> Any:
    if key in FILE_OPTIONS:
        return _file(name, key, value)
    if key in NUMBERS:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _wrong(name, key, f"must be a whole number from 0 (got {value!r})", "give a number")
        return value
    if key in LISTS:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise _wrong(name, key, f"must be a list of names (got {value!r})", "give a list")
        return tuple(str(item) for item in value)
    if key == "profiles":
        return {str(dim): _range(name, str(dim), sizes) for dim, sizes in _mapping(name, key, value).items()}
    if key == "names":
        return {str(ours): str(theirs) for ours, theirs in _mapping(name, key, value).items()}
    if key == "target" and not isinstance(value, str):
        raise _wrong(name, key, f"must be a name (got {value!r})", "give 'sm86' or 'portable', say")
    if key == "rest" and value not in ("fp32", "fp16"):
        raise _wrong(name, key, f"must be in ['fp32', 'fp16'] (got {value!r})", "give one of them")
    if key == "tf32" and not isinstance(value, bool):
        raise _wrong(name, key, f"must be true or false (got {value!r})", "give one of them")
    return value


def _file(name: str, key: str, value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise _wrong(name, key, f"must be the path of a file (got {value!r})", "give a path")
    if not Path(value).is_file():
        raise _wrong(name, key, f"names no file: {value}", "give the path of a file that is there")
    return Path(value)


def _mapping(name: str, key: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(name, key, f"must be a table (got {value!r})", "give a table")
    return value


def _range(name: str, dim: str, sizes: Any) -> Range:
    found = tuple(sizes) if isinstance(sizes, list | tuple) else (sizes,) * 3
    whole = len(found) == 3 and all(isinstance(size, int) and size > 0 for size in found)
    if not whole or not found[0] <= found[1] <= found[2]:
        raise _wrong(
            name, f"profiles.{dim}", f"must be (smallest, best, largest) sizes (got {sizes!r})", "give [1, 1, 8], say"
        )
    return found


def _wrong(name: str, key: str, what: str, remedy: str) -> EngineOptionError:
    return EngineOptionError(f"option {key!r} {what}", where=f"options of {name}", remedy=remedy)
