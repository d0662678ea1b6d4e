"""Calls of code that is not ours: whatever comes out of them becomes one of our errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trueline._errors import TruelineError

__all__ = ["OF_WHOEVER_RUNS_US", "outside"]

OF_WHOEVER_RUNS_US = (KeyboardInterrupt, GeneratorExit)


@contextmanager
def outside(as_ours: Callable[[BaseException], TruelineError]) -> Iterator[None]:
    """Raise whatever a call of code that is not ours raises as one of our errors; our errors pass as they are.

    Only for blocks that hold such a call and nothing else: a bug of ours in it would be taken for somebody else's.

    Args:
        as_ours: makes the error from the exception.
    """
    try:
        yield
    except (TruelineError, *OF_WHOEVER_RUNS_US):
        raise
    except BaseException as error:  # libraries raise what they like, and code of users calls sys.exit
        raise as_ours(error) from error
