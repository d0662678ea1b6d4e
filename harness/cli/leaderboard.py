"""`trueline leaderboard`: candidates side by side, and which of them may be chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import JsonOption, PolicyOption
from harness.terminal import print_json, show

__all__ = ["register"]


def leaderboard(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="run folders, one for each candidate")],
    sweep: Annotated[
        list[Path] | None, typer.Option("--sweep", metavar="DIR", help="sweep of a candidate; may be repeated")
    ] = None,
    policy: PolicyOption = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="print Markdown")] = False,
    json: JsonOption = False,
) -> None:
    """Set candidates side by side: clean, robust, deployable; nothing that fails a required rule is ever chosen."""
    from harness.gate import load_policy
    from harness.leaderboard import leaderboard as board_of
    from harness.leaderboard.view import markdown as as_markdown
    from harness.leaderboard.view import render
    from harness.run.folder import Run
    from harness.sweep import Sweep

    found = board_of(
        [Run.open(run) for run in runs],
        [Sweep.open(folder) for folder in sweep or ()],
        load_policy(policy) if policy is not None else None,
    )
    if json:
        print_json(found.to_json())
    elif markdown:
        show(as_markdown(found))
    else:
        render(found)


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(leaderboard)
