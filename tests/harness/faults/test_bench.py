"""The bench: faults of every stage are caught and blamed on their stage, controls are not flagged, harm is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from harness.errors import FaultError
from harness.faults import CONTROLS, FAULTS, Bench, Outcome, Site, try_control, try_fault
from harness.faults.bench import Ran
from harness.gate.default import policy_of
from harness.gate.policy import Rule
from harness.model.card import load_card
from harness.run.folder import Run
from harness.run.rungs import STAGES
from tests.harness.faults.seeker import write_case, write_model


# the clean chain of this model shows 0.001 m of offset and 0.0012 m of jitter (a pixel of its input is 0.25 m), no lag
# at all, and 0.007 m of bend; a bow of 0.2 m is under the far band's event threshold of 0.30 m and needs its own limit
def rule(metric: str, statistic: str, limit: str, **more: Any) -> Rule:
    return Rule(**{"id": metric, "metric": metric, "rung": "deploy/*", "statistic": statistic, "limit": limit} | more)


LIMITS = (
    rule("offset_mean", "p95", "0.01 m"),
    rule("jitter", "max", "0.0025 m"),
    rule("bend", "max", "0.1 m", band="far"),
    rule("missing", "max", "0 lines"),
    rule("extra", "max", "0 lines"),
    rule("coverage", "min", ">= 80 %"),
)
FACTORS = {
    "rb_swap": "preprocess",
    "stale_frame": "preprocess",
    "batchnorm_training": "export",
    "pruned": "export",
    "fp16_overflow": "precision:fp16",
    "swapped_slots": "graph-optimisation",
    "dropped_frames": "car",
    "far_bow": "car",
    "swing_1hz": "car",
    "other_axes": "decoder",
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    root = tmp_path_factory.mktemp("bench")
    card = load_card(write_model(root / "model"))
    cases = (write_case(root / "cases", 0, lossy=True),)
    return Bench(card, cases, root / "out", policy_of(LIMITS, "bench"), cache=root / "cache")


@pytest.fixture(scope="module")
def clean(bench: Bench) -> Ran:
    return bench.clean()


def run_of(bench: Bench, clean: Ran, name: str) -> Run:
    if not (bench.runs / f"{name}@1").exists():
        try_fault(bench, clean, FAULTS[name])
    return Run.open(bench.runs / f"{name}@1")


def test_the_clean_chain_passes(clean: Ran) -> None:
    assert clean.verdict.status == "PASS"


@pytest.mark.slow
@pytest.mark.parametrize("name", FACTORS)
def test_a_fault_is_caught_and_blamed_on_its_stage(bench: Bench, clean: Ran, name: str) -> None:
    outcome = try_fault(bench, clean, FAULTS[name])
    assert outcome.planted, outcome.refused
    assert outcome.caught
    assert (outcome.blamed, outcome.factor) == (FAULTS[name].stage, FACTORS[name])
    assert outcome.right


@pytest.mark.slow
def test_only_rungs_that_a_fault_changes_are_run_again(bench: Bench, clean: Ran) -> None:
    rungs = {case: set(told) for case, told in run_of(bench, clean, "swapped_slots").meta["reused"]["tensors"].items()}
    assert rungs == {"road_0": {"train/torch-fp32", "deploy/torch-fp32", "deploy/ort-fp32-none"}}
    rungs = {case: set(told) for case, told in run_of(bench, clean, "rb_swap").meta["reused"]["tensors"].items()}
    assert rungs == {"road_0": {"train/torch-fp32"}}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spelled_out", "reordered", "rebuilt", "rounding_noise"])
def test_a_clean_run_is_not_flagged(bench: Bench, clean: Ran, name: str) -> None:
    outcome = try_control(bench, clean, CONTROLS[name])
    assert outcome.planted, outcome.refused
    assert outcome.right, outcome.rules
    assert outcome.harm == "harmless"


@pytest.mark.slow
def test_the_bow_reads_02_m_in_the_far_band_and_nothing_elsewhere(bench: Bench, clean: Ran) -> None:
    rows = run_of(bench, clean, "far_bow").read("line_metrics")
    rows = rows.filter((pl.col("rung") == "deploy/recorded") & (pl.col("reference") == "deploy/ort-fp32"))
    bend = dict(rows.group_by("band").agg(pl.col("bend").max()).iter_rows())
    # the model's points are 2 m apart and none is at 40 m, where the bow begins: station 40 reads 0.01 m too much
    assert bend["far"] == pytest.approx(0.2, abs=0.006)
    assert bend["near"] == pytest.approx(0, abs=1e-4)
    assert bend["mid"] == pytest.approx(0, abs=0.01)


@pytest.mark.slow
def test_the_swing_reads_04_m_at_1_hz(bench: Bench, clean: Ran) -> None:
    rows = run_of(bench, clean, "swing_1hz").read("series_metrics").filter(pl.col("rung") == "deploy/recorded")
    far = np.maximum(rows["station"].to_numpy() / 40, 1)  # lengths beyond 40 m count by the square of the distance
    assert rows["swing_pp"].to_numpy() * far**2 == pytest.approx(np.full(rows.height, 0.4), rel=0.05)
    assert rows["swing_hz"].to_list() == pytest.approx([1.0] * rows.height, rel=0.05)


@pytest.mark.slow
def test_the_stale_picture_lags_by_three_frames(bench: Bench, clean: Ran) -> None:
    rows = run_of(bench, clean, "stale_frame").read("series_metrics").filter(pl.col("rung") == "deploy/torch-fp32")
    assert np.abs(rows["lag_frames"].to_numpy() - 3).max() < 0.2


def test_there_are_40_faults_each_with_a_stage_of_the_ladder_and_its_own_name() -> None:
    assert len(FAULTS) >= 40
    assert {f.stage for f in FAULTS.values()} == set(STAGES)
    assert all(name == fault.name for name, fault in FAULTS.items())
    assert len(CONTROLS) >= 12


def test_right_means_caught_and_blamed_for_a_fault_and_silent_for_a_control() -> None:
    assert Outcome("f", "export", caught=True, blamed="export").right
    assert not Outcome("f", "export", caught=True, blamed="preprocess").right
    assert not Outcome("f", "export", caught=False, blamed="export").right
    assert Outcome("c", "").right
    assert not Outcome("c", "", caught=True).right


def test_a_model_without_a_place_for_a_fault_says_so(bench: Bench, tmp_path: Path) -> None:
    bare = bench.card.model_copy(
        update={"preprocess": bench.card.preprocess.model_copy(update={"deploy": [{"op": "to_rgb"}]})}
    )
    with pytest.raises(FaultError, match="nearest_resize has no step to change"):
        FAULTS["nearest_resize"].plant(Site(bare, tmp_path), 1.0)
    onnx_only = bench.card.model_copy(update={"torch": None})
    for name in ("batchnorm_training", "wrong_checkpoint", "pruned"):
        with pytest.raises(FaultError, match="only an ONNX file"):
            FAULTS[name].plant(Site(onnx_only, tmp_path), 1.0)
    rows = bench.card.model_copy(update={"decoder": bench.card.decoder.model_copy(update={"name": "row-anchor"})})
    for name in ("far_bow", "swing_1hz"):
        with pytest.raises(FaultError, match="has none in the outputs"):
            FAULTS[name].plant(Site(rows, tmp_path), 1.0)


def test_a_refused_fault_is_no_catch(bench: Bench, clean: Ran) -> None:
    outcome = try_fault(bench, clean, FAULTS["state_lost"])
    assert not outcome.planted
    assert not outcome.right
    assert "no state" in outcome.refused
