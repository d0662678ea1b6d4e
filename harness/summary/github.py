"""Annotations of a GitHub workflow: one line for each cause, on standard output of a step.

The format is that of workflow commands, `::error file=...,title=...::message`
(docs.github.com, "Workflow commands for GitHub Actions").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.gate.verdict import Status, Verdict
from harness.summary.blocks import blocks_of
from harness.summary.text import summary_line
from trueline._text import shown

if TYPE_CHECKING:
    from harness.ladder.model import Explanation

__all__ = ["command", "github_annotations"]


def github_annotations(verdict: Verdict, explanation: Explanation | None = None) -> Iterator[str]:
    """One command for each block and for each rung that nothing judged, and the verdict last."""
    policy = str(verdict.policy.get("path") or "")
    if verdict.blind:
        yield command("warning", "Trueline", verdict.blind, policy)
    for block in blocks_of(verdict, explanation):
        level = ("error" if block.required else "warning") if block.status is not Status.PASS else "notice"
        yield command(level, block.headline, f"{block.worst} ({block.extent}: {', '.join(block.rules)})", policy)
    for remark in verdict.remarks:
        if remark == verdict.blind:
            continue
        yield command("warning", "Trueline", remark, policy)
    level = "notice" if verdict.status is Status.PASS else "error"
    yield command(level, f"Trueline: {verdict.status.value}", summary_line(verdict), policy)


def command(level: str, title: str, message: str, file: str = "") -> str:
    """One workflow command; what others wrote cannot end it."""
    properties = {"file": file, "title": title}
    told = ",".join(f"{k}={_property(v)}" for k, v in properties.items() if v)
    return f"::{level} {told}::{_data(message)}"


def _data(text: str) -> str:
    return shown(text, one_line=True).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
