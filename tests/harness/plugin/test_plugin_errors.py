"""What cannot be used is one line, and costs nothing else; the plugin itself is light."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.harness.plugin.plugin_suites import (
    LEAN,
    SUITE,
    replays,
    rules,
    run,
    write_suite,
)

pytestmark = pytest.mark.filterwarnings("default")


def test_a_broken_replay_fails_every_item_in_one_line_and_is_tried_once(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"a": 1.0, "b": 1.0})
    (suite.path / "broken").touch()
    result = run(suite)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["RunError: the disk is full | where: *run-toy-* | remedy: make room"])
    assert "Traceback" not in result.stdout.str()
    assert len(replays(suite)) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (rules(limit="3 m"), "UnitMismatch: max of kink measures angle"),
        (rules(colour="red"), "PolicyError: rule 'kink'.colour: unknown key"),
        ("rules = [", "PolicyError: not TOML"),
        (rules(cases="clips/*"), "PolicyError: cases: no folder matches *clips/*"),
        (rules(card="none.toml"), "CardError: no model card"),
        (SUITE.replace('cases = "cases/*"', ""), "PolicyError: a policy that pytest runs needs cases"),
        (SUITE.replace('card = "model.toml"', ""), "PolicyError: a policy that pytest runs needs card"),
        (re.sub(r"\[profile(.|\n)*?\n\n", "", SUITE), "needs [[]profile.NAME[]]"),
    ],
)
def test_a_policy_that_cannot_be_used_is_one_line_at_collection(suite: pytest.Pytester, text: str, words: str) -> None:
    write_suite(suite.path, {"a": 1.0}, text)
    result = run(suite)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{words}*"])
    assert "Traceback" not in result.stdout.str()
    assert replays(suite) == []


def test_a_broken_case_is_one_line_at_collection(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"a": 1.0})
    (suite.path / "cases" / "a" / "frames.parquet").write_bytes(b"")
    result = run(suite)
    result.assert_outcomes(errors=1)
    assert "Traceback" not in result.stdout.str()


def test_a_policy_that_only_serves_to_be_extended_is_no_suite(suite: pytest.Pytester) -> None:
    write_suite(suite.path, {"a": 1.0}, 'extends = "base.trueline.toml"\ncard = "model.toml"\ncases = "cases/*"\n')
    base = SUITE.replace('card = "model.toml"\ncases = "cases/*"\n', "")
    (suite.path / "base.trueline.toml").write_text(base)
    run(suite).assert_outcomes(passed=1)
    result = run(suite, "base.trueline.toml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*base.trueline.toml has neither card nor cases: it only serves to be extended*"])


LIGHT = """
import sys
import harness.plugin.hooks
heavy = {"torch", "polars", "numpy", "pydantic", "onnx", "onnxruntime", "scipy", "rich", "cv2", "av"} & set(sys.modules)
print(sorted(heavy))
"""


def test_importing_the_plugin_loads_nothing_heavy() -> None:
    told = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_the_test_of_lightness_can_fail() -> None:
    told = subprocess.run([sys.executable, "-c", "import polars\n" + LIGHT], capture_output=True, text=True, check=True)
    assert "polars" in told.stdout


def test_a_session_without_policies_loads_nothing_heavy(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    check = "assert not {'torch', 'polars', 'numpy', 'pydantic'} & set(sys.modules)"
    pytester.makepyfile(f"import sys\ndef test_it(): {check}")
    pytester.runpytest_subprocess("-p", "harness.plugin.hooks").assert_outcomes(passed=1)


def test_a_foreign_package_is_named_in_one_line(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    write_suite(pytester.path, {"a": 1.0})
    foreign = pytester.mkdir("foreign")
    (foreign / "cases.py").write_text("raise RuntimeError('imported')")
    monkeypatch.setenv("PYTHONPATH", str(foreign))
    result = pytester.runpytest_subprocess(*LEAN)
    result.assert_outcomes(errors=1)
    line = f"*UsageError: package 'cases' is {foreign}/cases.py, not Trueline's | where: sys.path | remedy: *"
    result.stdout.fnmatch_lines([f"trueline: {line[1:]}", "collected 0 items*", line])
    assert "Traceback" not in result.stdout.str()


def test_a_foreign_package_leaves_other_tests_alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = pytester.mkdir("foreign")
    (foreign / "cases.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(foreign))
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest_subprocess(*LEAN).assert_outcomes(passed=1)
