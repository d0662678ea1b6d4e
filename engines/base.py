"""What most engines share: a name, provenance, and no interest in cases or time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.errors import EngineOptionError
from engines.protocol import CaseContext

__all__ = ["FrameEngine", "check_threads", "first_line", "refuse_options"]


class FrameEngine:
    """An engine whose outputs depend on nothing but its inputs; subclasses add `infer` and fill `_provenance`.

    One thread at a time may use an engine.
    """

    uses_time = False

    def __init__(self, name: str, provenance: Mapping[str, Any]) -> None:
        self.name = name
        self._provenance = {"engine": name, **provenance}

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Versions, precision, device, flags and hashes; JSON values only."""
        return self._provenance

    def start_case(self, context: CaseContext) -> None:
        """Nothing to reset."""

    def seek(self, timestamp_ns: int) -> None:
        """Nothing depends on time."""

    def close(self) -> None:
        """Nothing to free."""


def refuse_options(name: str, options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Options that an engine does not have.

    Raises:
        EngineOptionError: there is one.
    """
    if options:
        raise EngineOptionError(
            f"engine {name!r} has no option {sorted(options)[0]!r}",
            where=f"options of {name}",
            remedy=f"its options are {sorted(known)}",
        )


def check_threads(name: str, threads: Any) -> None:
    """The option `threads`, where it is given.

    Raises:
        EngineOptionError: it is no whole number from 1.
    """
    if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or threads < 1):
        raise EngineOptionError(
            f"option 'threads' must be a whole number from 1 (got {threads!r})",
            where=f"options of {name}",
            remedy="give a number, or leave it out for one thread a physical core",
        )


def first_line(error: BaseException) -> str:
    """Type and first line of an outside error, for the `what` of ours."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
