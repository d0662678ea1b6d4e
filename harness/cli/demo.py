"""`trueline demo`: the main job on the built-in example, from synthetic cases to three verdicts and reports."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import JsonOption
from harness.cli.progress import progress_bar
from harness.errors import UsageError
from harness.terminal import print_json

if TYPE_CHECKING:
    from harness.job import JobResult
    from harness.replay.hooks import Progress

__all__ = ["example_folder", "register"]

CANDIDATES = ("baseline", "robust", "cubic")
POLICY = "fp16.trueline.toml"  # the release rules on a car whose engine computes in fp16
FIRST_SEED = 9000  # held out: training uses seeds below 9000 (examples/roadlines/train.py)


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="folder for cases and runs")] = Path("runs/demo"),
    cases: Annotated[int, typer.Option("--cases", help="how many synthetic cases", min=1)] = 8,
    seconds: Annotated[float, typer.Option("--seconds", help="length of each case", min=1)] = 2.0,
    json: JsonOption = False,
) -> None:
    """Render cases, replay three candidates from lab to car, say what moved the lines, judge them, write reports."""
    from harness.cli.run import tell, told

    example = example_folder()
    folders = _cases(out / "cases", cases, seconds)
    with progress_bar("replaying") as progress:
        results = [*_candidates(example, folders, out, progress)]
    if json:
        print_json({name: told(result) for name, result in zip(CANDIDATES, results, strict=True)})
    else:
        for result in results:
            tell(result)


def example_folder() -> Path:
    """Folder of the roadlines example; it lies beside the packages in a clone.

    Raises:
        UsageError: Trueline was installed without its examples.
    """
    folder = Path(__file__).resolve().parents[2] / "examples" / "roadlines"
    if not folder.is_dir():
        raise UsageError(
            "the demo needs examples/roadlines, which only a clone has",
            where=str(folder),
            remedy="clone the repository and run `make demo` there",
        )
    return folder


def _cases(folder: Path, count: int, seconds: float) -> list[Path]:
    from cases.synth import synth_cases

    with progress_bar("rendering") as progress:
        return synth_cases(FIRST_SEED, count, seconds, folder, progress=progress, jobs=os.cpu_count() or 1)


def _candidates(example: Path, cases: Sequence[Path], out: Path, progress: Progress) -> Iterator[JobResult]:
    """The job on every candidate, in their order; as many side by side as there are cores, which share the threads."""
    from multiprocessing import get_context

    from engines.cpu import usable_cores
    from trueline._workers import worker_pool

    cores = usable_cores()
    jobs = min(len(CANDIDATES), cores)
    news = get_context("spawn").SimpleQueue()
    with worker_pool(jobs, _begin, (news,), threads=max(1, cores // jobs)) as pool:
        running = [pool.submit(_job, example, name, cases, out) for name in CANDIDATES]
        for future in running:
            future.add_done_callback(lambda _: news.put(None))
        _told(news, progress)
        for future in running:
            yield future.result()


def _told(news: Any, progress: Progress) -> None:
    """Pass on what the candidates tell until all have ended; those that have not begun have as many frames."""
    done = dict.fromkeys(CANDIDATES, 0)
    left = len(CANDIDATES)
    while left:
        said = news.get()
        if said is None:
            left -= 1
            continue
        name, case, done[name], total = said
        progress(f"{name} {case}", sum(done.values()), total * len(CANDIDATES))


def _job(example: Path, name: str, cases: Sequence[Path], out: Path) -> JobResult:
    """One candidate, in a worker."""
    from harness.job import run_job
    from harness.model.card import load_card

    progress = partial(_tell, name)
    return run_job(
        load_card(example / f"{name}.toml"), cases, out=out / name, policy=example / POLICY, progress=progress
    )


_news: Any = None  # of a worker: where it tells how far it is


def _begin(news: Any) -> None:
    global _news
    _news = news


def _tell(name: str, case: str, done: int, total: int) -> None:
    _news.put((name, case, done, total))


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(demo)
