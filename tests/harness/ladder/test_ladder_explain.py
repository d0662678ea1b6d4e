"""Explanations: the first step, the shares, the factors alone, and who is not to blame."""

import io
import json
import math

import polars as pl
import pytest
from rich.console import Console

from harness.errors import RunError
from harness.gate import Status, judge, write_verdict
from harness.gate.default import policy_of
from harness.gate.policy import Rule
from harness.ladder import explain, render
from harness.ladder.view import headline
from harness.ladder.words import broken_by
from tests.harness.ladder.ladder_run import ROOT, bends, make_run
from tests.run_folders import put_table

TORCH, NONE, ORT, CAR = (f"deploy/{e}" for e in ("torch-fp32", "ort-fp32-none", "ort-fp32", "recorded"))
EVERYWHERE_BELOW = {TORCH: 0.4, NONE: 0.4, ORT: 0.4, CAR: 0.4}


def only(run, verdict=None):
    (finding,) = explain(run, verdict).findings
    return finding


def test_a_finding_belongs_to_the_step_it_first_appears_at_and_is_told_once(tmp_path):
    finding = only(make_run(tmp_path, bend=bends(EVERYWHERE_BELOW | {"train+resize/torch-fp32": 0.38})))
    assert (finding.rung, finding.first) == (CAR, TORCH)
    assert (finding.stage, finding.factor) == ("preprocess", "preprocess:resize")
    assert [s.rung for s in finding.steps] == [TORCH, NONE, ORT, CAR]
    assert [s.share for s in finding.steps] == pytest.approx([1, 0, 0, 0])


@pytest.mark.parametrize(
    ("first", "stage", "factor"),
    [
        (TORCH, "preprocess", "preprocess"),
        (NONE, "export", "export"),
        (ORT, "engine", "graph-optimisation"),
        (CAR, "car", "car"),
    ],
)
def test_every_stage_can_be_blamed(tmp_path, first, stage, factor):
    chain = [TORCH, NONE, ORT, CAR]
    finding = only(make_run(tmp_path, bend=bends(dict.fromkeys(chain[chain.index(first) :], 0.5))))
    assert (finding.first, finding.stage, finding.factor) == (first, stage, factor)


def test_shares_say_what_each_step_added_also_where_one_takes_away(tmp_path):
    sizes = {TORCH: 0.3, NONE: 0.2, ORT: 0.25, CAR: 0.5}
    finding = only(make_run(tmp_path, bend=bends(sizes)))
    assert [s.added for s in finding.steps] == pytest.approx([0.3, -0.1, 0.05, 0.25])
    assert [s.share for s in finding.steps] == pytest.approx([0.6, -0.2, 0.1, 0.5])
    assert finding.first == TORCH


def test_a_step_that_has_less_than_half_of_it_has_not_got_it_yet(tmp_path):
    finding = only(make_run(tmp_path, bend=bends({TORCH: 0.16, NONE: 0.9, ORT: 0.9, CAR: 0.9})))
    assert finding.first == NONE


def test_a_step_that_brings_nearly_all_of_it_is_blamed_though_a_later_one_passes_the_limit(tmp_path):
    sizes = {TORCH: 0.001, NONE: 0.149, ORT: 0.149, CAR: 0.152, "train+resize/torch-fp32": 0.0}
    finding = only(make_run(tmp_path, bend=bends(sizes)))
    assert (finding.rung, finding.first, finding.factor) == (CAR, NONE, "export")


def test_a_single_step_is_named_though_it_alone_stays_under_the_limit(tmp_path):
    alone = {"train+resize/torch-fp32": 0.149, "train+colour/torch-fp32": 0.003}
    finding = only(make_run(tmp_path, bend=bends(dict.fromkeys((TORCH, NONE, ORT, CAR), 0.152) | alone)))
    assert (finding.stage, finding.factor) == ("preprocess", "preprocess:resize")


def test_factors_alone_and_the_interaction_are_not_forced_to_add_up(tmp_path):
    alone = {
        "train+colour/torch-fp32": 0.1,
        "train+resize/torch-fp32": 0.05,
        "train/ort-fp32-none": 0.02,
        "train/ort-fp32": 0.03,
    }
    run = make_run(tmp_path, bend=bends({TORCH: 0.4, NONE: 0.4, ORT: 0.4} | alone), engines=ENGINES_WITHOUT_CAR)
    finding = only(run)
    assert {a.factor: pytest.approx(a.value) for a in finding.alone if not a.taken_out} == {
        "preprocess:colour": 0.1,
        "preprocess:resize": 0.05,
        "export": 0.02,
        "graph-optimisation": 0.01,
    }
    assert finding.interaction == pytest.approx(0.4 - 0.18)
    assert (finding.stage, finding.factor) == ("preprocess", "preprocess")
    assert "no single preprocessing step" in finding.note


def test_a_step_that_masks_is_found_by_taking_it_out(tmp_path):
    rows = bends(EVERYWHERE_BELOW | {"deploy-resize/torch-fp32": 0.02, "train+resize/torch-fp32": 0.01})
    finding = only(make_run(tmp_path, bend=rows))
    assert (finding.stage, finding.factor) == ("preprocess", "preprocess:resize")
    assert "gone where this step is as in train" in finding.note


def test_steps_that_only_together_show_it_are_both_named(tmp_path):
    out = {"deploy-resize/torch-fp32": 0.02, "deploy-colour/torch-fp32": 0.01}
    finding = only(make_run(tmp_path, bend=bends(EVERYWHERE_BELOW | out)))
    assert (finding.stage, finding.factor) == ("preprocess", "preprocess")
    assert "only together: colour and resize" in finding.note


def test_a_factor_that_does_little_alone_says_what_it_needs(tmp_path):
    engines = ("torch-fp32", "ort-fp32-none", "ort-fp32", "emulated-fp16")
    sizes = {TORCH: 0.1, NONE: 0.1, ORT: 0.1, "deploy/emulated-fp16": 0.6, "train/emulated-fp16": 0.02}
    rows = [{"rung": rung, "value": value} for rung, value in sizes.items()]
    rows += [{"rung": f"train/{e}", "value": 0.0} for e in ("ort-fp32-none", "ort-fp32")]
    finding = only(make_run(tmp_path, bend=rows, engines=engines))
    assert (finding.first, finding.factor) == ("deploy/emulated-fp16", "precision:fp16")
    assert finding.note == "alone it gives 0.020 m, the rest needs preprocess, export and graph-optimisation too"


ENGINES_WITHOUT_CAR = ("torch-fp32", "ort-fp32-none", "ort-fp32")


def test_a_factor_that_nothing_shows_alone_leaves_no_interaction(tmp_path):
    finding = only(make_run(tmp_path, bend=bends(EVERYWHERE_BELOW)))
    assert "car" not in {a.factor for a in finding.alone}
    assert math.isnan(finding.interaction)


def test_a_rung_that_changes_several_factors_gets_no_single_blame(tmp_path):
    run = make_run(tmp_path, bend=[{"rung": "deploy/ort-fp32", "value": 0.5}], engines=("torch-fp32", "ort-fp32"))
    finding = only(run)
    assert finding.first == ORT
    assert (finding.stage, finding.factor) == (None, None)
    assert "graph-optimisation and export at once" in finding.note


def test_a_lossy_case_does_not_blame_the_car_but_still_blames_preprocessing(tmp_path):
    car = only(make_run(tmp_path / "a", bend=bends({CAR: 0.5}), lossy=True))
    assert (car.first, car.stage, car.factor) == (CAR, None, None)
    assert "video codec" in car.note
    early = only(make_run(tmp_path / "b", bend=bends(EVERYWHERE_BELOW), lossy=True))
    assert early.stage == "preprocess"


def test_a_finding_that_vanishes_again_is_told_where_it_was(tmp_path):
    finding = only(make_run(tmp_path, bend=bends({TORCH: 0.5})))
    assert (finding.rung, finding.first) == (TORCH, TORCH)


def test_a_finding_that_reaches_several_branches_is_told_once_where_it_is_worst(tmp_path):
    branches = ("torch-fp32", "torch-fp16", "torch-bf16")
    rows = [{"rung": f"deploy/{e}", "value": v} for e, v in zip(branches, (0.4, 0.41, 0.45), strict=True)]
    finding = only(make_run(tmp_path, bend=rows, engines=branches))
    assert (finding.rung, finding.first) == ("deploy/torch-bf16", TORCH)


def test_what_a_probe_shows_is_evidence_and_no_finding(tmp_path):
    assert (
        explain(make_run(tmp_path, bend=bends({"train/ort-fp32": 0.9, "train+resize/torch-fp32": 0.9}))).findings == ()
    )


def test_without_a_second_pipeline_the_reference_pipeline_is_the_chain(tmp_path):
    run = make_run(tmp_path, bend=[{"rung": "train/ort-fp32-none", "value": 0.5}], preprocess=("train",))
    finding = only(run)
    assert (finding.stage, finding.first) == ("export", "train/ort-fp32-none")


def test_a_band_nobody_could_measure_is_not_nothing(tmp_path):
    finding = only(make_run(tmp_path, bend=bends({TORCH: 0.4, NONE: None, ORT: 0.4, CAR: 0.4})))
    assert math.isnan(finding.steps[1].value)
    assert math.isnan(finding.steps[2].added)
    assert finding.first == TORCH


def test_lines_bands_and_kinds_are_told_apart(tmp_path):
    rows = bends({CAR: 0.5}) + bends({NONE: 0.3, ORT: 0.3, CAR: 0.3}, track=1) + bends({CAR: 0.2}, band="near")
    found = {(a.track, a.band): a.first for a in explain(make_run(tmp_path, bend=rows)).findings}
    assert found == {(0, "far"): CAR, (1, "far"): NONE, (0, "near"): CAR}


def test_the_worst_of_many_events_stands_for_them(tmp_path):
    rows = [row for frame in (3, 7, 9) for row in bends({CAR: 0.2 + frame / 100}, frame=frame)]
    finding = only(make_run(tmp_path, bend=rows))
    assert (finding.stretches, finding.frame_start, finding.value) == (3, 9, pytest.approx(0.29))


def test_only_the_frames_of_the_event_are_compared(tmp_path):
    elsewhere = bends({TORCH: 0.6}, frame=50)
    found = explain(make_run(tmp_path, bend=[*bends({CAR: 0.7}), *elsewhere])).findings
    assert [(a.rung, a.first, a.frame_start) for a in found] == [(CAR, CAR, 10), (TORCH, TORCH, 50)]


def test_a_swing_of_the_reference_is_no_first_step_of_the_candidates(tmp_path):
    finding = only(make_run(tmp_path, events=[event(NONE, owner="reference"), event(CAR)]))
    assert (finding.first, finding.steps[1].value) == (CAR, 0.0)


def event(rung, kind="swing", value=0.4, **more):
    return {"rung": rung, "kind": kind, "value": value, **more}


def test_a_swing_is_followed_through_overlapping_swings(tmp_path):
    events = [event(NONE, frame_start=0, frame_end=60), event(ORT, frame_start=5, frame_end=55), event(CAR, value=0.5)]
    finding = only(make_run(tmp_path, events=events))
    assert (finding.first, finding.stage) == (NONE, "export")
    assert finding.steps[0].value == 0.0


def test_a_swing_that_comes_in_parts_shows_each_of_them(tmp_path):
    """No single step swings; three of 0.17 m make 0.5 m."""
    series = [{"rung": rung, "swing_pp": size} for rung, size in ((NONE, 0.17), (ORT, 0.9), (CAR, 0.5))]
    swing = event(CAR, value=0.5, band="near", threshold=0.25)
    finding = only(make_run(tmp_path, events=[swing], series=series))
    assert [s.value for s in finding.steps if s.rung in (NONE, ORT, CAR)] == [0.17, 0.25, 0.5]


def test_missing_lines_count_the_frames_they_share(tmp_path):
    frames = {"kind": "missing", "unit": "frames", "threshold": 1.0}
    events = [
        event(ORT, **frames | {"frame_start": 10, "frame_end": 19, "value": 10.0}),
        event(CAR, **frames | {"frame_start": 10, "frame_end": 29, "value": 20.0}),
    ]
    finding = only(make_run(tmp_path, events=events))
    assert (finding.first, finding.steps[2].value) == (ORT, 10.0)
    assert finding.steps[-1].added == 10.0


def test_a_swing_of_the_reference_blames_nobody(tmp_path):
    found = explain(make_run(tmp_path, events=[event(CAR, owner="reference"), event(ORT, owner="both")]))
    assert found.findings == ()
    assert any("2 events over time" in note for note in found.notes)


def rule(metric="heading", statistic="max", limit="0.3 deg", **more):
    return Rule(**{"id": "r", "metric": metric, "rung": "deploy/*", "statistic": statistic, "limit": limit} | more)


def judged(run, *rules):
    return judge(run, policy_of([*rules, *_GUARDS]).model_copy(update={"min_frames_share": 0.01}))


_GUARDS = [
    rule("missing", limit="9 lines", id="missing"),
    rule("extra", limit="9 lines", id="extra"),
    rule("coverage", "min", ">= 0 %", id="coverage", required=False),
]


def test_a_broken_limit_is_a_finding_where_nothing_passes_a_threshold(tmp_path):
    run = make_run(tmp_path, bend=bends({TORCH: 0.1, NONE: 0.1, ORT: 0.1, CAR: 0.1}))
    assert explain(run).findings == ()
    finding = only(run, judged(run, rule(band="far")))
    assert (finding.measure, finding.unit, finding.first, finding.stage) == ("heading", "rad", TORCH, "preprocess")
    assert finding.value == pytest.approx(0.01)
    assert finding.threshold == pytest.approx(math.radians(0.3))
    assert {b.rung for b in finding.breaches} == {TORCH, NONE, ORT, CAR}
    assert explain(run, judged(run, rule(band="far", limit="0.6 deg"))).findings == ()


def test_an_event_and_a_broken_limit_in_one_place_are_one_finding(tmp_path):
    run = make_run(tmp_path, bend=bends({NONE: 0.4, ORT: 0.4, CAR: 0.4}))
    finding = only(run, judged(run, _bend("p99"), _bend("max", id="b2")))
    assert (finding.measure, finding.statistic, finding.first, finding.value) == ("bend", "", NONE, 0.4)
    assert {b.rule for b in finding.breaches} == {"b1", "b2"}
    assert {b.number for b in finding.breaches if b.rule == "b1"} == {0.4}


def _bend(statistic, **more):
    return rule("bend", statistic, "0.15 m", **{"id": "b1", "required": False} | more)


def test_a_limit_against_the_parent_blames_the_step_it_was_measured_on(tmp_path):
    run = make_run(tmp_path, bend=bends({TORCH: 0.02, NONE: 0.02, ORT: 0.04, CAR: 0.04}))
    rows = run.read("line_metrics")
    own = pl.DataFrame(
        [{**dict.fromkeys(rows.columns), "case": "c1", "rung": ORT, "reference": NONE, "frame": 10, "track": 0,
          "band": "far", "heading": 0.02}], schema=rows.schema)  # fmt: skip
    put_table(run, "line_metrics", pl.concat([rows, own]))
    frames = run.read("frame_metrics")
    put_table(
        run,
        "frame_metrics",
        pl.concat([frames, frames.filter(pl.col("rung") == ORT).with_columns(reference=pl.lit(NONE))]),
    )
    finding = only(run, judged(run, rule(rung=ORT, reference="parent", limit="1 deg")))
    assert (finding.rung, finding.first, finding.factor) == (ORT, ORT, "graph-optimisation")
    assert finding.value == pytest.approx(0.02)
    assert [s.rung for s in finding.steps] == [ORT]


def test_a_number_of_the_case_is_sized_by_the_gates_own_number(tmp_path):
    rows = [row for frame in (3, 7) for row in bends({CAR: 0.05 + frame / 100}, frame=frame)]
    run = make_run(tmp_path, bend=rows)
    finding = only(run, judged(run, rule("heading", "mean", "0.5 deg")))
    assert (finding.statistic, finding.track, finding.rung) == ("mean", None, CAR)
    assert finding.value == pytest.approx((0.008 + 0.012) / 2)
    assert [s.value for s in finding.steps] == pytest.approx([0, 0, 0, 0.01])


def test_one_rung_that_is_not_finite_hides_no_limit_of_the_others(tmp_path):
    run = make_run(tmp_path, bend=bends({ORT: 0.1, CAR: 0.1}))
    frames = run.read("frame_metrics").with_columns(
        nonfinite=pl.when(pl.col("rung") == CAR).then(3).otherwise(0).cast(pl.Int64)
    )
    put_table(run, "frame_metrics", frames)
    verdict = judged(run, rule())
    assert verdict.rule("r").status is Status.NONFINITE
    assert only(run, verdict).first == ORT


def test_a_limit_that_met_what_is_not_finite_is_blamed_where_that_begins(tmp_path):
    whole = {"kind": "nonfinite", "track": None, "value": 3.0, "threshold": 0.0, "unit": "values"}
    run = make_run(tmp_path, bend=bends({}), events=[{**whole, "rung": rung} for rung in (NONE, ORT, CAR)])
    bad = pl.col("rung").is_in([NONE, ORT, CAR])
    frames = run.read("frame_metrics").with_columns(
        frame=pl.lit(11, pl.Int64), nonfinite=pl.when(bad).then(3).otherwise(0).cast(pl.Int64)
    )
    put_table(run, "frame_metrics", frames)
    (finding,) = explain(run, judged(run, rule())).findings
    assert (finding.measure, finding.first, finding.stage) == ("nonfinite", NONE, "export")
    assert {b.rung for b in finding.breaches} == {NONE, ORT, CAR}
    assert broken_by(finding.breaches[0]) == "r: values that are not finite"


def test_a_verdict_written_beside_the_run_is_explained_without_being_asked(tmp_path):
    run = make_run(tmp_path, bend=bends({NONE: 0.1, ORT: 0.1, CAR: 0.1}))
    write_verdict(judged(run, rule()), tmp_path / "verdict.json")
    (finding,) = explain(run).findings
    assert (finding.measure, finding.stage, finding.breaches[0].rule) == ("heading", "export", "r")


def test_a_verdict_of_another_run_is_left_out_and_said(tmp_path):
    run = make_run(tmp_path, bend=bends({NONE: 0.1, ORT: 0.1, CAR: 0.1}))
    verdict = judged(run, rule()).to_json()
    verdict["run"]["meta"]["digest"] = "another"
    found = explain(run, verdict)
    assert found.findings == ()
    assert any("verdict.json is of another run" in note for note in found.notes)


def test_suspects_are_counted(tmp_path):
    rows = bends({CAR: 0.5}) + bends(EVERYWHERE_BELOW, track=1) + bends(EVERYWHERE_BELOW, track=2)
    found = explain(make_run(tmp_path, bend=rows))
    assert [(s.rung, s.stage, s.count) for s in found.suspects] == [(TORCH, "preprocess", 2), (CAR, "car", 1)]
    assert found.to_json()["steps"][TORCH] == {"count": 2, "share": pytest.approx(2 / 3)}


def test_json_has_no_nan_and_reads_back(tmp_path):
    found = explain(make_run(tmp_path, bend=bends({TORCH: 0.4, NONE: None, ORT: 0.4, CAR: 0.4})))
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["findings"][0]["steps"][1]["value"] is None


def test_a_rung_that_did_not_run_is_noted(tmp_path):
    run = make_run(tmp_path, bend=bends({}), change={CAR: {"status": "not_run", "reason": "no dump"}})
    found = explain(run)
    assert found.notes == (f"{CAR}: not run, no dump",)
    assert headline(found).endswith(f"Not seen to the end: {CAR}.")
    assert CAR not in found.rungs


def test_words_name_step_share_and_interaction(tmp_path):
    def said(run):
        out = io.StringIO()
        render(explain(run), Console(file=out, width=200))
        return out.getvalue()

    text = said(make_run(tmp_path / "a", bend=bends(EVERYWHERE_BELOW | {"train+resize/torch-fp32": 0.4})))
    assert "preprocess:resize" in text
    assert "preprocess 100%" in text
    assert "interaction not measured" in text
    assert f"No finding against {ROOT}" in said(make_run(tmp_path / "b", bend=bends({})))


def test_a_ladder_that_hangs_in_the_air_is_refused(tmp_path):
    with pytest.raises(RunError, match="does not descend"):
        explain(make_run(tmp_path, bend=bends({}), change={CAR: {"parent": "deploy/nowhere"}}))
