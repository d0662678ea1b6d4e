"""Stages that overlap do what one after the other would do: same order, same errors in the same place, nothing left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import engines
from cases.synth import synth_cases
from engines.errors import EngineCrashed
from engines.protocol import Engine, ModelSource
from harness.model.card import Card, load_card
from harness.replay import rung_reading
from harness.replay.decoding import Decoded, decode_frames
from harness.replay.hooks import Hooks
from harness.replay.replay import replay
from harness.replay.stages import ahead, behind
from harness.run.folder import Run
from harness.run.tables import TABLES
from tests.harness.tiny_model import CARD, write_tiny
from trueline import TruelineError

ENGINES = ("torch-fp32", "ort-fp32")
FRAMES = 24
SHARED = '''
import numpy as np

class OneBuffer:
    """Gives the same array for every picture, filled anew."""

    def __call__(self, image):
        if not hasattr(self, "buffer"):
            self.buffer = np.empty((1, *image.transpose(2, 0, 1).shape), image.dtype)
        self.buffer[0] = image.transpose(2, 0, 1)
        return self.buffer

class Fresh:
    def __call__(self, image):
        return image.transpose(2, 0, 1)[None].copy()
'''


def _threads() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith("trueline-")}


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**30])
def test_items_made_ahead_come_in_their_order(size: int) -> None:
    with ahead(iter(range(500)), lambda _: size) as items:
        assert list(items) == list(range(500))
    assert not _threads()


def test_large_items_are_not_made_far_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for k in range(100):
            made.append(k)
            yield k

    with ahead(items(), lambda _: 2**30) as taken:
        assert next(taken) == 0
        time.sleep(0.05)
        assert len(made) <= 4


def test_an_error_ahead_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield from range(100)
        raise TruelineError("torn", where="here", remedy="none")

    with ahead(items(), lambda _: 1) as taken:
        assert [next(taken) for _ in range(100)] == list(range(100))
        with pytest.raises(TruelineError, match="torn"):
            next(taken)


def test_a_stream_that_nobody_reads_on_ends_its_thread() -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 1

    with ahead(endless(), lambda _: 2**20) as taken:
        next(taken)
    assert not _threads()


def test_work_behind_is_done_in_order_and_an_error_ends_it() -> None:
    done: list[int] = []

    def fails() -> None:
        raise ValueError("planted")

    def work() -> None:
        with behind() as later:
            for k in range(3):
                later.submit(lambda k=k: done.append(k))  # type: ignore[misc]  # a default binds k now
            later.submit(fails)
            later.submit(lambda: done.append(99))

    with pytest.raises(ValueError, match="planted"):
        work()
    assert done == [0, 1, 2]
    assert not _threads()


def test_what_work_needs_is_closed_where_the_caller_is_stopped() -> None:
    class Resource:
        closed = 0

        def close(self) -> None:
            self.closed += 1

    resource = Resource()

    def work() -> None:
        with behind() as later:
            later.hold(resource)
            later.submit(lambda: time.sleep(0.05))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert resource.closed == 1
    assert not _threads()


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synth_cases(1, 1, FRAMES / 20, tmp_path_factory.mktemp("cases"))[0]


@pytest.fixture
def tiny(tmp_path: Path) -> Card:
    return load_card(write_tiny(tmp_path / "tiny"))


def _run(card: Card, case: Path, out: Path, hooks: Hooks | None = None) -> Run:
    options: dict[str, Any] = {
        "engines": ENGINES,
        "preprocess": ["train"],
        "steps": False,
        "cache": card.root / "cache",
    }
    return replay(card, [case], out=out, hooks=hooks, **options)


def _same(left: Run, right: Run) -> bool:
    return all(left.read(name).equals(right.read(name)) for name in TABLES if name != "latency")


def _crashing(at: int) -> Hooks:
    """ort-fp32 crashes at its frame number `at`."""

    def opened(name: str, source: ModelSource) -> Engine:
        engine = engines.open(name, source)
        if name == "ort-fp32":
            infer, calls = engine.infer, [0]

            def crashes(inputs: Any) -> Any:
                calls[0] += 1
                if calls[0] > at:
                    raise EngineCrashed("planted crash", where="here", remedy="none")
                return infer(inputs)

            engine.infer = crashes  # type: ignore[method-assign]  # of this instance
        return engine

    return Hooks(opened)


def _decoder_that_fails(monkeypatch: pytest.MonkeyPatch, frame: int, every: int = 2) -> None:
    """The decoding of every second rung fails at a frame, after a while in which the engines run on."""
    calls = [0]

    def decode(decoder: Any, stacked: Any, frames: Any) -> Decoded:
        time.sleep(0.1)
        calls[0] += 1
        found = decode_frames(decoder, stacked, frames)
        if calls[0] % every == 0 and frame in frames:
            at = frames.tolist().index(frame)
            kept = found.lines.take(found.lines.frame < frame)
            return Decoded(kept, at, TruelineError("planted decoder", where="here", remedy="none"))
        return found

    monkeypatch.setattr(rung_reading, "decode_frames", decode)


def test_slow_stages_change_no_table(tiny: Card, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.replay.case_loop.CHUNK_FRAMES", 4)
    quick = _run(tiny, case, tmp_path / "quick")
    _decoder_that_fails(monkeypatch, frame=-1)
    assert _same(_run(tiny, case, tmp_path / "slow"), quick)


@pytest.mark.parametrize("crash_at", [13, 6])
def test_the_earlier_failure_is_told_whichever_stage_met_it(
    crash_at: int, tiny: Card, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.replay.case_loop.CHUNK_FRAMES", 4)
    _decoder_that_fails(monkeypatch, frame=9)
    run = _run(tiny, case, tmp_path / "run", _crashing(crash_at))
    (bad,) = (r for r in run.rungs if r["engine"] == "ort-fp32")
    assert bad["status"] == "crashed"
    assert ("planted decoder" if crash_at > 9 else "planted crash") in bad["reason"]
    assert run.read("frame_metrics").filter(rung=bad["name"])["frame"].max() == min(8, crash_at - 1)


def test_an_error_of_the_reference_behind_comes_before_one_ahead(
    tiny: Card, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.replay.case_loop.CHUNK_FRAMES", 4)
    _decoder_that_fails(monkeypatch, frame=5, every=1)
    with pytest.raises(TruelineError, match="planted decoder") as caught:
        _run(tiny, case, tmp_path / "run", _crashing(10))
    assert "frame 5" in str(caught.value)
    assert list((tmp_path / "run" / "parts").iterdir()) == []
    assert not _threads()


def test_a_buffer_that_preprocessing_fills_anew_is_copied(tiny: Card, case: Path, tmp_path: Path) -> None:
    """A step that returns one array for every picture, where nothing after it makes another."""
    (tiny.root / "users_steps.py").write_text(SHARED)
    last = '{op = "normalise"},\n]'
    assert last in CARD
    runs = []
    for name in ("OneBuffer", "Fresh"):
        tiny.path.write_text(CARD.replace(last, f'{{op = "normalise"}}, {{op = "users_steps:{name}"}},\n]', 1))
        runs.append(_run(load_card(tiny.path), case, tmp_path / f"run {name}"))
    assert _same(*runs)
