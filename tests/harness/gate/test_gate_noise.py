from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import PolicyError
from harness.gate import Status, judge, load_policy
from harness.gate.noise import Floors
from harness.gate.verdict import RuleOutcome
from harness.lines.chunk import RungOutputs
from harness.lines.table import LineTable
from harness.measures.clock import Clock
from harness.measures.floor import FloorMeter
from harness.measures.kink import kink
from harness.measures.measured import measured
from harness.model.grid import vehicle_grid
from harness.run.catalogue import floors
from harness.run.rungs import Probe, Rung
from tests.harness.gate.gate_runs import ROOT, RUNG, FakeRun, add_floor, found, judged, make_run, policy_file, rule_text

OTHER = "deploy/openvino-fp32"


def by_rung(folder: Path, run: FakeRun, text: str, rule: str = "bend") -> dict[str, Status]:
    outcome = judged(folder, run, text).rule(rule)
    assert isinstance(outcome, RuleOutcome)
    return {r.rung: r.status for r in outcome.rungs}


def floor_rule(**keys: Any) -> str:
    return rule_text(**({"id": "floor", "metric": "floor.bend", "limit": "0.03 m"} | keys))


def test_a_noisy_engine_is_too_noisy_for_its_own_rungs_only(tmp_path: Path) -> None:
    run = add_floor(make_run({"a": [0.01]}, rungs=(RUNG, "train/ort-fp32", OTHER)), "bend", 0.06)
    add_floor(run, "bend", 0.01, rung=OTHER)
    assert by_rung(tmp_path, run, rule_text(rung="*")) == {
        RUNG: Status.INCONCLUSIVE,
        "train/ort-fp32": Status.INCONCLUSIVE,  # the same engine under the other pipeline
        OTHER: Status.PASS,
    }


def test_a_noisy_reference_makes_every_comparison_with_it_noisy(tmp_path: Path) -> None:
    run = add_floor(make_run({"a": [0.01]}), "bend", 0.06, rung="deploy/torch-fp32")
    rung = found(tmp_path, run, rule_text())
    assert rung.status is Status.INCONCLUSIVE
    assert "engine too noisy: 3 x the noise floor of torch-fp32 is 0.18 m" in rung.reason


def test_noise_in_one_band_says_nothing_of_another(tmp_path: Path) -> None:
    run = add_floor(make_run({"a": [0.01]}), "bend", 0.06, band="far")
    assert found(tmp_path, run, rule_text(band="near")).status is Status.PASS
    assert found(tmp_path, run, rule_text()).status is Status.INCONCLUSIVE


def test_the_worst_of_an_event_is_as_noisy_as_its_metric(tmp_path: Path) -> None:
    run = add_floor(make_run({"a": [0.01]}), "bend", 0.06)
    text = rule_text(metric="event.bend", statistic="max", limit="0.15 m")
    assert found(tmp_path, run, text).status is Status.INCONCLUSIVE


def test_the_floor_has_a_rule_of_its_own(tmp_path: Path) -> None:
    run = make_run({"a": [0.9], "b": [0.9]}, rungs=(RUNG, OTHER))
    for rung, value in ((RUNG, 0.02), (OTHER, 0.04)):
        for case in ("a", "b"):
            add_floor(run, "bend", value, rung=rung, band="mid", probe="reorder")
            run.rows["floors"][-1]["case"] = case
    add_floor(run, "offset_max", 9.0)
    outcome = judged(tmp_path, run, floor_rule()).rule("floor")
    assert isinstance(outcome, RuleOutcome)
    assert {r.rung: r.status for r in outcome.rungs} == {RUNG: Status.PASS, OTHER: Status.FAIL}
    assert "0.04 m > 0.03 m at band mid, probe reorder (2 of 2 cases)" in outcome.rungs[1].reason
    assert by_rung(tmp_path, run, floor_rule(band="near"), "floor") == dict.fromkeys((RUNG, OTHER), Status.NOT_RUN)


def test_a_floor_that_was_not_measured_is_no_pass(tmp_path: Path) -> None:
    rung = found(tmp_path, make_run({"a": [0.01]}), floor_rule(), "floor")
    assert rung.status is Status.NOT_RUN
    assert "replay --floor" in rung.reason


def test_a_recording_has_no_floor_to_limit(tmp_path: Path) -> None:
    run = add_floor(make_run({"a": [0.01]}, rungs=(RUNG, "deploy/recorded")), "bend", 0.01)
    assert by_rung(tmp_path, run, floor_rule(), "floor") == {RUNG: Status.PASS}


@pytest.mark.parametrize(
    "keys", [{"statistic": "mean"}, {"metric": "floor.nothing"}, {"reference": "parent"}, {"limit": "3 deg"}]
)
def test_a_floor_rule_that_means_nothing_is_refused(tmp_path: Path, keys: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        load_policy(policy_file(tmp_path, floor_rule(**keys)))


def test_every_floor_that_is_measured_may_be_limited() -> None:
    clock = Clock()
    meter = FloorMeter(Probe("repeat", Rung("deploy", "ort-fp32")), vehicle_grid(), clock)
    rng = np.random.default_rng(0)
    x = np.linspace(0, 80, 41)
    for frame in range(24):
        clock.tick([frame], [frame * 100_000_000])
        one, other = (_outputs(frame, x, rng) for _ in range(2))
        base, again = (measured(outputs, vehicle_grid()) for outputs in (one, other))
        base.track[:] = 0
        meter.add(one, other, base, again)
    rows = list(meter.rows())
    with_floor = {row["metric"] for row in rows}
    assert {"bend", "jitter", "max_abs", "missing"} <= with_floor
    assert with_floor <= {m.measured for m in floors()}
    assert {r["metric"] for r in rows if r["band"]} == {m.measured for m in floors() if m.has_band}
    meter.close()


def _outputs(frame: int, x: Any, rng: np.random.Generator) -> RungOutputs:
    line = np.stack([x, rng.normal(0, 0.01, len(x))], axis=1)
    ran = np.ones(1, bool)
    tensors = {"y": rng.normal(size=(1, 4)).astype(np.float32)}
    return RungOutputs(ran, ran, tensors, LineTable.from_points(np.array([frame]), [line]))


def kink_run(sigma: float, band: str = "near") -> FakeRun:
    run = make_run({"a": [0.01]}, kink=0.001)
    run.meta["card"]["grid"]["thresholds"] |= {"kink_length": [4.0, 8.0, 16.0]}
    return add_floor(run, "bend_rms", sigma, band=band)


def kink_rule(**keys: Any) -> str:
    return rule_text(**({"id": "k", "metric": "kink", "limit": "3 deg"} | keys))


def test_a_kink_limit_that_noise_alone_reaches_is_refused(tmp_path: Path) -> None:
    # 4 sqrt(6) 0.0214 m / 4 m = 3.004 degrees; 0.0213 m gives 2.990
    policy = load_policy(policy_file(tmp_path, kink_rule()))
    assert judge(kink_run(0.0213), policy).rule("k").status is Status.PASS  # type: ignore[union-attr]  # it is there
    with pytest.raises(PolicyError) as caught:
        judge(kink_run(0.0214), policy)
    assert "a limit of 3 deg is within the noise of ort-fp32: 4 sqrt(6) sigma / L is 3.01 deg" in caught.value.what
    assert "near band" in caught.value.what
    assert "rule 'k'" in caught.value.where
    assert "toy.trueline.toml" in caught.value.where


def test_a_kink_limit_is_refused_only_where_it_looks(tmp_path: Path) -> None:
    def passes(run: FakeRun, **keys: Any) -> bool:
        return judged(tmp_path, run, kink_rule(**keys)).rule("k").status is Status.PASS  # type: ignore[union-attr]  # it is there

    assert passes(kink_run(0.03, "far"))  # L is 16 m there: 1.05 degrees
    assert passes(kink_run(0.03), band="far") is False  # nothing compared there, but nothing refused either
    assert passes(kink_run(0.03), metric="bend", limit="0.15 m")
    assert passes(make_run({"a": [0.01]}, kink=0.001))  # no floor, no refusal
    assert passes(kink_run(0.03), statistic="p99", limit="5 deg")
    with pytest.raises(PolicyError):
        passes(kink_run(0.03), statistic="p99")


def test_four_sigmas_of_white_noise_are_rarely_a_kink() -> None:
    grid, sigma = vehicle_grid(), 0.02
    noise = np.random.default_rng(0).normal(0, sigma, (20_000, *grid.stations.shape))
    least = 4 * np.sqrt(6) * sigma / np.array(grid.thresholds.kink_length)
    share = (kink(noise, grid) > least).mean(axis=0)
    assert (share < 0.0025).all()
    assert (kink(noise, grid) > least / 2).mean(axis=0).min() > 0.2


def test_floors_are_told_rung_by_rung() -> None:
    run = add_floor(add_floor(make_run({"a": [0.0]}), "bend", 0.01, band="near"), "bend", 0.02, band="far")
    add_floor(run, "jitter", 0.5, rung=ROOT)
    assert Floors.of(run).to_json() == {RUNG: {"bend": 0.02}, ROOT: {"jitter": 0.5}}
