"""What trials share: tensors of cases that are known whole, given back as they were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.base import FrameEngine
from engines.protocol import CaseContext
from harness.precision.recall import Frames, RecallsInputs, RecallsOutputs

TIMES = (10, 20, 30)


class Counting(FrameEngine):
    """Adds one, and counts how often it was asked."""

    def __init__(self, *, keeps_state: bool = False) -> None:
        super().__init__("counting", {})
        self.keeps_state = keeps_state
        self.asked: list[dict[str, float]] = []
        self.closed = False

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.asked.append({name: float(array[0]) for name, array in inputs.items()})
        return {"y": inputs["x"] + 1}

    def close(self) -> None:
        self.closed = True


def case(name: str = "a", rung: str = "deploy/counting") -> CaseContext:
    return CaseContext(name, Path(), timestamps_ns=TIMES, rung=rung)


def run(engine: Any, context: CaseContext, *, times: tuple[int, ...] = TIMES, **more: float) -> list[float]:
    engine.start_case(context)
    fed = {name: np.full(1, value) for name, value in more.items()}
    given = []
    for time in times:
        engine.seek(time)
        x = {"x": np.full(1, float(time))} if engine.needs_inputs else {}
        given.append(float(engine.infer({**x, **fed})["y"][0]))
    return given


def test_outputs_of_a_known_case_come_without_the_engine_and_without_inputs() -> None:
    engine, frames = Counting(), Frames()
    first = run(RecallsOutputs(engine, frames), case())
    again = RecallsOutputs(engine, frames)
    assert run(again, case()) == first == [11.0, 21.0, 31.0]
    assert not again.needs_inputs
    assert len(engine.asked) == 3


def test_another_case_and_another_rung_are_not_known() -> None:
    engine, frames = Counting(), Frames()
    for context in (case(), case("b"), case(rung="train/counting")):
        run(RecallsOutputs(engine, frames), context)
    assert len(engine.asked) == 9


def test_a_case_that_is_known_in_part_runs_whole_again() -> None:
    engine, frames = Counting(), Frames()
    run(RecallsOutputs(engine, frames), case(), times=TIMES[:2])
    assert run(RecallsOutputs(engine, frames), case()) == [11.0, 21.0, 31.0]
    assert len(engine.asked) == 5


def test_frames_beyond_the_limit_are_fed_again() -> None:
    engine, frames = Counting(), Frames(limit_bytes=16)
    for _ in range(2):
        assert run(RecallsInputs(engine, frames), case()) == [11.0, 21.0, 31.0]
    assert len(engine.asked) == 6


def test_the_searched_engine_runs_every_frame_on_known_inputs_and_on_states_of_its_own() -> None:
    engine, frames = Counting(), Frames()
    back = frozenset({"state"})
    run(RecallsInputs(engine, frames, back), case(), state=1.0)
    again = RecallsInputs(engine, frames, back)
    assert run(again, case(), state=2.0) == [11.0, 21.0, 31.0]
    assert not again.needs_inputs
    assert engine.asked[-1] == {"x": 30.0, "state": 2.0}


def test_what_is_kept_is_a_copy() -> None:
    frames, x = Frames(), np.zeros(1)
    for time in TIMES:
        frames.keep(case(), time, {"x": x})
    x += 1
    known = frames.whole(case())
    assert known is not None
    assert all(tensors["x"] == 0 for tensors in known.values())


@pytest.mark.parametrize("keeps_state", [True, False])
def test_a_reference_that_other_rungs_may_use_stays_open(keeps_state: bool) -> None:
    engine = Counting(keeps_state=keeps_state)
    RecallsOutputs(engine, Frames()).close()
    assert engine.closed is keeps_state
    RecallsInputs(engine, Frames()).close()
    assert engine.closed
