"""The study's measure and statistics: laws that hold whatever the cells say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from benchmarks.study import bench, cubic, opening, report, statistics, verdicts
from benchmarks.study import cells as cells_module
from benchmarks.study.arms import ARMS, BY_NAME, CONFIRM_SEEDS, from_scratch
from benchmarks.study.bench import PIPELINES, Pictures
from benchmarks.study.cells import Cell, confirmation, screening
from benchmarks.study.measure import on_pictures, slope
from techniques.errors import NonFiniteLoss
from techniques.recipes import load_recipe
from techniques.registry import build_all

PLAN = Path(__file__).parents[2] / "benchmarks" / "study" / "PLAN.md"


def pictures(count: int = 6) -> Pictures:
    rng = np.random.default_rng(0)
    lines = (np.linspace(-5, 5, 4)[:, None] + rng.normal(0, 0.5, (count, 4, 33))).astype(np.float32)
    lines[0, 3] = np.nan
    return Pictures(np.zeros((count, 5, 1, 1, 1)), lines, np.repeat(np.arange(count // 2), 2), ("",) * (count // 2))


def answered(found: Pictures, shift_m=(0.0, 0.02, 0.03, 0.04, 0.05), share: float = 1.0):
    truth = np.nan_to_num(found.lines)
    mean = truth.mean(0)
    y = np.stack([mean + share * (truth - mean) + s for s in shift_m], axis=1)
    presence = np.where(np.isfinite(found.lines[:, None, :, 0]), 5.0, -5.0) * np.ones((1, len(PIPELINES), 1))
    return on_pictures(y, presence, found)


def test_the_gap_is_the_distance_to_the_labs_answer_and_knows_no_truth() -> None:
    found = answered(pictures())
    for name, expected in zip(PIPELINES[1:], (20, 30, 40, 50), strict=True):
        np.testing.assert_allclose(found["gap"][name], expected, atol=0.01)
    wrong = answered(pictures(), shift_m=(0.5, 0.52, 0.53, 0.54, 0.55))
    np.testing.assert_allclose(wrong["gap"]["deploy"], 20, atol=0.01)
    np.testing.assert_allclose(wrong["error"]["train"], 500, atol=0.01)
    assert found["present"] == 1


def test_a_network_that_hardly_looks_has_a_slope_that_says_so() -> None:
    assert answered(pictures())["slope"] == pytest.approx(1, abs=0.03)  # the absent line is none of its truths
    assert answered(pictures(), share=0.3)["slope"] == pytest.approx(0.3, abs=0.03)
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 1, (50, 4, 17))
    assert slope(0.9 * truth + np.arange(4)[:, None] * 10, truth) == pytest.approx(0.9)
    assert slope(np.zeros_like(truth), truth) == 0


def kept(gap: float, clean: float, angle: float = 0.99, clips: int = 5, section: str = "pictures") -> dict:
    by_clip = list(gap * np.linspace(0.5, 1.5, clips))
    values = {
        "gap": dict.fromkeys(PIPELINES[1:], by_clip),
        "error": dict.fromkeys(PIPELINES, [clean] * clips),
        "slope": angle,
    }
    return {"measures": {section: values}}


def test_log_ratios_are_paired_by_seed() -> None:
    cells = {Cell("screen", "plain", s): kept(20 * (s + 1), 40) for s in range(3)}
    cells |= {Cell("screen", "preprocessing", s): kept(10 * (s + 1), 44) for s in range(2)}
    assert statistics.ratios(cells, "screen", "preprocessing", "declared") == pytest.approx([math.log(0.5)] * 2)
    assert statistics.ratios(cells, "screen", "preprocessing", "unseen") == pytest.approx([math.log(0.5)] * 2)
    assert statistics.ratios(cells, "screen", "preprocessing", "clean") == pytest.approx([math.log(1.1)] * 2)
    assert statistics.ratios(cells, "confirm", "preprocessing", "clean") == []


def test_the_p_value_is_scipys_paired_t() -> None:
    values = np.random.default_rng(3).normal(-0.2, 0.3, 8)
    assert statistics.p_value(list(values)) == pytest.approx(ttest_1samp(values, 0).pvalue)


def test_holm_stops_at_the_first_that_is_not_rejected() -> None:
    assert statistics.holm([0.012, 0.5, 0.011, 0.02]) == [True, False, True, True]
    assert statistics.holm([0.013, 0.5, 0.011, 0.02]) == [True, False, True, True]
    assert statistics.holm([0.02, 0.03, 0.02, 0.02]) == [False] * 4


def test_equivalence_needs_the_whole_interval_within_the_bound() -> None:
    assert statistics.equivalent([0.1, -0.1, 0.2, 0.0], 1.0)
    assert not statistics.equivalent([0.1, -0.1, 0.2, 0.0], 0.1)
    assert not statistics.equivalent([3.0, -3.0, 3.0, -3.0], 1.0)


def test_the_power_is_what_simulation_finds() -> None:
    mean = statistics.detectable(1.2, 8, 0.05)
    draws = np.random.default_rng(0).normal(mean, 1.2, (20_000, 8))
    found = (ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
    assert found == pytest.approx(0.8, abs=0.01)


def screened(gaps: dict[str, float], clean: dict[str, float] | None = None, angle: dict[str, float] | None = None):
    cells = {}
    for cell in screening():
        gap, error = gaps.get(cell.arm, 20.0), (clean or {}).get(cell.arm, 40.0)
        cells[cell] = kept(gap, error, (angle or {}).get(cell.arm, 0.99))
    return cells


def test_the_choice_takes_the_best_two_of_different_families() -> None:
    gaps = {"consistency-4": 8.0, "consistency-1": 9.0, "preprocessing": 12.0, "fgsm": 15.0}
    assert statistics.chosen(screened(gaps)) == ("consistency-4", "preprocessing")


def test_the_choice_leaves_out_who_sees_less_and_who_cannot_be_trained_from_scratch() -> None:
    gaps = {"consistency-4": 8.0, "consistency-1": 9.0, "preprocessing": 12.0, "fgsm": 2.0, "distil": 1.0}
    assert statistics.chosen(screened(gaps, clean={"fgsm": 43.0})) == ("consistency-4", "preprocessing")
    assert statistics.chosen(screened(gaps, angle={"fgsm": 0.9, "consistency-4": 0.94})) == (
        "consistency-1",
        "preprocessing",
    )


def test_an_arm_with_a_failed_cell_is_not_chosen_and_does_not_hold_up_the_choice() -> None:
    cells = screened({"consistency-4": 8.0, "preprocessing": 12.0, "fgsm": 2.0})
    lost = Cell("screen", "fgsm", 1)
    del cells[lost]
    assert statistics.chosen(cells) is None
    assert statistics.chosen(cells, [lost]) == ("consistency-4", "preprocessing")


def test_a_loss_that_is_not_finite_is_kept_as_a_failure_and_never_repeated(tmp_path, monkeypatch) -> None:
    calls = []

    def diverges(*_: object) -> dict:
        calls.append(1)
        raise NonFiniteLoss("the loss is nan", where="step 7", remedy="")

    monkeypatch.setattr(cells_module, "_made", diverges)
    places = cells_module.Places(tmp_path / "results", tmp_path, tmp_path)
    cell = Cell("screen", "fgsm", 1)
    told: list[str] = []
    assert cells_module.compute(cell, places, told.append)
    assert cells_module.compute(cell, places, told.append)
    assert len(calls) == 1
    assert cells_module.read(places.results) == ({}, {cell: "the loss is nan"})
    assert "Failed, and not repeated: `screen-fgsm-1`" in report.text({}, {cell: "the loss is nan"})


def test_nothing_is_chosen_before_screening_is_complete() -> None:
    cells = screened({})
    del cells[Cell("screen", "blurpool", 2)]
    assert statistics.chosen(cells) is None
    cells = {c: k for c, k in screened({}).items() if BY_NAME.get(c.arm) and BY_NAME[c.arm].group != "literature"}
    assert statistics.chosen(cells) is not None


def test_the_grid_is_the_plans() -> None:
    cells = screening()
    assert len(set(cells)) == len(cells)
    for arm in ARMS:
        assert sum(c.arm == arm.name for c in cells) == arm.starts
    assert len(confirmation(("a", "b"))) == 4 * len(CONFIRM_SEEDS) == 32
    place = {cell: i for i, cell in enumerate(cells)}
    for cell in cells:
        for part in BY_NAME[cell.arm].mixed if cell.arm in BY_NAME else ():
            assert place[Cell("screen", part, cell.seed)] < place[cell]
    text = PLAN.read_text(encoding="utf-8")
    assert all(f"`{arm.name}`" in text or arm.name == "consistency-1" for arm in ARMS)


@pytest.mark.parametrize("arm", [a for a in ARMS if not a.mixed and not a.teachers], ids=lambda a: a.name)
def test_every_arm_can_be_built(arm) -> None:
    built = build_all({n: dict(o) for n, o in arm.techniques.items()})
    late = build_all({n: dict(o) for n, o in from_scratch(arm).items()})
    assert [t.name for t in built] == [t.name for t in late] == list(arm.techniques)


def test_what_confirms_is_held_out() -> None:
    """No seed of a confirming set is among those that screen, select, or train."""
    confirming = {
        s for n, x in bench.SETS.items() if "confirm" in n for s in range(x.first_seed, x.first_seed + x.count)
    }
    others = {s for n, x in bench.SETS.items() if "screen" in n for s in range(x.first_seed, x.first_seed + x.count)}
    assert not confirming & (others | set(range(8000)) | set(range(8800, 8825)) | set(range(8400, 8800)))
    assert len(confirming) >= 60


def confirmed(ratio: dict[str, float], clean: dict[str, float] | None = None, noise: float = 0.03):
    """Cells of 8 seeds whose gaps are those ratios to plain, with some noise of seeds."""
    rng = np.random.default_rng(4)
    arms = {"plain": 1.0, "robust": 0.7, **ratio}
    return {
        Cell("confirm", arm, seed): kept(20 * level * math.exp(rng.normal(0, noise)), (clean or {}).get(arm, 40.0))
        for arm, level in arms.items()
        for seed in CONFIRM_SEEDS
    }


def test_success_needs_a_smaller_gap_than_plain_and_robust_and_the_bounds() -> None:
    two = {"consistency-4": 0.45, "preprocessing": 0.9}

    def said(arm: str, **given: Any) -> str:
        return verdicts.judged(confirmed(**{"ratio": two, **given}), {}, arm)

    assert said("consistency-4") == "success"
    assert "not shown better than robust, declared" in said("preprocessing")
    assert "clean error above 1.05" in said("consistency-4", clean={"consistency-4": 43.0})
    assert "no smaller gap shown" in said("preprocessing", ratio={**two, "preprocessing": 1.0}, noise=0.1)
    assert verdicts.halved(confirmed(two), "consistency-4")
    assert not verdicts.halved(confirmed({**two, "consistency-4": 0.6}), "consistency-4")


def test_a_failed_seed_is_no_success_and_hypotheses_do_not_become_fewer() -> None:
    cells = confirmed({"consistency-4": 0.45, "preprocessing": 0.5})
    lost = Cell("confirm", "preprocessing", 103)
    del cells[lost]
    failed = {lost: "the loss is nan"}
    assert verdicts.complete(cells, failed)
    assert "seed 103 failed" in verdicts.judged(cells, failed, "preprocessing")
    assert verdicts.tests(cells, failed)["preprocessing", "declared"].p == 1
    assert verdicts.judged(cells, failed, "consistency-4") == "success"
    assert verdicts.recipe(cells, failed) == ("consistency-4", True)
    assert statistics.holm([0.02, math.nan]) == [True, False]
    assert statistics.holm([math.nan]) == [False]
    all_lost = {cell: own for cell, own in cells.items() if cell.arm != "preprocessing"}
    gone = {Cell("confirm", "preprocessing", seed): "the loss is nan" for seed in CONFIRM_SEEDS}
    assert len(verdicts.tests(all_lost, gone)) == 4


def test_the_recipe_is_the_smallest_gap_within_the_bounds() -> None:
    two = {"consistency-4": 0.45, "preprocessing": 0.6}
    assert verdicts.recipe(confirmed(two), {}) == ("consistency-4", True)
    assert verdicts.recipe(confirmed(two, clean={"consistency-4": 43.0}), {}) == ("preprocessing", True)
    assert verdicts.recipe(confirmed({"consistency-4": 0.8, "preprocessing": 0.9}), {}) == ("robust", True)
    everywhere = dict.fromkeys(["robust", *two], 43.0)
    assert verdicts.recipe(confirmed(two, clean=everywhere), {}) == ("robust", False)
    part = confirmed(two)
    del part[Cell("confirm", "plain", 100)]
    assert verdicts.recipe(part, {}) == ("robust", False)


def test_the_recipe_that_comes_along_is_the_one_that_follows() -> None:
    name, _ = verdicts.recipe(*cells_module.read(PLAN.parent / "results"))
    assert load_recipe("deployable") == from_scratch(BY_NAME[name])


def test_the_page_tells_what_was_confirmed_only_when_every_seed_is_there() -> None:
    repair = screened({"preprocessing": 0.8, "worst-of-variants": 0.7, "fgsm": 0.5}, clean={"fgsm": 60.0})
    cells = repair | confirmed({"preprocessing": 0.6, "worst-of-variants": 0.9})
    page = opening.block(cells, {})
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows[:3]] == ["preprocessing", "worst-of-variants", "robust"]
    assert rows[0].endswith("| success |")
    assert "no success: not shown better than robust, declared" in rows[1]
    assert "1.50 | clean error above 1.05 |" in next(row for row in rows if row.startswith("| `fgsm`"))
    assert page.index("\n| `fgsm`") > page.index("no gain by the plan")
    last = Cell("confirm", "robust", CONFIRM_SEEDS[-1])
    part = {cell: own for cell, own in cells.items() if cell != last}
    assert "success" not in opening.block(part, {})


def test_the_pages_are_those_that_the_committed_cells_make() -> None:
    cells, failed = cells_module.read(PLAN.parent / "results")
    assert (PLAN.parent / "REPORT.md").read_text(encoding="utf-8") == report.text(cells, failed)
    assert opening.block(cells, failed) in opening.PAGE.read_text(encoding="utf-8")
    kept = cubic.read()
    assert set(kept) == {(arm, seed) for arm in cubic.ARMS for seed in cubic.SEEDS}
    assert cubic.PAGE.read_text(encoding="utf-8") == cubic.page(kept)


def test_the_bounds_ask_for_the_interval_in_confirmation_and_for_the_mean_in_screening() -> None:
    def said(stage: str, clean: list[float], angle: float = 0.97) -> str:
        cells = {Cell(stage, "plain", i): kept(20, 40) for i in range(len(clean))}
        cells |= {Cell(stage, "fgsm", i): kept(20, 40 * math.exp(c), angle) for i, c in enumerate(clean)}
        return verdicts.bounds(cells, stage, "fgsm")

    clean = [0.0, 0.02, 0.08, 0.06]  # mean 4 %, upper end above 5 %
    assert said("screen", clean) == verdicts.MET
    assert said("confirm", clean).startswith("clean error not shown to be below 1.05 (one-sided upper end 1.08")
    assert said("confirm", [0.06, 0.07]) == "clean error above 1.05"
    assert said("confirm", [0.0, 0.01], 0.94) == "slope below 0.95"


def test_the_ensemble_is_held_against_its_own_members() -> None:
    cells = {Cell("screen", "start", s): kept(20 + s, 40) for s in range(5)}
    cells |= {Cell("screen", "plain", s): kept(30, 40) for s in range(3)}
    cells[Cell("screen", "ensemble", 0)] = kept(15, 36)
    (found,) = statistics.ratios(cells, "screen", "ensemble", "declared")
    assert math.exp(found) == pytest.approx(15 / np.exp(np.mean(np.log([20, 21, 22, 23, 24]))))
    assert math.exp(statistics.ratios(cells, "screen", "ensemble", "clean")[0]) == pytest.approx(0.9)


def test_seeds_and_clips_are_told_apart_by_moments() -> None:
    rng = np.random.default_rng(0)
    cells, clips = {}, rng.normal(0, 0.2, 60)
    for seed in range(40):
        ratio = np.exp(-0.3 + rng.normal(0, 0.1) + clips + rng.normal(0, 0.3, 60))
        for arm, gap in (("plain", np.full(60, 20.0)), ("preprocessing", 20 * ratio)):
            cell = kept(1, 40)
            cell["measures"]["pictures"]["gap"] = {key: list(gap) for key in PIPELINES[1:]}
            cells[Cell("confirm", arm, seed)] = cell
    found = report.crossed(cells, "preprocessing", "declared")
    assert found.sd_seeds == pytest.approx(0.1, abs=0.03)
    assert found.sd_clips == pytest.approx(0.2, abs=0.04)


def test_the_mixed_models_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Over tables of 8 seeds and 60 clips, whichever of the two varies more."""
    rng = np.random.default_rng(3)
    for sd_seeds, sd_clips in ((0.1, 0.05), (0.02, 0.3)):
        held = 0
        for _ in range(400):
            effects = rng.normal(0, sd_seeds, (8, 1)) + rng.normal(0, sd_clips, (1, 60))
            _, low, high = statistics.crossed(effects + rng.normal(0, 0.2, (8, 60))).interval
            held += low < 0 < high
        assert held / 400 > 0.92
