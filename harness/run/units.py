"""Limits with units: `0.15 m`, `3 deg`, `>= 80 %`.

Tables hold base units (the run's length unit, radians, shares of 1); a limit is turned into them when a run is judged.

| quantity  | units of a limit        | base unit                                                  |
|-----------|-------------------------|------------------------------------------------------------|
| length    | m, cm, mm, px, %w, %h   | the run's length unit; %w, %h: per cent of image width, height |
| angle     | rad, mrad, deg          | rad                                                        |
| curvature | 1/m, 1/px               | 1 / the run's length unit                                  |
| share     | % or none               | 1                                                          |
| count     | lines, events or none   | 1                                                          |
| number    | none                    | 1                                                          |
| rate      | /min, /h                | 1/min                                                      |
| frames    | frames                  | frames                                                     |
| duration  | s                       | s                                                          |
| time      | ms                      | ms                                                         |
| level     | dB                      | dB                                                         |
| ulp       | ulp                     | ulp                                                        |
| acceleration | m/s2                 | m/s2                                                       |
| jerk      | m/s3                    | m/s3                                                       |
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from harness.errors import PolicyError, UnitMismatch

__all__ = [
    "ROUNDING",
    "UNITS",
    "Limit",
    "Quantity",
    "base_unit",
    "beside",
    "check_unit",
    "exceeds",
    "for_one",
    "parse_limit",
    "scale",
    "tighter_or_equal",
]

Quantity = Literal[
    "length", "angle", "curvature", "share", "count", "number", "rate", "frames", "duration", "time", "level", "ulp",
    "acceleration", "jerk",
]  # fmt: skip

# unit -> (the quantities it measures, size in base units; 0 where that depends on the run)
UNITS: dict[str, tuple[tuple[Quantity, ...], float]] = {
    "": (("share", "count", "number"), 1.0),
    "m": (("length",), 1.0),
    "cm": (("length",), 1e-2),
    "mm": (("length",), 1e-3),
    "px": (("length",), 1.0),
    "%w": (("length",), 0.0),
    "%h": (("length",), 0.0),
    "rad": (("angle",), 1.0),
    "mrad": (("angle",), 1e-3),
    "deg": (("angle",), math.pi / 180),
    "1/m": (("curvature",), 1.0),
    "1/px": (("curvature",), 1.0),
    "%": (("share",), 1e-2),
    "lines": (("count",), 1.0),
    "events": (("count",), 1.0),
    "/min": (("rate",), 1.0),
    "/h": (("rate",), 1 / 60),
    "frames": (("frames",), 1.0),
    "s": (("duration",), 1.0),
    "ms": (("time",), 1.0),
    "dB": (("level",), 1.0),
    "ulp": (("ulp",), 1.0),
    "m/s2": (("acceleration",), 1.0),
    "m/s3": (("jerk",), 1.0),
}
ROUNDING = 1e-9  # relative; a value at its limit or threshold is neither broken nor a finding, whatever its unit
_RUN_UNIT = {"m": "m", "cm": "m", "mm": "m", "1/m": "m", "px": "px", "%w": "px", "%h": "px", "1/px": "px"}
_ONE = {"event": "events", "line": "lines", "frame": "frames"}
_LIMIT = re.compile(r"^\s*(<=|>=)?\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S*)\s*$")


def exceeds(value: float, limit: float) -> bool:
    """Whether a value is above a limit, but for rounding; NaN is not."""
    return value > limit and not math.isclose(value, limit, rel_tol=ROUNDING)


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit as the policy writes it.

    Attributes:
        value: the number, in `unit`.
        unit: a key of the table above.
        sign: `<=`, `>=`, or empty for the direction that the metric has by itself.
    """

    value: float
    unit: str = ""
    sign: str = ""

    def __str__(self) -> str:
        return beside(f"{self.value:g}", self.unit)


def beside(text: str, unit: str) -> str:
    """A number in words and the unit of its limit: `0.15 m`, `80%`, `1 event`."""
    return f"{text}{'' if unit in ('', '%', '%w', '%h', '/min', '/h') else ' '}{for_one(text, unit)}"


def for_one(text: str, unit: str) -> str:
    """The unit of a number in words: `frame` of `1`, `frames` of `2`."""
    return unit.removesuffix("s") if text == "1" and unit in _ONE.values() else unit


def parse_limit(text: object) -> Limit:
    """Read `0.15 m`, `>= 80 %`, `0`.

    Raises:
        ValueError: not a finite number with a known unit.
    """
    if isinstance(text, Limit):
        return text
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f"a limit must be written like '0.15 m' (got {text!r})")
    found = _LIMIT.match(str(text))
    if found is None:
        raise ValueError(f"a limit must be written like '0.15 m' or '>= 80 %' (got {text!r})")
    sign, number, unit = found.groups()
    unit = _ONE.get(unit, unit)
    if unit not in UNITS:
        raise ValueError(f"unknown unit {unit!r}, must be in {sorted(u for u in UNITS if u)}")
    if not math.isfinite(float(number)):
        raise ValueError(f"a limit must be finite (got {text!r})")
    return Limit(float(number), unit, sign or "")


def check_unit(limit: Limit, quantity: Quantity, *, what: str, where: str) -> None:
    """Refuse a limit that measures something else than `what`.

    Raises:
        UnitMismatch: it does.
    """
    if quantity in UNITS[limit.unit][0]:
        return
    fitting = [unit or "no unit" for unit, (quantities, _) in UNITS.items() if quantity in quantities]
    raise UnitMismatch(
        f"{what} measures {quantity}, its limit {str(limit)!r} does not",
        where=where,
        remedy=f"write the limit in {' or '.join(fitting)}",
    )


def scale(unit: str, *, run_unit: str, image_px: tuple[float, float], where: str) -> float:
    """Size of a unit in the run's base units, so that base value = written value * scale.

    Args:
        unit: of a limit.
        run_unit: of the run's lengths.
        image_px: width and height of the image, 0 where there is none.
        where: named in errors.

    Raises:
        UnitMismatch: the run measures lengths in the other unit, or knows no image size for %w and %h.
    """
    wanted = _RUN_UNIT.get(unit, run_unit)
    if wanted != run_unit:
        raise UnitMismatch(
            f"the limit is in {unit}, the run's lengths are in {run_unit}",
            where=where,
            remedy=f"judge a run in {wanted}, or write the limit in {'m' if run_unit == 'm' else 'px, %w or %h'}",
        )
    if unit not in ("%w", "%h"):
        return UNITS[unit][1]
    size_px = image_px[unit == "%h"]
    if size_px <= 0:
        raise UnitMismatch(
            f"the limit is in {unit} and the run has no image size", where=where, remedy="write it in px"
        )
    return size_px / 100


def tighter_or_equal(new: Limit, old: Limit, *, higher_is_worse: bool, where: str) -> bool:
    """Whether `new` allows nothing that `old` forbids.

    Raises:
        PolicyError: the two units cannot be compared without a run (px and %h, m and px).
    """
    if new.unit != old.unit and (
        UNITS[new.unit][1] == 0 or UNITS[old.unit][1] == 0 or _RUN_UNIT.get(new.unit) != _RUN_UNIT.get(old.unit)
    ):
        raise PolicyError(
            f"cannot tell whether {str(new)!r} is tighter than {str(old)!r}",
            where=where,
            remedy=f"write the override in {old.unit or 'no unit'}",
        )
    a, b = (limit.value * (UNITS[limit.unit][1] or 1.0) for limit in (new, old))
    return a <= b if higher_is_worse else a >= b


def base_unit(quantity: Quantity, run_unit: str) -> str:
    """The unit in which tables hold a quantity."""
    if quantity in ("length", "curvature"):
        return run_unit if quantity == "length" else f"1/{run_unit}"
    return next(unit for unit, (quantities, size) in UNITS.items() if quantity in quantities and size == 1.0)
