"""`trueline compare`: runs beside one another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import GithubOption, JsonOption, MarkdownOption, PolicyOption, ProfileOption
from harness.terminal import print_json, say, show

__all__ = ["register"]


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN_A RUN_B...", help="run folders; the first is compared with")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="an HTML page; default compare.html in the last run")
    ] = None,
    policy: PolicyOption = None,
    profile: ProfileOption = None,
    markdown: MarkdownOption = None,
    github: GithubOption = False,
    cases: Annotated[
        list[Path] | None,
        typer.Option("--cases", metavar="DIR", help="where the cases lie now, if not where they were; may be repeated"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say which run is better, what is new, what differs. Exit code 0; with --policy that of the last run's gate."""
    from harness.compare.build import comparison_of, see
    from harness.compare.page import write_page
    from harness.compare.text import github_lines, render, write_markdown
    from harness.gate import load_policy
    from harness.run.folder import Run

    chosen = load_policy(policy) if policy is not None else None
    seen = see([Run.open(run) for run in runs], chosen, profile)
    comparison = comparison_of(seen, chosen)
    page = write_page(comparison, seen, out or runs[-1] / "compare.html", cases or ())
    if markdown is not None:
        write_markdown(comparison, markdown)
    if json:
        print_json(comparison.to_json())
    else:
        render(comparison)
        say(f"page: {page}")
    if github:
        show(*github_lines(comparison))
    raise typer.Exit(comparison.exit_code)


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(compare)
