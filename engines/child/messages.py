"""Models, cases and errors as JSON text, for the metadata of messages between processes."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from engines import errors
from engines.errors import EngineCrashed, EngineError
from engines.foreign import cause_of
from engines.protocol import CaseContext, ModelSource

__all__ = ["from_json", "raised", "said", "to_json"]


def to_json(value: ModelSource | CaseContext) -> str:
    """A model or a case as JSON; numbers that are not finite stay what they are."""
    kind: Any = type(value)
    return json.dumps(_adapter(kind).dump_python(value, mode="json"))


def from_json(kind: Any, text: str) -> Any:
    """The same object again."""
    return _adapter(kind).validate_python(json.loads(text))


def said(error: BaseException, kind: type[EngineError] = EngineCrashed) -> str:
    """An exception as JSON: every name it goes by, its whole cause, where and remedy.

    Args:
        error: what was raised.
        kind: what an exception becomes that is none of engines.errors; it has neither where nor remedy.
    """
    names = [base.__name__ for base in type(error).__mro__]
    if isinstance(error, EngineError):
        return json.dumps([names, cause_of(error), error.where, error.remedy])
    return json.dumps([[kind.__name__], cause_of(error), "", ""])


def raised(text: str, where: str, remedy: str) -> EngineError:
    """The error of `said`: of the nearest kind that engines.errors has; EngineCrashed if none.

    Args:
        text: what `said` gave.
        where, remedy: for a foreign exception, which has none.
    """
    names, what, their_where, their_remedy = json.loads(text)
    kinds = (getattr(errors, name, None) for name in names if name in errors.__all__)
    kind: type[EngineError] = next((k for k in kinds if k is not None), EngineCrashed)
    return kind(what, where=their_where or where, remedy=their_remedy or remedy)


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
