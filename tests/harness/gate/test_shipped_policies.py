"""The policies that come with Trueline can be named, hold their order, pass clean candidates and fail faults."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from harness.errors import PolicyError
from harness.gate import Status, Verdict, judge, load_policy
from harness.gate.load import SHIPPED
from harness.gate.policy import Policy
from harness.run.folder import Run
from harness.run.units import tighter_or_equal
from tests.harness.gate.gate_runs import make_run
from tests.harness.gate.test_gate_held_out import FAULTS, FPS, FRAMES, Fault, drive, wobble
from tests.harness.planted import Drawn, drawn, planted_suite

CASES = 8
LOST = "lost for 3 frames"


def suite(folder: Path, seed: int, fault: Fault | None = None, cases: int = CASES, faulty: int = 1) -> Run:
    """Drives of 20 s; the fault is on the first of them."""
    made = {}
    for k in range(cases):
        rng = np.random.default_rng([seed, k])
        seen = drive(rng)
        before, after = wobble(rng, seen), wobble(rng, seen)
        after = fault(rng, after) if fault is not None and k < faulty else after
        made[f"drive_{k}"] = Drawn(drawn(before), drawn(after), FRAMES)
    return planted_suite(folder, made, fps=FPS)


def failed(verdict: Verdict) -> set[str]:
    return {r.id for r in verdict.rules if r.status is Status.FAIL}


def test_six_of_them_can_be_named() -> None:
    assert set(SHIPPED) == {f"{n}{s}" for n in ("smoke", "release", "strict") for s in ("", "-image")}
    for name in SHIPPED:
        assert load_policy(Path(name)).name == name


def test_a_file_of_that_name_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.trueline.toml").write_text('extends = "strict"')
    assert len(load_policy(Path("own.trueline.toml")).rules) == len(load_policy(Path("strict")).rules)
    (tmp_path / "strict").write_text('extends = "smoke"')
    assert len(load_policy(Path("own.trueline.toml")).rules) == len(load_policy(Path("smoke")).rules)


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(PolicyError, match="release-image"):
        load_policy(Path("relaese"))


@pytest.mark.parametrize("suffix", ["", "-image"])
def test_each_is_tighter_than_the_one_before(suffix: str) -> None:
    chain: list[Policy] = [load_policy(Path(n + suffix)) for n in ("smoke", "release", "strict")]
    for loose, tight in pairwise(chain):
        held = {r.id: r for r in tight.rules}
        for rule in loose.rules:
            worse = rule.higher_is_worse or rule.compare == "baseline"
            assert tighter_or_equal(held[rule.id].limit, rule.limit, higher_is_worse=worse, where=rule.id)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_limit_has_its_reason_in_the_guide(name: str) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "gate.md").read_text(encoding="utf-8")
    for rule in load_policy(Path(name)).rules:
        assert f"`{rule.id}`" in guide, rule.id


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return suite(tmp_path_factory.mktemp("clean"), 1)


@pytest.mark.parametrize("name", ["smoke", "release"])
def test_clean_candidates_fail_nothing(clean: Run, name: str) -> None:
    verdict = judge(clean, load_policy(Path(name)))
    assert not failed(verdict)
    assert {r.id for r in verdict.rules if r.required and r.status is not Status.PASS} <= {"ego-path"}


@pytest.mark.parametrize("name", [name for name in FAULTS if name != LOST])
def test_faults_that_a_car_has_shown_fail_a_release(tmp_path: Path, name: str) -> None:
    assert failed(judge(suite(tmp_path, 2, FAULTS[name][0], cases=1), load_policy(Path("release"))))


def test_a_line_lost_for_three_frames_in_every_drive_does_not_pass_a_release(tmp_path: Path) -> None:
    """Three losses a minute, and the most that may be is two."""
    verdict = judge(suite(tmp_path, 2, FAULTS[LOST][0], faulty=CASES), load_policy(Path("release")))
    outcome = verdict.rule("losses-per-hour")
    assert outcome is not None
    assert outcome.status is not Status.PASS, outcome.reason


def test_a_gate_that_cannot_see_says_so_first(clean: Run) -> None:
    verdict = judge(clean, load_policy(Path("smoke")))
    assert verdict.status is Status.PASS
    assert "draws the same lines on every road" in verdict.blind
    assert verdict.remarks[0] == verdict.blind == verdict.to_json()["blind"]


def test_rules_that_a_run_gives_no_reason_to_ask_are_left_out_and_named() -> None:
    verdict = judge(make_run({"a": [0.1] * 30}), load_policy(Path("release")))
    left = {r.id: r.reason for r in verdict.left_out}
    assert left["truth-f1"] == "no case has ground truth"
    assert left["no-fewer-lines"] == "no baseline was given"
    assert left["state-reset"] == "the model feeds no state back"
    assert left["swing-known-bad"] == "no case is tagged known-bad"
    assert any("truth-f1" in remark and "ground truth" in remark for remark in verdict.remarks)


def test_strict_asks_for_a_baseline() -> None:
    verdict = judge(make_run({"a": [0.1] * 30}), load_policy(Path("strict")))
    outcome = verdict.rule("no-fewer-lines")
    assert outcome is not None
    assert outcome.status is Status.NOT_RUN
