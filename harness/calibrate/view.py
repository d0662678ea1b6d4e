"""A calibration in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.calibrate.calibration import Calibration
from harness.calibrate.suite import TOLERATED, Chance
from harness.terminal import show, table
from trueline._text import counted

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["render", "verdict_line"]


def render(found: Calibration, console: Console | None = None) -> None:
    """Print it, the answer first."""
    show(verdict_line(found), *_answers(found), console=console)
    if found.limits:
        rows = [
            (s.rule, _size(s.limit, s.unit), _size(s.typical, s.unit), _size(s.holds, s.unit), _size(s.caught, s.unit))
            for s in found.limits
        ]
        columns = ("rule", "limit", "worst of a typical version", "limit that holds 95 %", "fault caught in 90 %")
        show(table(columns, rows), console=console)


def verdict_line(found: Calibration) -> str:
    """CALIBRATED, or UNCALIBRATED and why, in one line."""
    if found.calibrated:
        return f"CALIBRATED {found.policy}: a good version is shown to fail in at most {TOLERATED:.0%}"
    why = []
    if not found.suite.calibrated:
        why.append(f"on this suite it may be up to {found.suite.upper:.0%}")
    if found.new_drives is None:
        why.append(f"on new drives it cannot be told: {found.why_not}")
    elif not found.new_drives.calibrated:
        why.append(f"on new drives it may be up to {found.new_drives.upper:.0%}")
    return f"UNCALIBRATED {found.policy}: a good version is to fail in at most {TOLERATED:.0%}, and {'; '.join(why)}"


def _answers(found: Calibration) -> Iterator[str]:
    count = len(found.versions)
    yield f"same suite, next version: fails in {_told(found.suite)}; {found.failing} of {count} good versions fail"
    if not found.suite.calibrated:
        yield f"  {found.versions_needed} versions in all, with no further failure, would show it"
    if found.new_drives is not None:
        yield f"{found.drives} new drives, next version: fails in {_told(found.new_drives)}"
    for rule, times in found.worst_rules.items():
        yield f"  {rule}: broken by {counted(times, 'good version')}"


def _told(chance: Chance) -> str:
    return f"{chance.estimate:.1%} ({chance.lower:.1%} to {chance.upper:.1%})"


def _size(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}".rstrip()
