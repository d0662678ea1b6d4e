"""Why a rung has no outputs, or no more: what run.json says of it. Only the reference's failure ends a replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engines.errors import EngineCrashed, EngineUnavailable
from engines.foreign import cause_of
from trueline import TruelineError

__all__ = ["Failure"]

Status = Literal["not_run", "crashed"]


@dataclass(frozen=True, slots=True)
class Failure:
    """How a rung ended: `not_run` where it could not begin, `crashed` where it failed at a frame; and why."""

    status: Status
    reason: str

    @classmethod
    def of(cls, error: TruelineError, status: Status, place: str = "") -> Failure:
        """From an error, one line: place, the whole cause, where it was, and the remedy where it could not begin."""
        said = cause_of(error)
        if not isinstance(error, EngineCrashed | EngineUnavailable) and error.where not in said:
            said += f" ({error.where})"
        if status == "not_run":
            said += f"; {error.remedy}"
        return cls(status, f"{place}: {said}" if place else said)
