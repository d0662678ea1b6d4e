"""Whose an exception is, and what it says in one line."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnxruntime
import pytest

import engines.foreign
from engines.errors import EngineCrashed, ModelLoadError
from engines.foreign import LONGEST, cause_of, guarded, is_foreign


def _raised(act) -> BaseException:
    try:
        act()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def _chained(*errors: BaseException) -> BaseException:
    """The first, caused by the second, and so on."""
    for outer, inner in pairwise(errors):
        outer.__cause__ = inner
    return errors[0]


def _ours(call, *args):
    """Run code as if it stood in a module of ours."""
    scope: dict = {}
    exec(compile("def run(call, args): return call(*args)", engines.foreign.__file__, "exec"), scope)
    with_frame = scope["run"]
    return lambda: with_frame(call, args)


def _without_test_frames(error: BaseException) -> BaseException:
    """As an exception looks whose door is in our code: no frame of this file on the way."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return error.with_traceback(trace)


def test_a_users_exception_is_foreign() -> None:
    assert is_foreign(_raised(lambda: {}["gone"]))


@pytest.mark.parametrize(
    ("call", "args"),
    [
        (int, ("x",)),  # ValueError
        (dict.__getitem__, ({}, "gone")),  # KeyError
        (np.concatenate, ([],)),  # NumPy raises what we did wrong
        (np.stack, ([np.zeros(2), np.zeros(3)],)),  # in a frame of its own
    ],
)
def test_our_own_bug_is_not(call, args) -> None:
    assert not is_foreign(_without_test_frames(_raised(_ours(call, *args))))


def _load_nothing() -> None:
    onnxruntime.InferenceSession(b"no model")


@pytest.mark.parametrize("call", [_load_nothing, lambda: (_ for _ in ()).throw(SystemExit(2))])
def test_what_a_library_raises_is_foreign(call) -> None:
    assert is_foreign(_raised(call))


def test_a_compiled_librarys_exception_without_a_frame_is_foreign() -> None:
    compiled = type("Fail", (Exception,), {"__module__": "somebodys.bindings"})
    for kind in (compiled, RuntimeError, MemoryError):
        assert is_foreign(kind("x")), kind
    for kind in (ValueError, AssertionError, RecursionError, NotImplementedError):
        assert is_foreign(kind("x")) == issubclass(kind, NotImplementedError), kind


def test_the_door_turns_foreign_exceptions_into_ours_and_lets_our_own_pass() -> None:
    def as_ours(cause: str) -> ModelLoadError:
        return ModelLoadError(f"it does not load: {cause}", where="here", remedy="none")

    with pytest.raises(ModelLoadError, match="it does not load: ZeroDivisionError"), guarded(as_ours):
        1 / 0  # noqa: B018  # the division raises
    with pytest.raises(ModelLoadError, match=r"it called sys.exit\(3\)"), guarded(as_ours):
        raise SystemExit(3)
    with pytest.raises(EngineCrashed, match="as it was"), guarded(as_ours):
        raise EngineCrashed("as it was", where="w", remedy="r")
    with pytest.raises(KeyboardInterrupt), guarded(as_ours):
        raise KeyboardInterrupt


def test_a_cause_is_one_line_with_every_link() -> None:
    error = _chained(
        ModelLoadError("OpenVINO cannot read it: RuntimeError: \x1b[31mCheck failed", where="w", remedy="r"),
        RuntimeError("\x1b[31mCheck failed\nException from src/core.cpp:109:\n\n  input 376 is an alias\n------"),
        KeyError("input_rgb"),
    )
    said = cause_of(error)
    assert said == (
        "OpenVINO cannot read it: RuntimeError: Check failed; input 376 is an alias; because KeyError: 'input_rgb'"
    )


def test_a_cause_says_a_thing_once() -> None:
    inner = ValueError("the same words again and again")
    outer = ModelLoadError(f"it failed: {cause_of(inner)}", where="w", remedy="r")
    assert cause_of(_chained(outer, inner)) == "it failed: ValueError: the same words again and again"
    assert cause_of(_chained(outer, inner, ValueError())) == cause_of(outer)


@pytest.mark.parametrize("links", [1, 2, 5])
def test_a_long_cause_keeps_the_beginning_and_the_end_of_every_link(links: int) -> None:
    errors = [RuntimeError(f"begin{k} " + f"noise{k} " * 400 + f"end{k}") for k in range(links)]
    said = cause_of(_chained(*errors))
    assert len(said) <= LONGEST
    for k in range(links):
        assert f"begin{k}" in said
        assert f"end{k}" in said


def test_short_links_leave_their_room_to_long_ones() -> None:
    said = cause_of(_chained(ValueError("short"), ValueError("x" * 5000)))
    assert LONGEST - 10 <= len(said) <= LONGEST


def test_a_cause_without_a_message_is_its_type() -> None:
    assert cause_of(NotImplementedError()) == "NotImplementedError"
