"""One thing wrong with a case: `check_case` collects them all, `open_case` raises the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cases.errors import CaseError, CaseSchemaError

__all__ = ["Problem", "in_one_line", "raise_first"]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where, what to do; `kind` is the error it becomes when it stops a replay."""

    what: str
    where: str
    remedy: str
    kind: type[CaseError] = CaseSchemaError

    @classmethod
    def of(cls, error: CaseError) -> Problem:
        """The problem that an error tells of."""
        return cls(error.what, error.where, error.remedy, type(error))

    def error(self) -> CaseError:
        """The same as an error."""
        return self.kind(self.what, where=self.where, remedy=self.remedy)


def raise_first(problems: Sequence[Problem]) -> None:
    """Raise the first problem, saying how many more `trueline case check` would show."""
    if not problems:
        return
    error = problems[0].error()
    if len(problems) > 1:
        error.what = f"{error.what} (and {len(problems) - 1} more, see trueline case check)"
    raise error


def in_one_line(error: BaseException) -> str:
    """A foreign error's message without its line breaks, cut at 200 characters; its type where it has none."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."
