"""Output tensors of one engine on one case, for other tools: Polygraphy's RunResults as JSON.

A replay keeps numbers about lines and no tensors. Here tensors are written, one frame after the other, so that
`polygraphy` can compare them with what it computed itself; with the moments beside them (`NAME.timestamps`) the file is
also a dump that the engine `recorded` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter_ns

from cases.case import Case, find_cases, open_case
from cases.picture import Tick
from engines.errors import RecordingGap
from engines.formats.polygraphy import Iteration, feeds_into, write_runs
from engines.guest import read_only
from engines.protocol import Engine, Tensors
from engines.registry import family
from harness.errors import UsageError
from harness.feed.inputs import InputBuilder, cameras_of, context_of, initial_state, is_variant, steps_of_card
from harness.feed.swaps import single_swaps
from harness.model.card import DEFAULT_CACHE, Card
from harness.replay.hooks import Hooks, Progress, quiet
from harness.replay.open import open_engine
from harness.replay.outputs import OutputCheck
from trueline._drafts import replacing

__all__ = ["write_outputs"]


def write_outputs(
    card: Card,
    folder: Path,
    out: Path,
    *,
    engine: str,
    preprocess: str = "deploy",
    inputs: Path | None = None,
    cache: Path = DEFAULT_CACHE,
    hooks: Hooks | None = None,
    progress: Progress | None = None,
) -> int:
    """Run an engine over a case and write its outputs.

    Args:
        card: the model.
        folder: one case.
        out: JSON file, and `NAME.timestamps` beside it: nanoseconds, one frame a line.
        engine: name; the runner's name in Polygraphy is `PREPROCESS/ENGINE`.
        preprocess: `train`, `deploy`, or one of them with steps swapped, `train+resize`, `deploy-resize`.
        inputs: where to write what the network was fed, as Polygraphy's `--load-inputs` reads it.
        cache: folder of prepared artefacts.
        hooks: how engines are opened.
        progress: told (case, frames done, frames).

    Returns:
        The number of frames written; a dump's gaps are left out.

    Raises:
        TruelineError: bad input, or the engine failed; nothing is left in `out` then.
    """
    case = _only_case(folder)
    _check_pipeline(card, preprocess)
    for file in filter(None, (out, inputs)):
        _check_place(file)
    with ExitStack() as stack:
        opened = open_engine(engine, card, [case], hooks or Hooks(), cache, stack)
        feed = stack.enter_context(_feeding(inputs))
        frames = _Frames(card, case, opened, preprocess, feed, progress or quiet)
        with replacing(out) as draft:
            write_runs(draft, f"{preprocess}/{engine}", frames)
        with replacing(out.with_suffix(".timestamps")) as draft:
            draft.write_text("".join(f"{moment}\n" for moment in frames.timestamps_ns), encoding="ascii")
    return len(frames.timestamps_ns)


@dataclass
class _Frames:
    """The case run frame by frame; iterating does the work and fills `timestamps_ns`."""

    card: Card
    case: Case
    engine: Engine
    preprocess: str
    feed: Callable[[Tensors], None]
    progress: Progress

    def __post_init__(self) -> None:
        self.timestamps_ns: list[int] = []
        optional = tuple(self.card.state) if family(self.engine.name) == "recorded" else ()
        self.check = OutputCheck(self.card.outputs, f"{self.preprocess}/{self.engine.name}", optional)

    def __iter__(self) -> Iterator[Iteration]:
        build, state = InputBuilder(self.card, self.case, self.preprocess), initial_state(self.card)
        self.engine.start_case(replace(context_of(self.case), rung=f"{self.preprocess}/{self.engine.name}"))
        total = len(self.case.timestamps_ns)
        for done, tick in enumerate(self.case.ticks(cameras_of(self.card)), start=1):
            tensors = {**build(tick), **state}
            found = self._run(tensors, tick)
            if found is not None:
                self.feed(tensors)
                self.timestamps_ns.append(tick.timestamp_ns)
                state |= {into: found.outputs[n] for n, into in self.card.state.items() if n in found.outputs}
                yield found
            self.progress(self.case.id, done, total)

    def _run(self, tensors: Tensors, tick: Tick) -> Iteration | None:
        if self.engine.uses_time:
            self.engine.seek(tick.timestamp_ns)
        start = perf_counter_ns()
        try:
            outputs = self.engine.infer(read_only(tensors))
        except RecordingGap:
            return None
        elapsed_ns = perf_counter_ns() - start
        return Iteration(outputs | self.check(outputs), elapsed_ns / 1e9)


def _only_case(folder: Path) -> Case:
    found = list(find_cases([folder]))
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} cases in {folder}", where="--case", remedy="name one case folder; a file holds one case"
        )
    return open_case(found[0])


def _check_pipeline(card: Card, preprocess: str) -> None:
    if not is_variant(card, preprocess):
        known = ["train", "deploy", *(s.name for s in single_swaps("train", steps_of_card(card)))]
        raise UsageError(f"no pipeline {preprocess!r}", where="--preprocess", remedy=f"it is one of {known}")


def _check_place(file: Path) -> None:
    if file.suffix != ".json":
        raise UsageError(
            f"{file.name} is no name for Polygraphy's JSON", where=str(file), remedy="let the name end in .json"
        )
    if not file.parent.is_dir():
        raise UsageError(f"no folder {file.parent}", where=str(file), remedy="make the folder first")


@contextmanager
def _feeding(path: Path | None) -> Iterator[Callable[[Tensors], None]]:
    if path is None:
        yield lambda tensors: None
        return
    with replacing(path) as draft, feeds_into(draft) as add:
        yield add
