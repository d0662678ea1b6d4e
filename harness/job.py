"""The whole job, in its order: replay -> judge -> explain -> report.

Command line, demo, pytest plugin and the Python API all go through here. The order matters: the explanation looks at
the limits that the verdict found broken, and the report shows both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engines.isolate import DEFAULT_TIMEOUT_S
from harness.gate import Baseline, Policy, Verdict, judge, load_policy, open_baseline, write_verdict
from harness.gate.select import choose_profile
from harness.ladder import Explanation, explain
from harness.model.card import DEFAULT_CACHE
from harness.report import write_report
from harness.run.folder import Run
from trueline import TruelineError

if TYPE_CHECKING:
    from harness.model.card import Card
    from harness.replay.hooks import Progress

__all__ = ["JobResult", "conclude", "run_job"]


@dataclass(frozen=True, slots=True)
class JobResult:
    """What came of a job.

    Attributes:
        run: the run folder.
        verdict: what the gate says of it; `verdict.exit_code` is that of the command.
        explanation: which steps moved the lines.
        report: the HTML file, None where it could not be written.
        remarks: what the reader of the report should know: why there is none, or which pictures are missing.
    """

    run: Run
    verdict: Verdict
    explanation: Explanation
    report: Path | None
    remarks: tuple[str, ...] = ()


def run_job(
    card: Card,
    cases: Iterable[str | Path],
    *,
    out: str | Path,
    policy: Policy | str | Path | None = None,
    profile: str | None = None,
    engines: Sequence[str] | None = None,
    preprocess: Sequence[str] | None = None,
    baseline: Run | Baseline | str | Path | None = None,
    only: Sequence[str] = (),
    steps: bool = True,
    floor: bool = False,
    batch: int = 1,
    isolate: bool = False,
    timeout_s: float | None = DEFAULT_TIMEOUT_S,
    reuse: bool = False,
    keep_tensors: bool = False,
    cache: Path = DEFAULT_CACHE,
    progress: Progress | None = None,
) -> JobResult:
    """Replay cases from lab to car, judge the run, explain it and write its report.

    A half-done job goes on where it stopped.

    Args:
        card: the model.
        cases: case folders, or folders of case folders.
        out: the run folder; gets tables, verdict.json and report.html.
        policy: what the candidate must pass; None: no finding at the thresholds of the catalogue.
        profile: of the policy; None for the only one, or `default`.
        engines: engines to run; None for those of the profile, or the default ones where there is none.
        preprocess: pipelines to run; None as for engines.
        baseline: run, or accepted numbers, that rules with `compare = "baseline"` compare with.
        only: `CASE` or `CASE:FIRST-LAST`: these cases, or these of their frames; none: all.
        steps: add rungs that swap single preprocessing steps.
        floor: measure the noise floor of every engine.
        batch: frames an engine takes at once.
        isolate: every engine in a process of its own.
        timeout_s: seconds an isolated engine may take for a frame; None: as long as it likes.
        reuse: take cases that were replayed before from the cache, and keep new ones there.
        keep_tensors: with `reuse`, keep the tensors of every rung too.
        cache: folder of prepared models and kept results.
        progress: told (case, frames done, frames in all).

    Raises:
        TruelineError: bad input, before anything runs; or the replay cannot go on, finished cases stay in `out`.
    """
    from harness.replay.replay import DEFAULT_ENGINES, DEFAULT_PREPROCESS, replay

    chosen = policy if isinstance(policy, Policy) or policy is None else load_policy(Path(policy))
    expected = choose_profile(chosen, profile) if chosen is not None else None
    before = open_baseline(Path(baseline)) if isinstance(baseline, str | Path) else baseline
    run = replay(
        card,
        map(Path, cases),
        engines=engines or (expected.engines if expected else DEFAULT_ENGINES),
        preprocess=preprocess or (expected.preprocess if expected else DEFAULT_PREPROCESS),
        out=Path(out),
        only=only,
        steps=steps,
        floor=floor,
        batch=batch,
        isolate=isolate,
        timeout_s=timeout_s,
        reuse=reuse,
        keep_tensors=keep_tensors,
        cache=cache,
        progress=progress,
    )
    return conclude(run, judge(run, chosen, profile, before))


def conclude(run: Run, verdict: Verdict, out: Path | None = None) -> JobResult:
    """What follows a verdict: verdict.json, the explanation of what it found, and the report.

    A report that cannot be written does not undo a verdict.

    Args:
        run: the run that was judged.
        verdict: what the gate says of it.
        out: folder for verdict.json and report.html; None for the run's own.
    """
    folder = out or run.path
    write_verdict(verdict, folder / "verdict.json")
    explanation = explain(run, verdict)
    remarks: list[str] = []
    report: Path | None = None
    try:
        report = write_report(run, folder / "report.html", verdict, explanation, tell=remarks.append)
    except TruelineError as error:
        remarks.append(f"no report: {error}")
    return JobResult(run, verdict, explanation, report, tuple(remarks))
