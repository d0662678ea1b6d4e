"""The end of a test run: verdicts with the engines they are about, reports, and advisory findings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.summary.text import engine_lines
from harness.terminal import escaped

if TYPE_CHECKING:
    import pytest

__all__ = ["write_summary"]


def write_summary(terminal: pytest.TerminalReporter, told: Sequence[tuple[str, str]]) -> None:
    """Write the section.

    Args:
        terminal: where to.
        told: user properties of the items, each once.
    """
    terminal.section("trueline")
    for key, value in told:
        if key == "trueline_advisory":
            terminal.write_line(escaped(f"advisory: {value}"), yellow=True)
    for key, value in told:
        if key == "trueline_verdict":
            for line in _verdict_lines(Path(value)):
                terminal.write_line(escaped(line))


def _verdict_lines(path: Path) -> Iterable[str]:
    """The verdict with what it takes to repeat it."""
    try:
        verdict: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    policy = verdict["policy"]
    profile = f", profile {policy['profile']}" if policy["profile"] else ""
    yield f"{policy['name']}: {verdict['verdict']}{profile}, {path}"
    judged = {rung["rung"] for rule in verdict["rules"] for rung in rule["rungs"]}
    yield from (f"  {line}" for line in engine_lines(judged, verdict["run"]["meta"]["rungs"]))
    yield from (f"  {remark}" for remark in verdict["remarks"])
