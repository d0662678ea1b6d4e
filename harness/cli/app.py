"""The command tree.

Reading the options of every command takes longer than all else that `trueline --help` does, and none of them is asked
for there. So a command line gets a tree in which only its own command has options; the others are names with a summary.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

import typer

from trueline import __version__

__all__ = ["command_tree"]


def command_tree(asked: str | None = None) -> typer.Typer:
    """All commands.

    Args:
        asked: the command or group that is going to run, empty for none; every other has its name and summary only.
            None: all are whole.
    """
    app = typer.Typer(
        name="trueline",
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    _register(app)
    if asked is not None:
        _leave_names(app, asked)
    return app


def _version(asked: bool) -> None:
    if asked:
        from harness.terminal import show

        show(f"trueline {__version__}")
        raise typer.Exit


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


def _register(app: typer.Typer) -> None:
    from harness.cli import (
        accept,
        cache,
        case,
        compare,
        demo,
        diagnose,
        gate,
        history,
        init,
        leaderboard,
        model,
        outputs,
        run,
        selftest,
        steps,
        sweep,
        train,
    )  # fmt: skip

    app.add_typer(case.app, name="case")
    app.add_typer(model.app, name="model")
    demo.register(app)
    init.register(app)
    run.register(app)
    steps.register(app)
    diagnose.register(app)
    gate.register(app)
    accept.register(app)
    compare.register(app)
    history.register(app)
    leaderboard.register(app)
    outputs.register(app)
    sweep.register(app)
    cache.register(app)
    selftest.register(app)
    train.register(app)


def _leave_names(app: typer.Typer, asked: str) -> None:
    """Take the options of all commands but one, and the commands of all groups but one."""
    for command in app.registered_commands:
        if command.callback is not None and (name := command.name or command.callback.__name__) != asked:
            command.name, command.help, command.callback = name, inspect.getdoc(command.callback), _nothing
    for group in app.registered_groups:
        if group.typer_instance is not None and group.name != asked:
            group.typer_instance = typer.Typer(help=group.typer_instance.info.help, rich_markup_mode=None)


def _nothing() -> None:
    """In place of a command that is not asked for."""
