"""The command tree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trueline import __version__

__all__ = ["app"]

app = typer.Typer(
    name="trueline",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        from harness.terminal import show

        show(f"trueline {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """Does the line model on the car draw the same lines as the line model in the lab?

    Without a command: what lies in this folder, and what to do next.
    """
    if context.invoked_subcommand is None:
        from harness.cli.next_step import look_around, next_step
        from harness.terminal import show

        show(*next_step(look_around(Path()), Path()))
        show("", "`trueline --help` lists the commands.")


def _register() -> None:
    from harness.cli import case, demo, model, outputs, run, steps, train

    app.add_typer(case.app, name="case")
    app.add_typer(model.app, name="model")
    demo.register(app)
    run.register(app)
    steps.register(app)
    outputs.register(app)
    train.register(app)


_register()
