"""Verdicts as test results: words, JUnit, workers, what a session shares."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import pytest

from harness.plugin.options import OPTIONS
from tests.harness.plugin.plugin_suites import (
    CONFTEST,
    LEAN,
    SUITE,
    replays,
    rules,
    run,
    write_case,
    write_run,
    write_suite,
)

pytestmark = pytest.mark.filterwarnings("default")


def test_a_good_case_passes_and_a_bad_one_fails(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"good": 1.0, "bad": 4.5})
    result = run(suite)
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_failure_tells_the_step_that_is_blamed_and_what_its_inputs_differ_in(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.plugin.session.findings_of", lambda _: {("kink", "deploy/ort-fp32", "bad"): None})
    monkeypatch.setattr("harness.plugin.session.blamed", lambda _: "begins at deploy/ort-fp32: preprocess:resize")
    swapped = "the car's tensor = the lab's with red and blue swapped"
    monkeypatch.setattr("harness.plugin.session.told_inputs", lambda run, broken: dict.fromkeys(broken, swapped))
    write_suite(suite.path, {"bad": 5.0})
    run(suite).stdout.fnmatch_lines(["*step:    begins at deploy/ort-fp32: preprocess:resize", f"*inputs:  {swapped}"])


def test_a_failure_tells_the_numbers_the_frame_and_the_report_without_a_traceback(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"bad": 4.5})
    result = run(suite)
    report = suite.path / ".trueline" / "pytest" / "toy" / "report.html"
    result.stdout.fnmatch_lines(
        [
            "FAIL kink: deploy/ort-fp32, case bad",
            "  found:   4.5 deg > 3 deg",
            "  worst:   4.5 deg at frame 2, track 1, band mid",
            "  rule:    max kink, limit 3 deg",
            "  against: train/torch-fp32",
            "  note:    straight roads stay straight",
            f"  report:  {report}",
        ],
        consecutive=True,
    )
    assert report.read_text() == "report"
    assert "Traceback" not in result.stdout.str()
    assert "items.py" not in result.stdout.str()


def test_what_others_wrote_steers_no_terminal(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"bad": 4.5}, rules(note="\x1b[2J[red]straight[/red]:car:"))
    said = run(suite, "--color=no").stdout.str()
    assert "\\x1b[2J[red]straight[/red]:car:" in said
    assert "\x1b" not in said


def test_not_run_fails_and_is_never_skipped(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"a": 1.0}, rules(engines=["ort-fp32", "absent-fp16"]))
    result = run(suite)
    result.assert_outcomes(passed=1, failed=1, skipped=0)
    result.stdout.fnmatch_lines(["NOT_RUN kink: deploy/absent-fp16, case a", "*was not run: no GPU"])


def test_a_case_without_values_fails(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"a": float("nan"), "b": 1.0})
    result = run(suite)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["NOT_RUN kink: deploy/ort-fp32, case a", "*nothing to compare: kink has no value*"])


def test_inconclusive_fails_and_is_never_skipped(suite: pytest.Pytester) -> None:
    text = rules(statistic="p50", scope="population", allowed_share=0.1)
    write_suite(suite.path, {f"c{i}": 1.0 for i in range(8)}, text)
    result = run(suite)
    result.assert_outcomes(failed=1, skipped=0)
    result.stdout.fnmatch_lines(
        ["INCONCLUSIVE kink: deploy/ort-fp32", "  found:   0 of 8 cases violate the limit*", "  numbers: cases 8,*"]
    )


def test_an_advisory_finding_passes_and_is_told(suite: pytest.Pytester) -> None:
    text = SUITE + '[[rules]]\nid="soft"\nmetric="kink"\nrung="*"\nstatistic="max"\nlimit="1 deg"\nrequired=false\n'
    write_suite(suite.path, {"a": 2.0}, text)
    result = run(suite)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "*= trueline =*",
            "advisory: toy.trueline.toml::soft[[]deploy/ort-fp32-a[]]",
            "FAIL soft: deploy/ort-fp32, case a",
            "  found:   2 deg > 1 deg",
            "toy: PASS, profile cpu, *verdict.json",
            "  deploy/ort-fp32: onnxruntime 1.2.3",
        ]
    )


def test_a_suite_without_a_required_rule_cannot_be_green(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"a": 1.0}, rules(required=False))
    result = run(suite)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*no required rule is judged here*"])


def test_a_verdict_on_some_cases_takes_the_place_of_none_on_all(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"good": 1.0, "bad": 4.5})
    run(suite).assert_outcomes(passed=1, failed=1)
    run(suite, "-k", "good").assert_outcomes(passed=1, deselected=1)
    told = {p.parent.name: json.loads(p.read_text())["verdict"] for p in suite.path.rglob("verdict.json")}
    assert told == {"toy": "FAIL", "toy.part": "PASS"}


def test_items_carry_the_verdict_into_junit(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"a": 1.0})
    run(suite, "--junitxml=out.xml")
    properties = {p.get("name"): p.get("value") for p in ET.parse(suite.path / "out.xml").iter("property")}
    assert str(properties["trueline_verdict"]).endswith("verdict.json")
    assert str(properties["trueline_report"]).endswith("report.html")


def test_the_replay_runs_once_for_all_policies_that_want_the_same(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"a": 1.0, "b": 2.0})
    (suite.path / "strict.trueline.toml").write_text(rules(limit="1.5 deg"))
    (suite.path / "other.trueline.toml").write_text(rules(engines="ort-fp32-none"))
    run(suite).assert_outcomes(passed=5, failed=1)
    assert sorted(replays(suite)) == ["toy ort-fp32 deploy 2", "toy ort-fp32-none deploy 2"]


def test_a_later_session_replays_again(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"a": 1.0})
    run(suite).assert_outcomes(passed=1)
    (suite.path / "kink_deg.json").write_text('{"a": 9.0}')
    run(suite).assert_outcomes(failed=1)
    assert len(replays(suite)) == 2


def spawned(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """In processes of their own, as xdist's workers are."""
    suite.makeconftest(CONFTEST)
    return suite.runpytest_subprocess(*LEAN, *arguments)


def test_workers_share_one_replay_and_one_report(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {f"c{i}": 1.0 for i in range(5)} | {"bad": 4.5})
    result = spawned(suite, "-n", "2")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["FAIL kink: deploy/ort-fp32, case bad", "toy: FAIL, profile cpu, *verdict.json"])
    assert replays(suite) == ["toy ort-fp32 deploy 6"]


def test_workers_share_a_broken_replay(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {f"c{i}": 1.0 for i in range(4)})
    (suite.path / "broken").touch()
    result = spawned(suite, "-n", "2")
    result.assert_outcomes(failed=4)
    assert result.stdout.str().count("RunError: the disk is full") >= 4
    assert len(replays(suite)) == 1


def test_the_profile_is_chosen_on_the_command_line(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"a": 1.0}, SUITE + '\n[profile.car]\nengines = "absent-fp16"\npreprocess = "deploy"\n')
    result = run(suite)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*2 profiles and none was chosen*--trueline-profile*"])
    run(suite, "--trueline-profile=cpu").assert_outcomes(passed=1)
    run(suite, "--trueline-profile=car").assert_outcomes(failed=1)
    run(suite, "--trueline-profile=lab").assert_outcomes(errors=1)


def test_a_finished_run_is_judged_without_a_replay(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"a": 1.0, "b": 4.5})
    cases = [suite.path / "cases" / c for c in "ab"]
    write_run(suite.path / "done", cases, {"deploy/ort-fp32": "ok", "deploy/x": "ok"}, {"a": 1.0, "b": 4.5})
    run(suite, "--trueline-run=done").assert_outcomes(passed=1, failed=1)
    (suite.path / "toy.trueline.toml").write_text(re.sub(r"\[profile(.|\n)*?\n\n", "", SUITE))
    run(suite, "--trueline-run=done").assert_outcomes(passed=2, failed=2)
    (suite.path / "toy.trueline.toml").write_text(rules(rung="train/*").replace('preprocess = "deploy"\n', ""))
    run(suite, "--trueline-run=done").assert_outcomes(failed=2)
    assert replays(suite) == []


def test_a_baseline_is_given_on_the_command_line(suite: pytest.Pytester) -> None:
    names = [f"c{i}" for i in range(8)]
    text = rules(statistic="mean", scope="population", compare="baseline", limit="0.1 deg", allowed_share=0.4)
    write_suite(suite.path, dict.fromkeys(names, 1.0), text)
    cases = [suite.path / "cases" / c for c in names]
    write_run(suite.path / "before", cases, {"deploy/ort-fp32": "ok"}, dict.fromkeys(names, 0.9))
    run(suite, "--trueline-baseline=before").assert_outcomes(passed=1)
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no baseline was given*"])


def test_results_go_where_they_are_told_and_replace_nothing_foreign(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"a": 1.0})
    run(suite, "--trueline-out=results").assert_outcomes(passed=1)
    assert (suite.path / "results" / "toy" / "verdict.json").exists()
    (suite.path / "mine" / "toy").mkdir(parents=True)
    (suite.path / "mine" / "toy" / "thesis.txt").touch()
    result = run(suite, "--trueline-out=mine")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["UsageError: it exists, and no test session made it*"])
    assert (suite.path / "mine" / "toy" / "thesis.txt").exists()


def test_policies_of_one_name_do_not_share_a_folder(suite: pytest.Pytester) -> None:
    for name, kink in (("one", 1.0), ("two", 1.0)):
        (suite.path / name).mkdir()
        write_suite(suite.path / name, {"a": kink})
    (suite.path / "kink_deg.json").write_text('{"a": 1.0}')
    run(suite).assert_outcomes(passed=2)
    out = suite.path / ".trueline" / "pytest"
    assert {p.parent.name for p in out.glob("*/verdict.json")} == {"one.toy", "two.toy"}


def test_options_are_those_of_the_table(pytester: pytest.Pytester) -> None:
    text = " ".join(pytester.runpytest_inprocess("--help").stdout.str().split())
    for option in OPTIONS.values():
        assert f"--trueline-{option.name}={option.metavar} {option.help}" in text


def test_the_replay_fixture_shares_the_replay_of_the_policies(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"a": 1.0})
    test = """
        def test_{0}(trueline_replay):
            run = trueline_replay("model.toml", ["cases"], engines=["ort-fp32"], preprocess=["deploy"])
            assert run.table("line_metrics").collect().height == 4
    """
    suite.makepyfile(test_one=test.format(1), test_two=test.format(2))
    run(suite).assert_outcomes(passed=3)
    assert replays(suite) == ["toy ort-fp32 deploy 1"]


def test_the_case_fixture_opens_cases_beside_the_test(pytester: pytest.Pytester) -> None:
    write_case(pytester.path / "cases", "a")
    pytester.makepyfile('def test_it(trueline_case): assert trueline_case("cases/a").id == "a"')
    pytester.runpytest_inprocess(*LEAN).assert_outcomes(passed=1)
