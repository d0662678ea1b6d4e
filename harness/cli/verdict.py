"""What `trueline gate` and `trueline run` write of a verdict: for people, for a pull request, for CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.terminal import show

if TYPE_CHECKING:
    from harness.gate import Verdict
    from harness.ladder import Explanation

__all__ = ["tell_verdict"]


def tell_verdict(
    verdict: Verdict,
    explanation: Explanation | None,
    *,
    junit: Path | None = None,
    markdown: Path | None = None,
    github: bool = False,
    history: Path | None = None,
    quiet: bool = False,
) -> None:
    """Print a verdict and write it as the options say.

    Args:
        verdict: what the gate found.
        explanation: of the same run; None: nothing is blamed on a step.
        junit: file of JUnit XML.
        markdown: file for a pull request.
        github: print annotations of a GitHub workflow.
        history: SQLite file that gets the verdict.
        quiet: print no table: standard output holds something else.

    Raises:
        RunError: a file cannot be written.
    """
    from harness.summary import github_annotations, render, write_junit, write_markdown

    if junit is not None:
        write_junit(verdict, junit, explanation)
    if markdown is not None:
        write_markdown(verdict, markdown, explanation)
    if history is not None:
        from harness.history import History

        History(history).add(verdict)
    if not quiet:
        render(verdict, explanation)
    if github:
        show(*github_annotations(verdict, explanation))
