"""The demo's main job for one candidate: replay, explain, judge, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import UsageError
from harness.gate import judge, load_policy, render, write_verdict
from harness.gate.verdict import Verdict
from harness.ladder import explain
from harness.ladder import render as render_explanation
from harness.model.card import Card
from harness.replay.hooks import Progress
from harness.replay.replay import replay
from harness.report import write_report

__all__ = ["example_folder", "run_candidate"]


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


def run_candidate(card: Card, cases: Sequence[Path], policy: Path, out: Path, progress: Progress) -> Verdict:
    """Replay one candidate, print what moved its lines and its verdict, and write its report."""
    run = replay(card, cases, out=out, progress=progress)
    verdict = judge(run, load_policy(policy))
    write_verdict(verdict, out / "verdict.json")
    explanation = explain(run)  # after the verdict: the limits it found breached are explained too
    render_explanation(explanation)
    render(verdict)
    write_report(run, verdict=verdict, explanation=explanation)
    return verdict
