"""Explanations: the first step, the shares, the factors alone, and who is not to blame."""

import io
import json
import math

import pytest
from rich.console import Console

from harness.errors import PolicyError, RunError
from harness.gate.verdict import RuleOutcome, Status, Verdict, write_verdict
from harness.ladder import Limit, explain, limits_of_verdict, render
from tests.harness.ladder.ladder_run import ROOT, bends, make_run

TORCH, NONE, ORT, CAR = (f"deploy/{e}" for e in ("torch-fp32", "ort-fp32-none", "ort-fp32", "recorded"))
EVERYWHERE_BELOW = {TORCH: 0.4, NONE: 0.4, ORT: 0.4, CAR: 0.4}


def only(run, limits=()):
    (anomaly,) = explain(run, limits).anomalies
    return anomaly


def test_an_anomaly_belongs_to_the_step_it_first_appears_at_and_is_told_once(tmp_path):
    anomaly = only(make_run(tmp_path, bend=bends(EVERYWHERE_BELOW | {"train+resize/torch-fp32": 0.38})))
    assert (anomaly.rung, anomaly.first) == (CAR, TORCH)
    assert (anomaly.stage, anomaly.factor) == ("preprocess", "preprocess:resize")
    assert [s.rung for s in anomaly.steps] == [TORCH, NONE, ORT, CAR]
    assert [s.share for s in anomaly.steps] == pytest.approx([1, 0, 0, 0])


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
    anomaly = only(make_run(tmp_path, bend=bends(dict.fromkeys(chain[chain.index(first) :], 0.5))))
    assert (anomaly.first, anomaly.stage, anomaly.factor) == (first, stage, factor)


def test_shares_say_what_each_step_added_also_where_one_takes_away(tmp_path):
    sizes = {TORCH: 0.3, NONE: 0.2, ORT: 0.25, CAR: 0.5}
    anomaly = only(make_run(tmp_path, bend=bends(sizes)))
    assert [s.added for s in anomaly.steps] == pytest.approx([0.3, -0.1, 0.05, 0.25])
    assert [s.share for s in anomaly.steps] == pytest.approx([0.6, -0.2, 0.1, 0.5])
    assert anomaly.first == TORCH


def test_a_step_that_has_less_than_half_of_it_has_not_got_it_yet(tmp_path):
    anomaly = only(make_run(tmp_path, bend=bends({TORCH: 0.16, NONE: 0.9, ORT: 0.9, CAR: 0.9})))
    assert anomaly.first == NONE


def test_factors_alone_and_the_interaction_are_not_forced_to_add_up(tmp_path):
    alone = {
        "train+colour/torch-fp32": 0.1,
        "train+resize/torch-fp32": 0.05,
        "train/ort-fp32-none": 0.02,
        "train/ort-fp32": 0.03,
    }
    run = make_run(tmp_path, bend=bends({TORCH: 0.4, NONE: 0.4, ORT: 0.4} | alone), engines=ENGINES_WITHOUT_CAR)
    anomaly = only(run)
    assert {a.factor: pytest.approx(a.value) for a in anomaly.alone} == {
        "preprocess:colour": 0.1,
        "preprocess:resize": 0.05,
        "export": 0.02,
        "graph-optimisation": 0.01,
    }
    assert anomaly.interaction == pytest.approx(0.4 - 0.18)
    assert (anomaly.stage, anomaly.factor) == ("preprocess", "preprocess")
    assert "no single preprocessing step" in anomaly.note


ENGINES_WITHOUT_CAR = ("torch-fp32", "ort-fp32-none", "ort-fp32")


def test_a_factor_that_nothing_shows_alone_leaves_no_interaction(tmp_path):
    anomaly = only(make_run(tmp_path, bend=bends(EVERYWHERE_BELOW)))
    assert "car" not in {a.factor for a in anomaly.alone}
    assert math.isnan(anomaly.interaction)


def test_a_rung_that_changes_several_factors_gets_no_single_blame(tmp_path):
    run = make_run(tmp_path, bend=[{"rung": "deploy/ort-fp32", "value": 0.5}], engines=("torch-fp32", "ort-fp32"))
    anomaly = only(run)
    assert anomaly.first == ORT
    assert (anomaly.stage, anomaly.factor) == (None, None)
    assert "graph-optimisation and export at once" in anomaly.note


def test_a_lossy_case_does_not_blame_the_car_but_still_blames_preprocessing(tmp_path):
    car = only(make_run(tmp_path / "a", bend=bends({CAR: 0.5}), lossy=True))
    assert (car.first, car.stage, car.factor) == (CAR, None, None)
    assert "video codec" in car.note
    early = only(make_run(tmp_path / "b", bend=bends(EVERYWHERE_BELOW), lossy=True))
    assert early.stage == "preprocess"


def test_an_anomaly_that_vanishes_again_is_told_where_it_was(tmp_path):
    anomaly = only(make_run(tmp_path, bend=bends({TORCH: 0.5})))
    assert (anomaly.rung, anomaly.first) == (TORCH, TORCH)


def test_an_anomaly_that_reaches_several_branches_is_told_once_where_it_is_worst(tmp_path):
    branches = ("torch-fp32", "torch-fp16", "torch-bf16")
    rows = [{"rung": f"deploy/{e}", "value": v} for e, v in zip(branches, (0.4, 0.41, 0.45), strict=True)]
    anomaly = only(make_run(tmp_path, bend=rows, engines=branches))
    assert (anomaly.rung, anomaly.first) == ("deploy/torch-bf16", TORCH)


def test_what_a_probe_shows_is_evidence_and_no_anomaly(tmp_path):
    assert (
        explain(make_run(tmp_path, bend=bends({"train/ort-fp32": 0.9, "train+resize/torch-fp32": 0.9}))).anomalies == ()
    )


def test_without_a_second_pipeline_the_reference_pipeline_is_the_chain(tmp_path):
    run = make_run(tmp_path, bend=[{"rung": "train/ort-fp32-none", "value": 0.5}], preprocess=("train",))
    anomaly = only(run)
    assert (anomaly.stage, anomaly.first) == ("export", "train/ort-fp32-none")


def test_a_band_nobody_could_measure_is_not_nothing(tmp_path):
    anomaly = only(make_run(tmp_path, bend=bends({TORCH: 0.4, NONE: None, ORT: 0.4, CAR: 0.4})))
    assert math.isnan(anomaly.steps[1].value)
    assert math.isnan(anomaly.steps[2].added)
    assert anomaly.first == TORCH


def test_lines_bands_and_kinds_are_told_apart(tmp_path):
    rows = bends({CAR: 0.5}) + bends({NONE: 0.3, ORT: 0.3, CAR: 0.3}, track=1) + bends({CAR: 0.2}, band="near")
    found = {(a.track, a.band): a.first for a in explain(make_run(tmp_path, bend=rows)).anomalies}
    assert found == {(0, "far"): CAR, (1, "far"): NONE, (0, "near"): CAR}


def test_the_worst_of_many_events_stands_for_them(tmp_path):
    rows = [row for frame in (3, 7, 9) for row in bends({CAR: 0.2 + frame / 100}, frame=frame)]
    anomaly = only(make_run(tmp_path, bend=rows))
    assert (anomaly.events, anomaly.frame_start, anomaly.value) == (3, 9, pytest.approx(0.29))


def test_only_the_frames_of_the_event_are_compared(tmp_path):
    elsewhere = bends({TORCH: 0.6}, frame=50)
    found = explain(make_run(tmp_path, bend=[*bends({CAR: 0.7}), *elsewhere])).anomalies
    assert [(a.rung, a.first, a.frame_start) for a in found] == [(CAR, CAR, 10), (TORCH, TORCH, 50)]


def test_a_swing_of_the_reference_is_no_first_step_of_the_candidates(tmp_path):
    anomaly = only(make_run(tmp_path, events=[event(NONE, owner="reference"), event(CAR)]))
    assert (anomaly.first, anomaly.steps[1].value) == (CAR, 0.0)


def event(rung, kind="swing", value=0.4, **more):
    return {"rung": rung, "kind": kind, "value": value, **more}


def test_a_swing_is_followed_through_overlapping_swings(tmp_path):
    events = [event(NONE, frame_start=0, frame_end=60), event(ORT, frame_start=5, frame_end=55), event(CAR, value=0.5)]
    anomaly = only(make_run(tmp_path, events=events))
    assert (anomaly.first, anomaly.stage) == (NONE, "export")
    assert anomaly.steps[0].value == 0.0


def test_missing_lines_count_the_frames_they_share(tmp_path):
    frames = {"kind": "missing", "unit": "frames", "threshold": 1.0}
    events = [
        event(ORT, **frames | {"frame_start": 10, "frame_end": 19, "value": 10.0}),
        event(CAR, **frames | {"frame_start": 10, "frame_end": 29, "value": 20.0}),
    ]
    anomaly = only(make_run(tmp_path, events=events))
    assert (anomaly.first, anomaly.steps[2].value) == (ORT, 10.0)
    assert anomaly.steps[-1].added == 10.0


def test_a_swing_of_the_reference_blames_nobody(tmp_path):
    found = explain(make_run(tmp_path, events=[event(CAR, owner="reference"), event(ORT, owner="both")]))
    assert found.anomalies == ()
    assert any("2 swing events" in note for note in found.notes)


def test_limits_are_followed_down_the_ladder_too(tmp_path):
    run = make_run(tmp_path, bend=bends({TORCH: 0.1, NONE: 0.1, ORT: 0.1, CAR: 0.1}))
    assert explain(run, ()).anomalies == ()
    anomaly = only(run, [Limit("heading", "max", 0.005, "far")])
    assert (anomaly.kind, anomaly.unit, anomaly.first, anomaly.stage) == ("heading max", "rad", TORCH, "preprocess")
    assert anomaly.value == pytest.approx(0.01)
    assert explain(run, [Limit("heading", "max", 0.005, "near")]).anomalies == ()


@pytest.mark.parametrize(
    "limit", [Limit("coverage", "mean", 0.8), Limit("nonsense", "max", 1), Limit("bend", "sum", 1)]
)
def test_a_limit_that_cannot_be_followed_is_refused(tmp_path, limit):
    with pytest.raises(PolicyError):
        explain(make_run(tmp_path, bend=bends({CAR: 0.1})), [limit])


def outcome(status=Status.FAIL, **more):
    known = {
        "id": "r", "metric": "heading", "statistic": "p99", "pattern": "deploy/*", "band": ("near", "far"),
        "scope": "each", "compare": "limit", "required": True, "limit": "3 deg", "limit_value": 3.0, "unit": "deg",
        "note": "", "rungs": (),
    }  # fmt: skip
    return RuleOutcome(**known | more, status=status)


def test_breached_rules_of_the_verdict_become_limits(tmp_path):
    run = make_run(tmp_path, bend=bends({CAR: 0.1}))
    others = (
        outcome(Status.PASS, metric="bend"),
        outcome(metric="event.swing"),
        outcome(metric="jitter", compare="baseline"),
        outcome(metric="coverage", statistic="p1"),
    )
    limits = limits_of_verdict(Verdict((outcome(), *others), (), {}, {}).to_json(), run)
    assert [(m.metric, m.statistic, m.band) for m in limits] == [("heading", "p99", "near"), ("heading", "p99", "far")]
    assert limits[0].limit == pytest.approx(math.radians(3))
    assert limits_of_verdict(None, run) == ()


def test_a_verdict_written_beside_the_run_is_explained_without_being_asked(tmp_path):
    run = make_run(tmp_path, bend=bends({NONE: 0.1, ORT: 0.1, CAR: 0.1}))
    rule = outcome(metric="bend", statistic="max", band=(), limit_value=5.0, unit="cm")
    write_verdict(Verdict((rule,), (), {}, {}), tmp_path / "verdict.json")
    (anomaly,) = explain(run).anomalies
    assert (anomaly.kind, anomaly.stage, anomaly.threshold) == ("bend max", "export", pytest.approx(0.05))


def test_suspects_are_counted(tmp_path):
    rows = bends({CAR: 0.5}) + bends(EVERYWHERE_BELOW, track=1) + bends(EVERYWHERE_BELOW, track=2)
    found = explain(make_run(tmp_path, bend=rows))
    assert [(s.rung, s.stage, s.count) for s in found.suspects] == [(TORCH, "preprocess", 2), (CAR, "car", 1)]
    assert found.to_json()["steps"][TORCH] == {"count": 2, "share": pytest.approx(2 / 3)}


def test_json_has_no_nan_and_reads_back(tmp_path):
    found = explain(make_run(tmp_path, bend=bends({TORCH: 0.4, NONE: None, ORT: 0.4, CAR: 0.4})))
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["anomalies"][0]["steps"][1]["value"] is None


def test_a_rung_that_did_not_run_is_noted(tmp_path):
    run = make_run(tmp_path, bend=bends({}), change={CAR: {"status": "not_run", "reason": "no dump"}})
    found = explain(run)
    assert found.notes == (f"{CAR}: not run, no dump",)
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
    assert f"No anomaly against {ROOT}" in said(make_run(tmp_path / "b", bend=bends({})))


def test_a_ladder_that_hangs_in_the_air_is_refused(tmp_path):
    with pytest.raises(RunError, match="does not descend"):
        explain(make_run(tmp_path, bend=bends({}), change={CAR: {"parent": "deploy/nowhere"}}))
