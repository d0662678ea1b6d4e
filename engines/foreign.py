"""Exceptions of code that is not ours, met at one door: whose they are, and what they say in one line.

Users' networks, decoders and preprocessing functions, third parties' engines, and libraries may raise anything, call
`sys.exit`, or write thirty lines with colours. A caller of such code turns that into one TruelineError:

    with guarded(lambda cause: EngineCrashed(f"it failed: {cause}", where=..., remedy=...)):
        ...

Our own errors pass, and so do our own bugs: those must end in a traceback, not in a sentence about somebody else. Where
the block holds nothing but a call of such code, `outside` takes whatever comes out of it, bugs of ours cannot be in it.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import trueline
from engines.base import told_lines
from trueline import TruelineError
from trueline._outside import OF_WHOEVER_RUNS_US
from trueline._outside import outside as whatever

__all__ = ["LONGEST", "cause_of", "guarded", "is_foreign", "is_ours", "outside"]

LONGEST = 500  # characters of a cause
LONGEST_TEXT = 100_000  # characters of one exception that are looked at

_HOME = Path(trueline.__file__).resolve().parents[1]
_PACKAGES = ("cases", "engines", "harness", "techniques", "trueline")
_OURS = tuple(f"{_HOME / package}/" for package in _PACKAGES)
_STDLIB = f"{Path(sysconfig.get_path('stdlib')).resolve()}/"
_TOOLS = ("numpy", "polars", "pydantic", "onnx", "contextlib")  # they raise what their caller did wrong
# of these a compiled library raises in our frame, or the machine does; code of ours never raises them itself
_OF_LIBRARIES = (RuntimeError, OSError, MemoryError)


class guarded:  # noqa: N801  # read as a verb; a class because engines pass here at every frame
    """Raise what code that is not ours raises as one of our errors; our errors and our bugs pass as they are.

    Args:
        as_ours: makes the error from the cause in one line.
    """

    __slots__ = ("_as_ours",)

    def __init__(self, as_ours: Callable[[str], TruelineError]) -> None:
        self._as_ours = as_ours

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None or isinstance(error, (TruelineError, *OF_WHOEVER_RUNS_US)):
            return
        if is_foreign(error):
            raise self._as_ours(cause_of(error)) from error


@contextmanager
def outside(as_ours: Callable[[str], TruelineError]) -> Iterator[None]:
    """Raise whatever a call of code that is not ours raises as one of our errors; our errors pass as they are.

    Only for blocks that hold such a call and nothing else.

    Args:
        as_ours: makes the error from the cause in one line.
    """
    with whatever(lambda error: as_ours(cause_of(error))):
        yield


def is_ours(thing: object) -> bool:
    """Whether the class of an object, or a class or function itself, is of a package of ours."""
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    return str(getattr(kind, "__module__", "")).partition(".")[0] in _PACKAGES


def is_foreign(error: BaseException) -> bool:
    """Whether code that is not ours is behind an exception caught just now.

    It is where such code is on the way from here to the place it was raised, or where a compiled library raised it,
    which leaves no frame: by its type, or because our code never raises that type. NumPy and the standard library
    raise on behalf of their caller.
    """
    if not isinstance(error, Exception):  # sys.exit, and what derives from BaseException: no code of ours does
        return True
    if any(not _is_ours(file) for file in _files(error.__traceback__)):
        return True
    if isinstance(error, _OF_LIBRARIES) and not isinstance(error, RecursionError):
        return True
    return type(error).__module__.partition(".")[0] not in ("builtins", *_TOOLS, *_PACKAGES)


def cause_of(error: BaseException, limit: int = LONGEST) -> str:
    """An exception and all that led to it, as one line without control characters.

    Each link of the chain says its type and its whole message (of ours: what is wrong), less lines that carry nothing;
    what an outer link quotes of the next is said once. Where all is longer than `limit`, every link keeps its beginning
    and its end.
    """
    said: list[str] = []
    for link in _chain(error):
        opening, text = _said(link)
        if said and text == type(link).__name__:
            continue  # it has no message
        at = _quoted(opening, said[-1]) if said else -1
        if at < 0:
            said.append(text)
        elif len(text) > len(said[-1]) - at:
            said[-1] = said[-1][:at] + text  # the outer one quoted only its beginning
    share = (limit - len("; because ") * (len(said) - 1)) // len(said)
    spare = sum(max(share - len(text), 0) for text in said)
    longer = sum(len(text) > share for text in said)
    return "; because ".join(_shortened(text, share + spare // max(longer, 1)) for text in said)


def _quoted(opening: str, outer: str) -> int:
    """Where an outer link quotes the beginning of an inner one, with or without its type; -1: nowhere."""
    bare = opening.partition(": ")[2]
    at = outer.find(opening[:60])
    return at if at >= 0 or len(bare) < 8 else outer.find(bare[:60])


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it was raised from or while handling, and so on; at most six."""
    link: BaseException | None = error
    for _ in range(6):
        if link is None:
            return
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _said(error: BaseException) -> tuple[str, str]:
    """What an exception says, without its causes: the first line that carries something, and all of it."""
    if isinstance(error, SystemExit):
        return (f"it called sys.exit({error.code!r})",) * 2
    ours = isinstance(error, TruelineError)
    lines = told_lines(error.what if isinstance(error, TruelineError) else _text(error))
    kind = "" if ours else f"{type(error).__name__}: "
    if not lines:
        return (type(error).__name__,) * 2
    return kind + lines[0], kind + "; ".join(lines)


def _text(error: BaseException) -> str:
    """What an exception says; its class may be anybody's, and say it at any length or fail to."""
    try:
        return str(error)[:LONGEST_TEXT]
    except Exception:
        return ""


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head = (limit - 5) * 2 // 3
    return f"{text[:head].rstrip()} ... {text[len(text) - (limit - 5 - head) :].lstrip()}"


def _files(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename
        trace = trace.tb_next


def _is_ours(file: str) -> bool:
    """Whether a frame is ours, or of a tool that acts for its caller."""
    if file.startswith((*_OURS, "<frozen ")):
        return True
    package = _package(file)
    return package in _TOOLS or (package == "" and file.startswith(_STDLIB))


def _package(file: str) -> str:
    """Name of the installed package that a file belongs to; empty where it belongs to none."""
    _, found, rest = file.replace("\\", "/").rpartition("/site-packages/")
    return rest.partition("/")[0] if found else ""
