"""`trueline sweep`: disturb the camera's pictures a little, and say how far the lines move."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import CacheOption, CardArgument, CasesOption, JsonOption, OnlyOption, names
from harness.cli.progress import progress_bar
from harness.errors import UsageError
from harness.terminal import print_json, say

if TYPE_CHECKING:
    from harness.sweep import Sweep

__all__ = ["register"]


def sweep(
    card: CardArgument,
    cases: CasesOption,
    engine: Annotated[str, typer.Option("--engine", metavar="NAME", help="engine that runs the model")] = "ort-fp32",
    preprocess: Annotated[
        str, typer.Option("--preprocess", metavar="train|deploy", help="pipeline that the pictures go through")
    ] = "deploy",
    only: OnlyOption = None,
    perturbations: Annotated[
        str | None,
        typer.Option("--perturbations", metavar="A,B", help="names, or kinds such as geometry; all without it"),
    ] = None,
    severities: Annotated[str, typer.Option("--severities", metavar="1,...", help="of 1 to 5")] = "1,2,3,4,5",
    seed: Annotated[int, typer.Option("--seed", min=0, help="of all chance")] = 0,
    search: Annotated[
        int, typer.Option("--search", min=0, metavar="N", help="points to try for the worst bend; 0: no search")
    ] = 150,
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", metavar="SWEEP|CARD", help="a sweep to compare with, or a card to sweep first"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="folder of the sweep")] = Path("runs/sweep"),
    resume: Annotated[bool, typer.Option("--resume", help="go on with a sweep that was stopped")] = False,
    cache: CacheOption = None,
    json: JsonOption = False,
) -> None:
    """Disturb the camera's pictures in known ways and measure how far the lines move."""
    from harness.model.card import DEFAULT_CACHE, load_card
    from harness.sweep import Sweep
    from harness.sweep import sweep as run
    from harness.sweep.view import render

    if preprocess not in ("train", "deploy"):
        raise UsageError(f"no pipeline {preprocess!r}", where="--preprocess", remedy="use train or deploy")

    def measured(model: Path, folder: Path, against: Sweep | None) -> Sweep:
        with progress_bar(f"sweeping {model.name}") as progress:
            return run(
                load_card(model), cases, out=folder, engine=engine, pipeline=preprocess, only=only or (),
                perturbations=names(perturbations), severities=_numbers(severities), seed=seed, search=search,
                baseline=against, resume=resume, cache=cache or DEFAULT_CACHE, progress=progress,
            )  # fmt: skip

    before = None
    if baseline is not None:
        swept = (baseline / "sweep.json").exists()
        before = Sweep.open(baseline) if swept else measured(baseline, out / "baseline", None)
    found = measured(card, out, before)
    if json:
        print_json(found.meta)
    else:
        render(found)
        say(f"all numbers: {found.path / 'sweep.json'}")


def _numbers(text: str) -> list[int]:
    try:
        return sorted({int(part) for part in names(text)})
    except ValueError as error:
        raise UsageError(f"{text!r} are no severities", where="--severities", remedy="write 1,3,5") from error


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(sweep)
