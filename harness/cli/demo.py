"""`trueline demo`: the main job on the built-in example, from synthetic cases to three verdicts and reports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.progress import progress_bar
from harness.errors import UsageError

__all__ = ["example_folder", "register"]

CANDIDATES = ("baseline", "robust", "cubic")
POLICY = "fp16.trueline.toml"  # the release rules on a car whose engine computes in fp16
FIRST_SEED = 9000  # held out: training uses seeds below 9000 (examples/roadlines/train.py)


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="folder for cases and runs")] = Path("runs/demo"),
    cases: Annotated[int, typer.Option("--cases", help="how many synthetic cases", min=1)] = 8,
    seconds: Annotated[float, typer.Option("--seconds", help="length of each case", min=1)] = 2.0,
) -> None:
    """Render cases, replay three candidates from lab to car, say what moved the lines, judge both, write reports."""
    from harness.cli.run import tell
    from harness.job import run_job
    from harness.model.card import load_card

    example = example_folder()
    folders = _cases(out / "cases", cases, seconds)
    for name in CANDIDATES:
        card = load_card(example / f"{name}.toml")
        with progress_bar(f"replaying {name}") as progress:
            result = run_job(card, folders, out=out / name, policy=example / POLICY, progress=progress)
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


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(demo)
