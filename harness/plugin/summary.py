"""The end of a test run: verdicts with the engines they are about, reports, and advisory findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.summary.text import engine_lines
from trueline._text import shown

if TYPE_CHECKING:
    import pytest

__all__ = ["verdict_lines", "write_summary"]


def write_summary(terminal: pytest.TerminalReporter, told: Sequence[tuple[str, str]]) -> None:
    """Write the section.

    Args:
        terminal: where to.
        told: user properties of the items, each once.
    """
    terminal.section("trueline")
    for key, value in told:
        if key == "trueline_advisory":
            terminal.write_line(shown(f"advisory: {value}"), yellow=True)
    for key, value in told:
        if key == "trueline_summary":
            for line in value.split("\n"):
                terminal.write_line(shown(line))


def verdict_lines(verdict: Mapping[str, Any], path: Path) -> Iterator[str]:
    """The verdict with what it takes to repeat it.

    Args:
        verdict: as verdict.json has it.
        path: where it is written.
    """
    policy = verdict["policy"]
    if verdict["blind"]:
        yield verdict["blind"]
    profile = f", profile {policy['profile']}" if policy["profile"] else ""
    yield f"{policy['name']}: {verdict['verdict']}{profile}, {path}"
    judged = {rung["rung"] for rule in verdict["rules"] for rung in rule["rungs"]}
    yield from (f"  {line}" for line in engine_lines(judged, verdict["run"]["meta"]["rungs"]))
    yield from (f"  {remark}" for remark in verdict["remarks"] if remark != verdict["blind"])
