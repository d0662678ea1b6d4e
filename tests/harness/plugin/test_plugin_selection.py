"""Which items there are, and that only what they select is replayed."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.harness.plugin.plugin_suites import (
    SUITE,
    replays,
    rules,
    run,
    write_suite,
)

pytestmark = pytest.mark.filterwarnings("default")


def test_there_is_one_item_per_rule_rung_and_case(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"a": 1.0, "b": 1.0}, rules(engines=["ort-fp32", "ort-fp32-none"]))
    result = run(suite, "--collect-only", "-q")
    names = [line for line in result.outlines if "::" in line]
    assert names == [
        f"toy.trueline.toml::kink[deploy/{engine}-{case}]" for engine in ("ort-fp32", "ort-fp32-none") for case in "ab"
    ]
    assert replays(suite) == []


def test_an_item_is_chosen_by_its_name(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"good": 1.0, "bad": 4.5})
    run(suite, "toy.trueline.toml::kink[deploy/ort-fp32-good]").assert_outcomes(passed=1)


def test_cases_that_nobody_selected_are_not_replayed(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"good": 1.0, "bad": 5.0, "third": 1.0})
    result = run(suite, "-k", "good or third")
    result.assert_outcomes(passed=2, deselected=1)
    assert replays(suite) == ["toy ort-fp32 deploy 2"]
    result.stdout.fnmatch_lines(["*on 2 of 3 cases: those of the items that were selected*"])
    run(suite).assert_outcomes(passed=2, failed=1)
    assert replays(suite)[-1] == "toy ort-fp32 deploy 3"


def test_a_population_needs_all_cases_whatever_else_is_selected(suite: pytest.Pytester) -> None:
    population = SUITE.partition("[[rules]]")[2].replace('"kink"\nmetric', '"all"\nscope = "population"\nmetric')
    population = population.replace('"max"', '"p50"\nallowed_share = 0.5')
    write_suite(suite.path, {"good": 1.0, "bad": 1.0}, f"{SUITE}\n[[rules]]{population}")
    run(suite, "-k", "all or good")
    assert replays(suite) == ["toy ort-fp32 deploy 2"]


def test_a_population_is_one_item(suite: pytest.Pytester) -> None:
    text = rules(statistic="p50", scope="population", allowed_share=0.5)
    write_suite(suite.path, {f"c{i}": 1.0 for i in range(8)}, text)
    result = run(suite, "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["toy.trueline.toml::kink[[]deploy/ort-fp32[]] PASSED*"])


def test_the_time_of_a_replay_falls_on_the_case_that_took_it(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"fast": 1.0, "slow": 1.0})
    run(suite, "--junitxml", "out.xml").assert_outcomes(passed=2)
    cases = {c.get("name"): float(c.get("time") or 0) for c in ET.parse(suite.path / "out.xml").iter("testcase")}
    assert cases["kink[deploy/ort-fp32-slow]"] >= 0.5
