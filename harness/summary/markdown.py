"""A verdict in Markdown, for a comment on a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import RunError
from harness.gate.verdict import Status, Verdict
from harness.summary.again import again
from harness.summary.blocks import blocks_of
from harness.summary.text import summary_line
from trueline._drafts import replacing
from trueline._text import shown

if TYPE_CHECKING:
    from harness.ladder.model import Explanation

__all__ = ["escaped", "markdown", "write_markdown"]

_SIGN = {Status.PASS: "✅", Status.NOT_RUN: "⚠️", Status.INCONCLUSIVE: "⚠️"}
_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_[]|#~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


def markdown(verdict: Verdict, explanation: Explanation | None = None) -> str:
    """The verdict, one section for each cause, one table row for each rule; what others wrote is text, never markup."""
    meta = verdict.run.get("meta", {})
    parts = [f"**{escaped(verdict.blind)}**", ""] if verdict.blind else []
    parts += [f"## {_sign(verdict.status)} {verdict.status.value}: {escaped(summary_line(verdict))}", ""]
    for block in blocks_of(verdict, explanation):
        parts += [f"### {_sign(block.status)} {escaped(block.headline)}", "", f"- worst: {escaped(block.worst)}"]
        parts += [f"- breaks: {escaped(', '.join(block.rules))} ({block.extent})"]
        if command := again(block, meta):
            parts += ["- again:", "", *_code(command)]
        parts += [""]
    parts += ["| rule | limit | verdict | what was found |", "|---|---|---|---|"]
    for rule in verdict.rules:
        name = rule.id if rule.required else f"{rule.id} (advisory)"
        limit = f"{rule.statistic} {rule.metric} {'+'.join(rule.band)} {rule.limit}"
        cells = (name, " ".join(limit.split()), rule.status.value, rule.reason)
        parts.append("| " + " | ".join(escaped(c) for c in cells) + " |")
    parts += ["", *(f"- {escaped(remark)}" for remark in verdict.remarks if remark != verdict.blind)]
    return "\n".join(parts).rstrip() + "\n"


def write_markdown(verdict: Verdict, path: Path, explanation: Explanation | None = None) -> None:
    """Write it to a file.

    Raises:
        RunError: it cannot be written there.
    """
    try:
        with replacing(path) as draft:
            draft.write_text(markdown(verdict, explanation), encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"cannot write Markdown: {error.strerror}", where=str(path), remedy="choose a folder that can be written"
        ) from error


def _sign(status: Status) -> str:
    return _SIGN.get(status, "❌")


def escaped(text: str) -> str:
    """Somebody's text in one line, without any markup in it."""
    return shown(text, one_line=True).translate(_SPECIAL)


def _code(command: str) -> list[str]:
    """An indented block: no fence that the text could close."""
    return [f"      {shown(command, one_line=True)}"]
