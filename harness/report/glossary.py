"""What the report's table shows, and the words for frames that are shown without a finding.

Names and definitions of measures are those of harness/run/catalogue.py; the report shows them as tooltips and, for
print, as a list at its end.
"""

from __future__ import annotations

from harness.run import catalogue
from harness.run.catalogue import Measure, measures

__all__ = ["columns", "definition_of", "label_of"]

_NO_FINDING = {
    "largest_bend": ("largest bend", "bend"),
    "largest_offset": ("largest offset", "offset_max"),
    "first": ("first frame", ""),
}


def columns() -> tuple[Measure, ...]:
    """Measures that have a column in the report's table, group by group in the catalogue's order."""
    shown = [m for m in measures().values() if m.group and m.kind not in ("event", "floor")]
    groups = list(dict.fromkeys(m.group for m in shown))
    return tuple(sorted(shown, key=lambda m: groups.index(m.group)))


def label_of(kind: str) -> str:
    """A measure, a kind of event or what a frame without a finding shows, in words."""
    return _NO_FINDING[kind][0] if kind in _NO_FINDING else catalogue.label_of(kind)


def definition_of(kind: str) -> str:
    """The definition of the same; empty where there is none."""
    return catalogue.definition_of(_NO_FINDING[kind][1] if kind in _NO_FINDING else kind)
