"""Tensors of rungs, kept by choice: another decoder, policy or truth then needs no engine to run again.

A rung whose tensors of a case are kept is run by an engine that gives them back frame by frame, with the times that
`infer` took when they were made; another is run by its own engine, and what it gives is written along. Kept are
engines whose outputs follow from their inputs alone: a recording is on disk already, a program may do anything.

    outputs.json    names, types and shapes of a frame's outputs; number of frames
    0.bin, 1.bin    all frames of the first output, of the second, ..., end to end
    elapsed.bin     nanoseconds of `infer`, int64
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter_ns
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from engines.protocol import CaseContext, Engine, Tensors
from harness.model.card import Card
from harness.replay.open import Opened
from harness.replay.result_keys import rung_key
from harness.replay.results import TENSORS, Results
from harness.run.rungs import Rung
from trueline._drafts import remove_tree

__all__ = ["KeptTensors"]

ABOUT, ELAPSED = "outputs.json", "elapsed.bin"


class KeptTensors:
    """The rungs of one case, each run by its engine or by what is kept of it.

    Args:
        results: where tensors are kept.
        card: the model.
        case: the case.
        rungs: of the ladder.
        opened: their engines.
        only_take: write nothing along.
    """

    def __init__(
        self,
        results: Results,
        card: Card,
        case: Case,
        rungs: Sequence[Rung],
        opened: Opened,
        *,
        only_take: bool = False,
    ) -> None:
        self._results = results
        self._writers: dict[str, _Writer] = {}
        self.reused: list[str] = []
        own = dict(opened.own)
        for rung in rungs:
            engine = opened.of(rung)
            if rung.name in opened.failed or (key := rung_key(card, rung, engine, case)) is None:
                continue
            if (kept := results.find(TENSORS, key)) is not None:
                own[rung.name] = _Reader(engine, kept)
                self.reused.append(rung.name)
            elif not only_take:
                own[rung.name] = self._writers[key] = _Writer(engine, results.draft(TENSORS))
        self.opened = replace(opened, own=own)
        self._frames = case.length

    def close(self, *, keep: bool) -> None:
        """Keep what ran through every frame, drop the rest.

        Args:
            keep: the case was finished.
        """
        for key, writer in self._writers.items():
            with writer:
                if keep and writer.finish() == self._frames:
                    self._results.move(TENSORS, key, writer.folder)


class _Same:
    """An engine in the place of another, which it is told apart from by nothing but what `infer` does."""

    uses_time = False
    keeps_state = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = engine.name

    @property
    def provenance(self) -> Mapping[str, Any]:
        """That of the engine."""
        return self._engine.provenance

    def start_case(self, context: CaseContext) -> None:
        """Tell the engine."""
        self._engine.start_case(context)

    def seek(self, timestamp_ns: int) -> None:
        """Time changes nothing."""

    def close(self) -> None:
        """The engine is closed by whoever opened it."""


class _Writer(_Same):
    """Runs the engine and writes along what it gives."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        super().__init__(engine)
        self.folder = folder
        self._stack = ExitStack()
        self._files: dict[str, IO[bytes]] = {}
        self._about: dict[str, list[Any]] = {}
        self._elapsed: list[int] = []
        self._broken = False

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        remove_tree(self.folder)

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """What the engine gives."""
        start = perf_counter_ns()
        outputs = self._engine.infer(inputs)
        elapsed_ns = perf_counter_ns() - start
        if not self._broken:
            try:
                self._write(outputs, elapsed_ns)
            except (OSError, AttributeError, TypeError, ValueError):  # a full disk, or outputs that are no arrays
                self._broken = True
        return outputs

    def finish(self) -> int:
        """Frames that are written; none where they cannot be kept."""
        self._stack.close()
        if self._broken:
            return -1
        with suppress(OSError):
            (self.folder / ELAPSED).write_bytes(np.array(self._elapsed, np.int64).tobytes())
            (self.folder / ABOUT).write_text(json.dumps({"frames": len(self._elapsed), "outputs": self._about}))
            return len(self._elapsed)
        return -1

    def _write(self, outputs: Tensors, elapsed_ns: int) -> None:
        about = {name: [array.dtype.str, list(array.shape)] for name, array in outputs.items()}
        if not self._files:
            self._about = about
            self.folder.mkdir(parents=True)
            for k, name in enumerate(outputs):
                self._files[name] = self._stack.enter_context((self.folder / f"{k}.bin").open("wb"))
        if about != self._about:
            raise ValueError("outputs change their shapes")
        for name, array in outputs.items():
            self._files[name].write(np.ascontiguousarray(array).tobytes())
        self._elapsed.append(elapsed_ns)


class _Reader(_Same):
    """Gives kept outputs back, one frame after the other."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        super().__init__(engine)
        self.needs_inputs = False
        told = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        self._arrays = {
            name: _stored(folder / f"{k}.bin", np.dtype(kind), (told["frames"], *shape))
            for k, (name, (kind, shape)) in enumerate(told["outputs"].items())
        }
        self._elapsed = np.fromfile(folder / ELAPSED, np.int64).tolist()
        self._next = 0
        self.told_elapsed_ns = 0

    def start_case(self, context: CaseContext) -> None:
        """From the first frame on."""
        self._next = 0

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """The outputs of the next frame."""
        frame, self._next = self._next, self._next + 1
        self.told_elapsed_ns = self._elapsed[frame]
        return {name: np.array(array[frame]) for name, array in self._arrays.items()}


def _stored(file: Path, kind: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    return np.memmap(file, kind, "r", shape=shape) if 0 not in shape else np.zeros(shape, kind)
