"""Numbers as readers see them: gate, explain, report and pytest write the same number in the same way."""

from __future__ import annotations

import math

from harness.run.units import Quantity, base_unit, for_one

__all__ = ["number", "quantity_of_unit", "unit_text", "with_unit"]

_SCALE: dict[Quantity, float] = {"angle": 180 / math.pi, "share": 100.0}
_DECIMALS: dict[Quantity, int] = {"length": 3, "angle": 2, "share": 1, "level": 1, "rate": 1, "duration": 2}
_ALL: tuple[Quantity, ...] = (
    "length", "angle", "curvature", "share", "count", "number", "rate", "frames", "duration", "time", "level",
    "ulp", "acceleration", "jerk",
)  # fmt: skip


def quantity_of_unit(unit: str) -> Quantity:
    """The quantity behind a base unit as tables write it; `number` where it has none."""
    return next((q for q in _ALL if unit and unit in {base_unit(q, "m"), base_unit(q, "px")}), "number")


def unit_text(quantity: Quantity, length_unit: str) -> str:
    """The unit as readers see it: angles in degrees, shares in percent, lengths in `m` or `px`."""
    return {"angle": "°", "share": "%", "rate": "1/min"}.get(quantity) or base_unit(quantity, length_unit)


def number(value: float | None, quantity: Quantity, length_unit: str = "m") -> str:
    """A number without its unit; rad become degrees, shares percent; an en dash where there is no value.

    Small values that would read as zero get two significant digits, so that 0 always means zero.
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    shown = value * _SCALE.get(quantity, 1.0) or 0.0  # no minus before a zero
    decimals = _decimals(shown, quantity, length_unit)
    if decimals is None:
        text = f"{shown:.3g}" if abs(shown) < 1000 else f"{shown:,.0f}".replace(",", " ")
    elif shown != 0 and abs(shown) < 0.5 * 10**-decimals:
        text = f"{shown:.1g}"
    else:
        text = f"{shown:,.{decimals}f}".replace(",", " ")
    return _scientific(text).replace("-", "−")


def with_unit(value: float | None, quantity: Quantity, length_unit: str = "m") -> str:
    """A number and its unit: `0.312 m`, `3.10°`, `98.0 %`."""
    text = number(value, quantity, length_unit)
    unit = unit_text(quantity, length_unit)
    if text == "–" or not unit:
        return text
    return f"{text}{unit}" if unit == "°" else f"{text} {for_one(text, unit)}"


def _decimals(shown: float, quantity: Quantity, length_unit: str) -> int | None:
    """Decimals of a number as shown; None for three significant digits."""
    if quantity in ("count", "frames"):
        return 0 if shown == round(shown) else {"count": 2, "frames": 1}[quantity]
    if quantity == "time":
        return 2 if abs(shown) < 10 else 1 if abs(shown) < 100 else 0
    if quantity == "length" and length_unit == "px":
        return 2
    return _DECIMALS.get(quantity)


def _scientific(text: str) -> str:
    """`3e-05` as `3·10⁻⁵`."""
    mantissa, e, exponent = text.partition("e")
    if not e:
        return text
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa}·10{raised}"
