"""The test bed: every fault is caught by the metric it must move and blamed on its stage, and no control is flagged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from harness.errors import FaultError
from harness.faults import CONTROLS, FAULTS, Outcome, TestBed
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
# (fault, factor that it must be blamed on)
FACTORS = {
    "rb_swap": "preprocess:colour",
    "range_mismatch": "preprocess:colour",
    "nearest_resize": "preprocess:resize",
    "half_pixel_shift": "preprocess:resize",
    "stale_frame": "preprocess:stale",
    "batchnorm_training": "export",
    "wrong_checkpoint": "export",
    "dropped_frames": "car",
    "far_bow": "car",
    "swing_1hz": "car",
}


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> TestBed:
    root = tmp_path_factory.mktemp("bed")
    card = load_card(write_model(root / "model"))
    return TestBed(card, [write_case(root / "cases", 0)], root / "runs", LIMITS, cache=root / "cache")


def run_of(bed: TestBed, name: str) -> Run:
    return Run.open(bed.out / name / "run")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_by_its_metric_and_blamed_on_its_stage(bed: TestBed, name: str) -> None:
    outcome = bed.try_fault(FAULTS[name])
    assert outcome.planted, outcome.refused
    assert outcome.caught, f"{FAULTS[name].moves} did not move"
    assert outcome.effect > 1
    assert (outcome.blamed, outcome.factor) == (FAULTS[name].stage, FACTORS[name])
    assert outcome.right


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTROLS)
def test_a_clean_run_is_not_flagged(bed: TestBed, name: str) -> None:
    outcome = bed.try_control(CONTROLS[name])
    assert outcome.planted, outcome.refused
    assert not outcome.caught, outcome.explanation
    assert outcome.right


@pytest.mark.slow
def test_the_bow_reads_02_m_in_the_far_band_and_nothing_elsewhere(bed: TestBed) -> None:
    if not (bed.out / "far_bow").exists():
        bed.try_fault(FAULTS["far_bow"])
    rows = run_of(bed, "far_bow").read("line_metrics")
    rows = rows.filter((pl.col("rung") == "deploy/recorded") & (pl.col("reference") == "deploy/ort-fp32"))
    bend = dict(rows.group_by("band").agg(pl.col("bend").max()).iter_rows())
    # the model's points are 2 m apart and none is at 40 m, where the bow begins: station 40 reads 0.01 m too much
    assert bend["far"] == pytest.approx(0.2, abs=0.006)
    assert bend["near"] == pytest.approx(0, abs=1e-4)
    assert bend["mid"] == pytest.approx(0, abs=0.01)


@pytest.mark.slow
def test_the_swing_reads_04_m_at_1_hz(bed: TestBed) -> None:
    if not (bed.out / "swing_1hz").exists():
        bed.try_fault(FAULTS["swing_1hz"])
    rows = run_of(bed, "swing_1hz").read("series_metrics").filter(pl.col("rung") == "deploy/recorded")
    assert rows["swing_pp"].to_list() == pytest.approx([0.4] * rows.height, rel=0.05)
    assert rows["swing_hz"].to_list() == pytest.approx([1.0] * rows.height, rel=0.05)


@pytest.mark.slow
def test_the_stale_picture_lags_by_three_frames(bed: TestBed) -> None:
    if not (bed.out / "stale_frame").exists():
        bed.try_fault(FAULTS["stale_frame"])
    rows = run_of(bed, "stale_frame").read("series_metrics").filter(pl.col("rung") == "deploy/torch-fp32")
    assert np.abs(rows["lag_frames"].to_numpy() - 3).max() < 0.2


def test_every_fault_has_a_stage_of_the_ladder_and_its_own_name() -> None:
    assert len(FAULTS) == 10
    assert {f.stage for f in FAULTS.values()} <= set(STAGES)
    assert all(name == fault.name for name, fault in FAULTS.items())


def test_right_means_caught_and_blamed_for_a_fault_and_silent_for_a_control() -> None:
    assert Outcome("f", "export", True, caught=True, blamed="export").right
    assert not Outcome("f", "export", True, caught=True, blamed="preprocess").right
    assert not Outcome("f", "export", True, caught=False, blamed="export").right
    assert Outcome("c", None, True).right
    assert not Outcome("c", None, True, caught=True).right


def test_a_model_without_a_place_for_a_fault_says_so(bed: TestBed, tmp_path: Path) -> None:
    bare = bed.card.model_copy(
        update={"preprocess": bed.card.preprocess.model_copy(update={"deploy": [{"op": "to_rgb"}]})}
    )
    with pytest.raises(FaultError, match="nearest_resize has no step to change"):
        FAULTS["nearest_resize"].plant(bare, tmp_path)
    onnx_only = bed.card.model_copy(update={"torch": None})
    for name in ("batchnorm_training", "wrong_checkpoint"):
        with pytest.raises(FaultError, match="only an ONNX file"):
            FAULTS[name].plant(onnx_only, tmp_path)
    masks = bed.card.model_copy(update={"decoder": bed.card.decoder.model_copy(update={"name": "mask"})})
    for name in ("far_bow", "swing_1hz"):
        with pytest.raises(FaultError, match="has none in the outputs"):
            FAULTS[name].plant(masks, tmp_path)


def test_a_refused_fault_is_no_catch(bed: TestBed) -> None:
    from dataclasses import replace

    onnx_only = replace(bed, card=bed.card.model_copy(update={"torch": None}))
    outcome = onnx_only.try_fault(FAULTS["wrong_checkpoint"])
    assert not outcome.planted
    assert not outcome.right
    assert "only an ONNX file" in outcome.refused
