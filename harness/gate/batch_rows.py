"""Rows of a batch that are not their frames alone: a number that was made of them cannot pass a limit they drown.

run.json keeps, for every engine of a replay with `--batch`, how far its rows move lines (harness/replay/batches.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.gate.policy import Rule
from harness.run.facts import RunFacts
from harness.run.tables import BANDS

__all__ = ["moved_by_rows", "rows_change_lines"]


def moved_by_rows(facts: RunFacts, rule: Rule, rungs: tuple[str, ...]) -> tuple[float, str]:
    """How far rows of a batch move what the rule measures, in its bands, on these rungs; and the engine.

    Returns:
        Base units, 0 where they do not or the measure was not held against them; and the engine's name.
    """
    bands = rule.band or BANDS
    worst = (0.0, "")
    for engine, lines in _checked(facts, rungs):
        sizes = lines.get("sizes", {}).get(rule.metric, ())
        for band, size in zip(BANDS, sizes, strict=False):
            if band in bands:
                worst = max(worst, (float(size), engine))
    return worst


def rows_change_lines(facts: RunFacts, rungs: tuple[str, ...]) -> str:
    """The engine of these rungs whose rows of a batch have other lines than the frames alone; empty: none."""
    return next((engine for engine, lines in _checked(facts, rungs) if lines.get("changed")), "")


def _checked(facts: RunFacts, rungs: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(engine, what rows do to its lines) of the rungs."""
    engines = {facts.rungs[rung].engine for rung in rungs if rung in facts.rungs}
    for check in (facts.meta.get("batch") or {}).get("rows", ()):
        if check["engine"] in engines and check.get("lines"):
            yield check["engine"], check["lines"]
