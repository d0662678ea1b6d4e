"""A fault of the exported file alone is blamed on the export, though preprocessing moves the lines farther."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from cases.case import open_case
from cases.synth import synth_cases
from harness.feed.inputs import InputBuilder, cameras_of
from harness.gate import Status, Verdict, judge, load_policy
from harness.ladder import Explanation, explain
from harness.model.card import Card, load_card
from harness.replay.hooks import Hooks
from harness.replay.replay import replay
from harness.run.folder import Run
from tests.harness.faults.onnx_faults import darker_statistics, first_row, quantised

EXAMPLE = Path(__file__).parents[3] / "examples" / "roadlines"
TORCH, FILE, OPTIMISED = (f"deploy/{e}" for e in ("torch-fp32", "ort-fp32-none", "ort-fp32"))
FAULTS = ("int8", "darker", "first-row")


@pytest.fixture(scope="module")
def card() -> Card:
    return load_card(EXAMPLE / "baseline.toml")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synth_cases(9100, 1, 0.5, tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module", params=[*FAULTS, "clean"])
def run(request: pytest.FixtureRequest, card: Card, cases: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp(request.param)
    hooks, batch = _planted(request.param, card, cases[0], folder)
    return replay(
        card, cases, preprocess=["deploy"], out=folder / "run", hooks=hooks, batch=batch, steps=False,
        cache=folder / "cache", settings={"planted": request.param},
    )  # fmt: skip


def _planted(name: str, card: Card, case: Path, folder: Path) -> tuple[Hooks, int]:
    if name == "int8":
        return quantised(card, folder, bits=8), 1
    if name == "darker":
        return darker_statistics(card, folder, _seen(card, case), light=0.7), 1
    return (first_row(card), 4) if name == "first-row" else (Hooks(), 1)


def _seen(card: Card, case: Path) -> torch.Tensor:
    opened = open_case(case)
    build = InputBuilder(card, opened, "train")
    return torch.from_numpy(np.concatenate([build(tick)["image"] for tick in opened.ticks(cameras_of(card))]))


def step_m(run: Run, rung: str, parent: str) -> float:
    """How far a step alone moves the lines at most."""
    rows = run.read("line_metrics").filter(pl.col("rung") == rung, pl.col("reference") == parent)
    return float(rows["offset_max"].abs().max())  # type: ignore[arg-type]  # a number


def stages(explanation: Explanation, rung: str) -> set[str | None]:
    return {f.stage for f in explanation.findings if f.first == rung}


def verdict_of(run: Run, policy: str) -> Verdict | None:
    if policy == "none":
        return None
    return judge(run, load_policy(EXAMPLE / "release.trueline.toml"), "cpu") if policy == "release" else judge(run)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["none", "default", "release"])
def test_the_export_is_blamed_and_preprocessing_for_no_more_than_its_own(run: Run, policy: str) -> None:
    planted = run.meta["settings"]["planted"]
    verdict = verdict_of(run, policy)
    explanation = explain(run, verdict)
    preprocessing, export = step_m(run, TORCH, run.reference), step_m(run, FILE, TORCH)
    if planted == "clean":
        assert export < 1e-4
        assert {f.first for f in explanation.findings} <= {TORCH}
        return
    assert export > 0.15
    assert preprocessing > export or planted == "first-row"  # rows of other frames are off by as much as the road moves
    assert stages(explanation, TORCH) == {"preprocess"}
    assert stages(explanation, FILE) == {"export"}
    assert not stages(explanation, OPTIMISED)
    engine = [f for f in explanation.findings for b in f.breaches if b.rule == "engine" or b.rule.startswith("step-")]
    assert {f.stage for f in engine if f.rung == FILE} <= {"export"}
    assert bool(engine) == (policy != "none")
    assert verdict is None or verdict.status is Status.FAIL


@pytest.mark.slow
def test_one_place_is_told_once_for_one_step(run: Run) -> None:
    findings = explain(run, judge(run)).findings
    places = [(f.case, f.measure, f.track, f.band, f.first, f.statistic) for f in findings]
    assert len(places) == len(set(places))
