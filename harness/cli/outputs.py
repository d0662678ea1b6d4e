"""`trueline outputs`: tensors of one engine on one case, for Polygraphy and for the engine `recorded`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import CardArgument
from harness.cli.progress import progress_bar
from harness.terminal import say
from trueline._text import counted

__all__ = ["register"]


def outputs(
    card: CardArgument,
    case: Annotated[Path, typer.Option("--case", metavar="DIR", help="one case folder")],
    engine: Annotated[str, typer.Option("--engine", help="engine to run; see `trueline engines`")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Polygraphy JSON to write, NAME.json")],
    preprocess: Annotated[
        str, typer.Option("--preprocess", help="train, deploy, train+STEP or deploy-STEP")
    ] = "deploy",
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", metavar="FILE", help="write the inputs too, for `polygraphy run --load-inputs`"),
    ] = None,
) -> None:
    """Write the output tensors of one engine on one case as Polygraphy's RunResults."""
    from harness.model.card import load_card
    from harness.replay.polygraphy import write_outputs

    with progress_bar("running") as progress:
        frames = write_outputs(
            load_card(card), case, out, engine=engine, preprocess=preprocess, inputs=inputs, progress=progress
        )
    say(f"{out}: {counted(frames, 'frame')}   next: polygraphy inspect data {out}")


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(outputs)
