"""`command:NAME`: any program as an engine, by the table [command.NAME] of the model card.

    [command.orin]
    run = ["./replay", "--in", "{inputs}", "--out", "{outputs}"]

`template` fills the arguments, `per_frame` starts the program for every frame, `pipe` keeps it running. No shell reads
the arguments. docs/programs.md has every key, the formats and the pipe protocol.
"""

from __future__ import annotations

from typing import Any

from engines.base import refuse_options
from engines.command.per_frame import PerFrameEngine
from engines.command.pipe import PipeEngine
from engines.errors import UnknownEngine
from engines.protocol import Availability, ModelSource

__all__ = ["availability", "open_engine"]


def open_engine(name: str, source: ModelSource, **unknown: Any) -> PerFrameEngine | PipeEngine:
    """Open the card's program; `command` alone means its only one.

    Raises:
        UnknownEngine: the card has no such table, or several and none was named.
        EngineOptionError: an option, for it has none; or a placeholder that does not exist.
        EngineUnavailable: the program is not on this machine.
    """
    refuse_options(name, unknown, ())
    which, known = name.partition(":")[2], sorted(source.commands)
    if which not in source.commands and (which or len(known) != 1):
        raise UnknownEngine(
            f"no [command.{which}] in the card" if which else f"{len(known)} commands in the card",
            where=f"{source.name}, engine {name}",
            remedy=f"choose one of {[f'command:{k}' for k in known]}" if known else "add [command.NAME] to model.toml",
        )
    spec = source.commands[which or known[0]]
    return PipeEngine(name, source, spec) if spec.mode == "pipe" else PerFrameEngine(name, source, spec)


def availability(name: str) -> Availability:
    """Whether the program is there is known when a card names it."""
    return Availability(name, True, "any program, by [command.NAME] in the model card")
