"""Colours of rungs: one per rung, the same in every picture, plot and table of a report.

Four of the six hues are Okabe and Ito's (2008); their yellow, orange and sky blue are too faint on white and gave way
to violet and crimson. All six keep a contrast of 3:1 on white and on near-black, and stay apart under every common
colour blindness (a test measures both). After six rungs the hues repeat with another dash. The reference has the ink
colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["HUES", "REFERENCE_COLOUR", "RungStyle", "rung_styles"]

REFERENCE_COLOUR = "ink"
HUES = ("#0072b2", "#d55e00", "#009e73", "#7b3fe4", "#cc79a7", "#d1124a")
_DASHES = ("", "7 4", "2 3", "8 3 2 3")


@dataclass(frozen=True, slots=True)
class RungStyle:
    """colour: `#rrggbb`, or `ink` for the theme's text colour. stroke: SVG's dash array."""

    colour: str
    stroke: str


def rung_styles(names: Sequence[str], reference: str) -> dict[str, RungStyle]:
    """A style for each rung, in the order of the ladder."""
    styles = {reference: RungStyle(REFERENCE_COLOUR, "")}
    for number, name in enumerate(n for n in names if n != reference):
        stroke = _DASHES[number // len(HUES) % len(_DASHES)]
        styles[name] = RungStyle(HUES[number % len(HUES)], stroke)
    return styles
