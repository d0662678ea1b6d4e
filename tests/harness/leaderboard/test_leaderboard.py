"""Candidates with known numbers: who is barred, who is on the front, and when one is best."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UsageError
from harness.gate import Policy, load_policy
from harness.leaderboard import Board, leaderboard
from harness.leaderboard.column import Column, compare, drives_needed, of_drives
from harness.leaderboard.view import markdown, render
from harness.sweep import Sweep
from tests.harness.gate.gate_runs import ROOT, FakeRun, make_run, policy_file, rule_text

CAR, HALF = "deploy/torch-fp32", "deploy/emulated-fp16"
CASES = tuple(f"case_{k}" for k in range(8))
SCATTER = np.array([0.001, -0.002, 0.0015, -0.001, 0.002, -0.0015, 0.0005, -0.0005])


def _run(name: str, *, clean: float, gap: float, half: float, bend: float = 0.01, truth: bool = True) -> FakeRun:
    """A candidate: error against truth, gap of the pipelines, what fp16 does; each with a little scatter over cases."""
    run = make_run({case: [bend] * 4 for case in CASES}, rungs=(CAR, HALF), offset_mean=0.0, offset_max=0.0)
    run.meta["card"] |= {"name": name, "sha256": f"sha-{name}", "files": {}, "code": {}}
    run.rung(HALF).update(parent=CAR, factors=["precision:fp16"])
    run.path = Path("runs") / name  # type: ignore[attr-defined]  # as a run folder has one
    noise = dict(zip(CASES, SCATTER, strict=True))
    for row in run.rows["line_metrics"]:
        if row["rung"] == CAR:
            row["offset_mean"] = gap + noise[row["case"]]
    for row in [r for r in run.rows["line_metrics"] if r["rung"] == HALF]:
        value = half + noise[row["case"]]
        run.rows["line_metrics"].append(row | {"reference": CAR, "offset_max": value})
    if truth:
        run.rows["accuracy"] = [
            {
                "case": case,
                "rung": ROOT,
                "band": band,
                "stations": 100,
                "frames": 4,
                "lateral_cost": clean + noise[case],
            }
            for case in CASES
            for band in ("near", "mid", "far")
        ]
    return run


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    eyes = '[[rules]]\nid = "eyes"\nmetric = "lateral_cost"\nrung = "train/*"\nstatistic = "mean"\nlimit = "1 m"\n'
    return load_policy(policy_file(tmp_path, rule_text(statistic="max") + eyes))


def _board(runs: list[FakeRun], policy: Policy | None, sweeps: list[Sweep] | None = None) -> Board:
    return leaderboard(runs, sweeps or [], policy)  # type: ignore[arg-type]  # runs in memory


def _sweep(name: str, deviation: float, **more: Any) -> Sweep:
    keys = [
        {"perturbation": what, "severity": s, "amount": 0.1 * s, "case": case, "deviation": s * deviation + noise}
        for what in ("yaw", "noise", "dropped")
        for s in (1, 2)
        for case, noise in zip(CASES, SCATTER, strict=True)
    ]
    numbers = {"status": "ok", "input_rms": 3.0, "unmoved": False}
    cells = [key | numbers | {"follow": 1.0 if key["perturbation"] == "yaw" else None} for key in keys]
    card = {"name": name, "sha256": f"sha-{name}", "files": {}, "code": {}, "length_unit": "m"}
    return Sweep(Path(f"sweeps/{name}"), {"card": card, "cells": cells, "constant": False, "worst": None} | more)


def test_columns_are_what_was_planted(policy: Policy) -> None:
    board = _board([_run("a", clean=0.2, gap=0.05, half=0.003)], policy)
    (one,) = board.candidates
    assert one.columns["clean"].mean == pytest.approx(0.2)
    assert one.columns["robust"].mean == pytest.approx(0.05)
    assert one.columns["deployability"].mean == pytest.approx(0.003)
    assert one.columns["clean"].by_drive["case_1"] == pytest.approx(0.198)
    assert not one.barred


def test_the_better_one_everywhere_is_best_and_alone_on_the_front(policy: Policy) -> None:
    good, poor = _run("good", clean=0.1, gap=0.02, half=0.003), _run("poor", clean=0.2, gap=0.04, half=0.006)
    board = _board([poor, good], policy)
    assert [board.on_front(c) for c in board.candidates] == [False, True]
    assert board.best[0] is board.candidates[1]


def test_a_candidate_that_fails_a_required_rule_is_never_chosen_however_good(policy: Policy) -> None:
    bent = _run("bent", clean=0.01, gap=0.001, half=0.001, bend=0.5)
    fair = _run("fair", clean=0.3, gap=0.05, half=0.01)
    board = _board([bent, fair], policy)
    assert "FAIL: bend" in board.candidates[0].barred
    assert [board.on_front(c) for c in board.candidates] == [False, True]
    best, why = board.best
    assert best is board.candidates[1]
    assert "only one that passes" in why
    none, why = _board([bent], policy).best
    assert (none, "none passes" in why) == (None, True)


def test_where_columns_disagree_both_are_on_the_front_and_none_is_best(policy: Policy) -> None:
    sharp, steady = _run("sharp", clean=0.1, gap=0.05, half=0.003), _run("steady", clean=0.2, gap=0.02, half=0.003)
    board = _board([sharp, steady], policy)
    assert [board.on_front(c) for c in board.candidates] == [True, True]
    assert board.best[0] is None
    assert board.best[1].startswith("no candidate is best")


def test_a_difference_within_the_scatter_of_drives_makes_nobody_best(policy: Policy) -> None:
    a, b = _run("a", clean=0.2, gap=0.05, half=0.003), _run("b", clean=0.2, gap=0.05, half=0.003)
    for row in b.rows["accuracy"]:
        row["lateral_cost"] += 0.001 + 3 * SCATTER[CASES.index(row["case"])]
    board = _board([a, b], policy)
    assert board.best[0] is None
    assert board.on_front(board.candidates[0])
    assert not board.on_front(board.candidates[1])


def test_one_drive_tells_nobody_apart(policy: Policy, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [_run("good", clean=0.1, gap=0.02, half=0.003), _run("poor", clean=0.2, gap=0.04, half=0.006)]
    for run in runs:
        for case in run.meta["cases"]:
            case["drive"] = "monday"
    board = _board(runs, policy)
    assert board.best[0] is None
    assert len(board.candidates[0].columns["clean"].by_drive) == 1
    render(board)
    assert "one drive tells nobody apart" in capsys.readouterr().out


def test_a_constant_network_is_barred_by_its_sweep(policy: Policy) -> None:
    blind, seeing = _run("blind", clean=0.1, gap=0.0, half=0.0), _run("seeing", clean=0.2, gap=0.04, half=0.006)
    board = _board([blind, seeing], policy, [_sweep("seeing", 0.1), _sweep("blind", 0.0, constant=True)])
    assert board.candidates[0].barred.startswith("CONSTANT")
    assert board.best[0] is board.candidates[1]


def test_where_nothing_tells_a_constant_network_nobody_is_best(tmp_path: Path) -> None:
    """Without truth a policy of differences is passed best by lines that never move."""
    sightless = load_policy(policy_file(tmp_path, rule_text(statistic="max")))
    runs = [
        _run("blind", clean=0.1, gap=0.0, half=0.0, truth=False),
        _run("b", clean=0.2, gap=0.04, half=0.006, truth=False),
    ]
    best, why = _board(runs, sightless).best
    assert best is None
    assert "same lines on every road" in why
    swept = _board(runs, sightless, [_sweep("blind", 0.01), _sweep("b", 0.1)])
    assert swept.best[0] is swept.candidates[0]  # now its lines are known to follow the picture


def test_a_sweep_gives_the_robust_column_without_what_time_does(policy: Policy) -> None:
    runs = [_run("a", clean=0.2, gap=0.05, half=0.003), _run("b", clean=0.2, gap=0.05, half=0.003)]
    slow = _sweep("b", 0.2)
    for cell in slow.cells:
        if cell["perturbation"] == "noise" and cell["severity"] == 2:
            cell["status"] = "cannot tell"
        if cell["perturbation"] == "dropped":
            cell["deviation"] = 99.0
    board = _board(runs, policy, [_sweep("a", 0.1), slow])
    # severities 1 and 2 of yaw, severity 1 of noise: the mean of 1.5 and 1 times the deviation
    assert board.candidates[0].columns["robust"].mean == pytest.approx(0.125)
    assert board.candidates[1].columns["robust"].mean == pytest.approx(0.25)


def test_a_crash_in_the_sweep_bars(policy: Policy) -> None:
    swept = _sweep("a", 0.1)
    swept.cells[0]["status"] = "crashed"
    board = _board([_run("a", clean=0.2, gap=0.05, half=0.003)], policy, [swept])
    assert "CRASHED in 1 cells" in board.candidates[0].barred


def test_what_cannot_be_compared_is_refused(policy: Policy) -> None:
    a, b = _run("a", clean=0.2, gap=0.05, half=0.003), _run("b", clean=0.2, gap=0.05, half=0.003)
    b.case("case_2")["digest"] = "another recording"
    with pytest.raises(UsageError, match="case_2"):
        _board([a, b], policy)
    with pytest.raises(UsageError, match="is of c"):
        _board([a], policy, [_sweep("c", 0.1)])


def test_a_column_that_is_not_known_keeps_a_candidate_from_winning(policy: Policy) -> None:
    good, poor = _run("good", clean=0.1, gap=0.02, half=0.003), _run("poor", clean=0.2, gap=0.04, half=0.006)
    good.meta["rungs"].remove(good.rung(HALF))
    board = _board([good, poor], policy)
    assert board.candidates[0].columns["deployability"].by_drive == {}
    assert not board.candidates[0].barred
    assert board.best[0] is None


def test_models_of_one_name_are_told_apart_by_their_folders(policy: Policy) -> None:
    runs = [_run("lines", clean=0.1, gap=0.02, half=0.003) for _ in range(2)] + [
        _run("other", clean=0.1, gap=0.1, half=0.1)
    ]
    for run, folder in zip(runs, ("builds/may/run", "builds/june/run", "builds/x"), strict=True):
        run.path = Path(folder)  # type: ignore[attr-defined]
    assert [c.name for c in _board(runs, policy).candidates] == ["may/run", "june/run", "other"]
    runs[1].path = Path("builds/soup")  # type: ignore[attr-defined]
    assert [c.name for c in _board(runs, policy).candidates] == ["run", "soup", "other"]


def test_it_is_told_as_json_and_as_markdown_that_nobody_can_break(policy: Policy) -> None:
    board = _board([_run("a|b", clean=0.1, gap=0.02, half=0.003), _run("c", clean=0.2, gap=0.04, half=0.006)], policy)
    told = json.loads(json.dumps(board.to_json()))
    assert told["best"] == "a|b"
    assert told["candidates"][1]["columns"]["clean"]["mean"] == pytest.approx(0.2)
    assert told["candidates"][0]["front"] is True
    text = markdown(board)
    assert "a\\|b is best" in text
    assert all(line.replace("\\|", "").count("|") == 7 for line in text.splitlines() if line.startswith("|"))


def test_the_sign_test_needs_drives_that_agree() -> None:
    assert [drives_needed(1 - 0.05 / n) for n in (1, 3, 45)] == [6, 7, 11]
    for count, said in ((6, "alike"), (7, "better")):
        own, other = (Column({str(k): level + k for k in range(count)}) for level in (0.0, 0.5))
        assert compare(own, other, 1 - 0.05 / 3) == said


@pytest.mark.parametrize("draw", ["skewed", "heavy-tailed", "normal"])
def test_alike_candidates_are_told_apart_as_seldom_as_promised(draw: str) -> None:
    """Better and worse on equally many drives, whatever the distribution of the differences."""
    rng, told = np.random.default_rng(2), 0
    for _ in range(500):
        one = {
            "skewed": rng.exponential(1, 12) - math.log(2),
            "heavy-tailed": rng.standard_cauchy(12),
            "normal": rng.normal(0, 1, 12),
        }[draw]
        own = Column({str(k): 5 + float(d) for k, d in enumerate(one)})
        told += compare(own, Column(dict.fromkeys(own.by_drive, 5.0)), 0.95) != "alike"
    assert told / 500 < 0.06


def test_cases_of_one_drive_count_once() -> None:
    column = of_drives({"a": 1.0, "b": 3.0, "c": 5.0, "d": float("nan")}, {"a": "x", "b": "x", "c": "y", "d": "z"})
    assert dict(column.by_drive) == {"x": 2.0, "y": 5.0}


def test_drives_are_compared_with_themselves() -> None:
    """Roads differ by far more than candidates do."""
    own = Column({str(k): float(k) for k in range(8)})
    other = Column({str(k): k + 0.1 + 0.01 * (k % 2) for k in range(8)})
    assert compare(own, other, 0.99) == "better"
    assert compare(other, own, 0.99) == "worse"
    assert compare(own, own, 0.99) == "alike"
    assert compare(own, Column({"7": 1.0}), 0.99) == "unknown"
