"""The command tree."""

from __future__ import annotations

from typing import Annotated

import typer

from trueline import __version__

__all__ = ["app"]

app = typer.Typer(
    name="trueline",
    help="Does the line model on the car draw the same lines as the line model in the lab?",
    no_args_is_help=True,
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
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """Options of every command."""


def _register() -> None:
    from harness.cli import case, demo, model, outputs, run, train

    app.add_typer(case.app, name="case")
    app.add_typer(model.app, name="model")
    demo.register(app)
    run.register(app)
    outputs.register(app)
    train.register(app)


_register()
