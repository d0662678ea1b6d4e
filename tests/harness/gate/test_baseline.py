from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.errors import PolicyError, RunError, UsageError
from harness.gate import Status, accept, judge, load_policy, open_baseline, write_accepted
from harness.gate.provenance import provenance_differences, provenance_of
from tests.harness.gate.gate_runs import ROOT, RUNG, FakeRun, make_run, policy_file, rule_text

EACH = rule_text(id="same", compare="baseline", statistic="p95", limit="0.01 m")


def accepted_file(folder: Path, run: FakeRun, text: str = EACH) -> Path:
    """What `trueline accept` writes of a run."""
    policy = load_policy(policy_file(folder, text))
    path = folder / "toy.accepted.toml"
    write_accepted(accept(judge(run, policy), {r.id: r for r in policy.rules}, "as released"), path)
    return path


def against_file(folder: Path, run: FakeRun, baseline: Path, text: str = EACH) -> Any:
    verdict = judge(run, load_policy(policy_file(folder, text)), baseline=open_baseline(baseline))
    rule = verdict.rule("same")
    assert rule is not None
    return verdict, rule


@pytest.mark.parametrize(("worse_by", "status"), [(0.0, Status.PASS), (0.009, Status.PASS), (0.011, Status.FAIL)])
def test_each_case_is_held_against_its_accepted_number(tmp_path: Path, worse_by: float, status: Status) -> None:
    path = accepted_file(tmp_path, make_run({"a": [0.05] * 5, "b": [0.02] * 5}))
    new = make_run({"a": [0.05] * 5, "b": [0.02 + worse_by] * 5})
    verdict, rule = against_file(tmp_path, new, path)
    assert rule.status is status
    assert [c.baseline for c in rule.rungs[0].cases] == [0.05, 0.02]
    assert verdict.baseline["kind"] == "accepted"
    assert f"baseline: {path}" in verdict.remarks[1]
    assert "as released" in verdict.remarks[1]


def test_the_file_and_the_run_it_came_from_decide_alike(tmp_path: Path) -> None:
    old, new = make_run({"a": [0.05, 0.11]}), make_run({"a": [0.09, 0.07]})
    policy = load_policy(policy_file(tmp_path, EACH))
    by_file = judge(new, policy, baseline=open_baseline(accepted_file(tmp_path, old)))
    by_run = judge(new, policy, baseline=old)
    assert [r.rungs for r in by_file.rules] == [r.rungs for r in by_run.rules]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"digest": "other"}, "another recording"), ({"fps": 25.0}, "another recording"), ({"id": "z"}, "does not have")],
)
def test_a_case_is_paired_only_with_itself(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = accepted_file(tmp_path, make_run({"a": [0.05]}))
    new = make_run({"a": [0.05]})
    new.case("a").update(change)
    for row in new.rows["line_metrics"] + new.rows["frame_metrics"]:
        row["case"] = new.meta["cases"][0]["id"]
    _, rule = against_file(tmp_path, new, path)
    assert rule.status is Status.NOT_RUN
    assert words in rule.reason


def test_a_case_that_was_accepted_and_is_gone_is_no_improvement(tmp_path: Path) -> None:
    path = accepted_file(tmp_path, make_run({"a": [0.05], "hard": [0.14]}))
    _, rule = against_file(tmp_path, make_run({"a": [0.05]}), path)
    assert rule.status is Status.NOT_RUN
    assert "hard" in rule.reason


def test_a_question_that_was_not_asked_then_is_not_run(tmp_path: Path) -> None:
    path = accepted_file(tmp_path, make_run({"a": [0.05]}))
    other = rule_text(id="same", compare="baseline", statistic="p99", limit="0.01 m")
    _, rule = against_file(tmp_path, make_run({"a": [0.05]}), path, other)
    assert rule.status is Status.NOT_RUN
    assert "accept again" in rule.reason


def test_a_baseline_that_no_rule_compares_with_is_told(tmp_path: Path) -> None:
    run = make_run({"a": [0.05]})
    verdict = judge(run, load_policy(policy_file(tmp_path, rule_text())), baseline=run)
    assert any("no rule compares" in remark for remark in verdict.remarks)


def test_a_policy_names_its_baseline(tmp_path: Path) -> None:
    path = accepted_file(tmp_path, make_run({"a": [0.05]}))
    text = f'baseline = "{path.name}"\n' + EACH
    verdict = judge(make_run({"a": [0.08]}), load_policy(policy_file(tmp_path, text)))
    assert verdict.status is Status.FAIL
    assert verdict.to_json()["remarks"] == list(verdict.remarks)


def test_a_policy_that_extends_another_keeps_its_baseline(tmp_path: Path) -> None:
    policy_file(tmp_path, 'baseline = "old.accepted.toml"\n' + EACH, name="base.trueline.toml")
    text = 'extends = "base.trueline.toml"\nbaseline = "easier.accepted.toml"\n'
    with pytest.raises(PolicyError, match="looser"):
        load_policy(policy_file(tmp_path, text, guards=False))


def test_the_file_says_what_was_accepted_and_why(tmp_path: Path) -> None:
    path = accepted_file(tmp_path, make_run({"a": [0.2]}), EACH + rule_text())
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    assert (told["reason"], told["verdict"], told["model"]) == ("as released", "FAIL", "toy")
    assert told["numbers"][f"p95 bend against {ROOT}"] == {RUNG: {"a": 0.2}}


@pytest.mark.parametrize("text", ["", "schema = 2", "a = [", 'reason = "x"', "[" * 3000, "\0"])
def test_another_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.accepted.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RunError) as caught:
        open_baseline(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_reason_is_no_acceptance(tmp_path: Path) -> None:
    policy = load_policy(policy_file(tmp_path, EACH))
    with pytest.raises(UsageError, match="no reason"):
        accept(judge(make_run({"a": [0.1]}), policy), {r.id: r for r in policy.rules}, "  ")


def test_what_differs_since_the_baseline_is_told_beside_the_numbers(tmp_path: Path) -> None:
    old, new = make_run({"a": [0.05]}), make_run({"a": [0.05]})
    for run, version, antialias in ((old, "1.31", True), (new, "1.32", False)):
        run.rung(RUNG).update(engine="ort-fp32", provenance={"onnxruntime": version, "seconds": id(run)})
        steps = [{"op": "resize", "step": "resize", "antialias": antialias}]
        run.meta["pipelines"] = {"image": {"train": [], "deploy": steps}}
    verdict, _ = against_file(tmp_path, new, accepted_file(tmp_path, old))
    assert verdict.baseline["differs"] == [
        "ort-fp32: onnxruntime 1.31 -> 1.32",
        "deploy of image: resize: antialias true -> false",
    ]
    assert "onnxruntime 1.31 -> 1.32" in verdict.remarks[2]


def test_a_run_does_not_differ_from_itself() -> None:
    meta = make_run({"a": [0.05]}).meta
    assert provenance_differences(provenance_of(meta), provenance_of(meta)) == ()
