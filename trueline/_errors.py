"""The root of Trueline's errors, and its version.

TruelineError            what, where, remedy; exit code 2
├── cases.errors.*       a recording that cannot be used
├── engines.errors.*     an engine or artefact that cannot be used
├── techniques.errors.*  a training request that cannot be met
└── harness.errors.*     cards, policies, runs, usage
"""

from __future__ import annotations

from typing import Self

from trueline._text import shown

__all__ = ["TruelineError", "__version__"]

__version__ = "0.1.0"


class TruelineError(Exception):
    """An error a user can act on: what is wrong, where, and what to do.

    Args:
        what: the fact, with the offending value.
        where: file and key, case and frame, or the name of the argument.
        remedy: what the user should do next.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def within(self, context: str) -> Self:
        """Put an outer place in front of `where` (shells add case and frame) and return self for re-raising."""
        self.where = f"{context}, {self.where}"
        return self

    def __str__(self) -> str:
        """One line: name, what, where, remedy."""
        return shown(f"{type(self).__name__}: {self.what} | where: {self.where} | remedy: {self.remedy}", one_line=True)

    def __reduce__(self) -> tuple[object, ...]:
        """Keyword-only arguments survive a process boundary."""
        return (_rebuild, (type(self), self.what, self.where, self.remedy))


def _rebuild(kind: type[TruelineError], what: str, where: str, remedy: str) -> TruelineError:
    return kind(what, where=where, remedy=remedy)
