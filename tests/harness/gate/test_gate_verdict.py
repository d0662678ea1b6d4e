from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest

from harness.errors import RunError
from harness.gate import write_verdict
from harness.gate.verdict import Status, worst_of
from harness.run.manifest import unsummed
from tests.harness.gate.gate_runs import (
    ROOT,
    RUNG,
    add_floor,
    judged,
    make_run,
    rule_text,
    rules,
    verdict_of,
)

WORST_FIRST = ["CRASHED", "NONFINITE", "FAIL", "NOT_RUN", "INCONCLUSIVE", "PASS"]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_worst_of_several_is_the_first_in_order(size: int) -> None:
    for chosen in itertools.product(WORST_FIRST, repeat=size):
        assert worst_of(Status(s) for s in chosen) == min(chosen, key=WORST_FIRST.index)


def test_nothing_looked_at_is_nothing_passed() -> None:
    assert worst_of([]) is Status.NOT_RUN


def test_exit_codes_are_those_of_the_contract() -> None:
    assert [Status(s).exit_code for s in WORST_FIRST] == [1, 1, 1, 3, 3, 0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("pass",), "PASS"),
        (("pass", "inc"), "INCONCLUSIVE"),
        (("pass", "inc", "not-run"), "NOT_RUN"),
        (("inc", "not-run", "fail"), "FAIL"),
        (("not-run", "fail", "nonfinite"), "NONFINITE"),
        (("pass", "inc", "not-run", "fail", "nonfinite", "crashed"), "CRASHED"),
    ],
)
def test_the_worst_required_rule_decides(tmp_path: Path, names: tuple[str, ...], expected: str) -> None:
    verdict = verdict_of(tmp_path, rules(*names))
    assert verdict.status == expected
    assert verdict.exit_code == Status(expected).exit_code


def test_an_advisory_rule_reports_and_decides_nothing(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, rules("pass") + rules("fail", "crashed", required=False))
    assert verdict.status is Status.PASS
    assert [r.status for r in verdict.rules] == [Status.PASS, Status.FAIL, Status.CRASHED]


def test_advice_alone_is_no_verdict(tmp_path: Path) -> None:
    assert verdict_of(tmp_path, rules("pass", required=False)).status is Status.NOT_RUN


def test_verdict_json_holds_what_it_takes_to_repeat_it(tmp_path: Path) -> None:
    run = add_floor(make_run({"a": [0.1, 0.3], "b": [None, None]}), "bend", 0.001)
    verdict = judged(tmp_path, run, '[profile.cpu]\nengines = ["ort-fp32"]\n' + rule_text())
    write_verdict(verdict, tmp_path / "verdict.json")
    text = (tmp_path / "verdict.json").read_text(encoding="utf-8")
    told = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert unsummed(told) == verdict.to_json()
    assert unsummed(told | {"verdict": "PASS"}) is None
    assert (told["verdict"], told["exit_code"]) == ("FAIL", 1)
    assert told["run"]["meta"] == run.meta
    assert told["policy"]["profile"] == "cpu"
    assert told["policy"]["profiles"]["cpu"]["engines"] == ["ort-fp32"]
    assert len(told["policy"]["sources"][0]["sha256"]) == 64
    assert told["policy"]["rules"][0]["limit"] == {"value": 0.15, "unit": "m", "sign": ""}
    assert told["floors"] == {RUNG: {"bend": 0.001}}
    deploy = next(r for r in told["rules"][0]["rungs"] if r["rung"] == RUNG)
    assert deploy["reference"] == ROOT
    a, b = deploy["cases"]
    assert a["worst"] == {"value": 0.3, "frame": 1, "track": 0, "band": "near", "unit": "m"}
    assert (b["verdict"], b["value"], b["worst"]) == ("NOT_RUN", None, None)


def test_infinity_survives_json(tmp_path: Path) -> None:
    run = make_run({"a": [0.1]})
    keys = {"case": "a", "frame": 0, "rung": RUNG, "output": "o", "reference": ROOT}
    run.rows["tensor_metrics"] = [keys | {"snr_db": math.inf}]
    verdict = judged(tmp_path, run, rule_text(id="snr", metric="snr_db", statistic="min", limit="40 dB"))
    assert verdict.to_json()["rules"][0]["rungs"][0]["cases"][0]["value"] == "inf"


def test_a_verdict_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, rules("pass"))
    with pytest.raises(RunError) as caught:
        write_verdict(verdict, tmp_path / "none" / "file")
    assert caught.value.where == str(tmp_path / "none" / "file")


def test_what_went_wrong_where_no_rule_looked_is_told_and_decides_nothing(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, rules("pass"))
    assert verdict.status is Status.PASS
    assert [(u.rung, u.status) for u in verdict.unjudged] == [
        ("deploy/crashed", Status.CRASHED),
        ("deploy/nonfinite", Status.NONFINITE),
        ("deploy/not-run", Status.NOT_RUN),
    ]
    told = verdict.to_json()["unjudged"][0]
    assert told == {"rung": "deploy/crashed", "verdict": "CRASHED", "reason": "crashed: case a, frame 3: bad alloc"}


def test_a_rung_that_a_rule_judges_is_not_told_twice(tmp_path: Path) -> None:
    assert {u.rung for u in verdict_of(tmp_path, rules("crashed", required=False)).unjudged} == {
        "deploy/nonfinite",
        "deploy/not-run",
    }


def test_a_swap_of_one_step_that_cannot_be_built_is_no_news(tmp_path: Path) -> None:
    run = make_run({"a": [0.1]}, rungs=[RUNG, "train+resize/torch-fp32"])
    run.rung("train+resize/torch-fp32").update(status="not_run", reason="other size")
    assert judged(tmp_path, run, rule_text(rung=RUNG)).unjudged == ()
