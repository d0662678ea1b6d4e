from __future__ import annotations

import io
import itertools
import json
import math
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import RunError
from harness.gate import Verdict, judge, load_policy, render, write_junit, write_verdict
from harness.gate.junit import junit_xml
from harness.gate.verdict import Status, worst_of
from tests.harness.gate.gate_runs import (
    ROOT,
    RUNG,
    FakeRun,
    add_floor,
    judged,
    make_run,
    policy_file,
    population_text,
    rule_text,
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


def mixed() -> FakeRun:
    """One rung per status but INCONCLUSIVE."""
    names = ("pass", "fail", "not-run", "crashed", "nonfinite")
    run = make_run({"a": [0.1]}, rungs=[f"deploy/{n}" for n in names])
    next(r for r in run.rows["line_metrics"] if r["rung"] == "deploy/fail")["bend"] = 0.4
    run.rung("deploy/not-run").update(status="not_run", reason="no driver")
    run.rung("deploy/crashed").update(status="crashed", reason="case a, frame 3: bad alloc")
    next(r for r in run.rows["frame_metrics"] if r["rung"] == "deploy/nonfinite")["nonfinite"] = 2
    return run


def rules(*names: str, required: bool = True) -> str:
    text = "".join(
        rule_text(id=n, metric="kink", limit="3 deg", rung=f"deploy/{n}", required=required)
        for n in names
        if n != "inc"
    )
    if "inc" in names:
        text += population_text(id="inc", metric="kink", limit="3 deg", rung="deploy/pass", required=required)
    return text


def verdict_of(folder: Path, text: str) -> Verdict:
    run = mixed()
    for row in run.rows["line_metrics"]:
        row["kink"] = (row["bend"] or 0) / 4
    return judge(run, load_policy(policy_file(folder, text, guards=False)))


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
    assert told == verdict.to_json()
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


@pytest.mark.parametrize("write", [write_verdict, write_junit])
def test_a_verdict_that_cannot_be_written_says_where(tmp_path: Path, write: object) -> None:
    verdict = verdict_of(tmp_path, rules("pass"))
    with pytest.raises(RunError) as caught:
        write(verdict, tmp_path / "none" / "file")  # type: ignore[operator]  # either function
    assert caught.value.where == str(tmp_path / "none" / "file")


def junit(verdict: Verdict) -> ET.Element:
    return ET.fromstring(junit_xml(verdict, datetime(2026, 1, 2, tzinfo=UTC)))


def test_junit_marks_what_is_required_and_never_skips(tmp_path: Path) -> None:
    every = ("pass", "inc", "not-run", "fail", "nonfinite", "crashed")
    suite = junit(verdict_of(tmp_path, rules(*every)))[0]
    outcome = {c.get("classname", "").rpartition(".")[2]: [e.tag for e in c] for c in suite.iter("testcase")}
    assert outcome == {
        "pass": ["system-out"],
        "inc": ["failure"],
        "not-run": ["failure"],
        "fail": ["failure"],
        "nonfinite": ["error"],
        "crashed": ["error"],
    }
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "3",
        "errors": "2",
        "skipped": "0",
    }


def test_junit_tells_advice_without_failing(tmp_path: Path) -> None:
    suite = junit(verdict_of(tmp_path, rules("pass") + rules("fail", required=False)))[0]
    assert suite.get("failures") == "0"
    told = [str(e.text) for e in suite.iter("system-out")]
    assert [t for t in told if t.startswith("advisory")] == [
        "advisory: FAIL: 5.73 deg > 3 deg at frame 0, track 0, band near"
    ]


def test_junit_of_advice_alone_is_not_green(tmp_path: Path) -> None:
    assert junit(verdict_of(tmp_path, rules("pass", required=False))).get("failures") == "1"


def test_junit_has_one_testcase_per_case_and_one_per_population(tmp_path: Path) -> None:
    run = make_run({"a": [0.1], "b": [0.1]})
    root = junit(judged(tmp_path, run, rule_text() + population_text(id="all")))
    names = [(c.get("classname"), c.get("name")) for c in root.iter("testcase")]
    assert names[:3] == [
        ("trueline.toy.bend", f"{RUNG}[a]"),
        ("trueline.toy.bend", f"{RUNG}[b]"),
        ("trueline.toy.all", RUNG),
    ]


def test_junit_survives_characters_that_xml_cannot_hold(tmp_path: Path) -> None:
    run = make_run({"a": [0.1]})
    run.rung(RUNG).update(status="crashed", reason="\x1b[31mSegmentation fault\x00 <&>")
    root = junit(judged(tmp_path, run, rule_text()))
    assert "?[31mSegmentation fault? <&>" in str(root.find(".//error").get("message"))  # type: ignore[union-attr]  # it is there


def shape(root: ET.Element) -> dict[str, tuple[set[str], set[str]]]:
    """Attributes and children of every kind of element."""
    shapes: dict[str, tuple[set[str], set[str]]] = {}
    for element in root.iter():
        attributes, children = shapes.setdefault(element.tag, (set(), set()))
        attributes |= set(element.attrib)
        children |= {child.tag for child in element}
    return shapes


SAMPLE = """
import pytest
def test_pass(): print("told")
def test_fail(): assert False
@pytest.fixture
def broken(): raise RuntimeError
def test_error(broken): pass
@pytest.fixture(scope="session", autouse=True)
def facts(record_testsuite_property): record_testsuite_property("key", "value")
"""


def test_junit_has_the_structure_that_pytest_writes(pytester: pytest.Pytester, tmp_path: Path) -> None:
    """CI systems read what pytest writes; ours adds nothing but the type of a failure, as their schema has it."""
    pytester.makepyfile(SAMPLE)
    pytester.runpytest_inprocess("--junitxml=theirs.xml", "-o", "junit_logging=system-out", "-p", "no:cacheprovider")
    theirs = shape(ET.parse(pytester.path / "theirs.xml").getroot())
    every = ("pass", "inc", "not-run", "fail", "nonfinite", "crashed")
    write_junit(verdict_of(tmp_path, rules(*every)), tmp_path / "ours.xml")
    totals = {"tests", "failures", "errors", "skipped", "time"}
    for tag, (attributes, children) in shape(ET.parse(tmp_path / "ours.xml").getroot()).items():
        extra = {"failure": {"type"}, "error": {"type"}, "testsuites": totals}.get(tag, set())
        assert attributes <= theirs[tag][0] | extra, tag
        assert children <= theirs[tag][1], tag
        if tag in ("testsuite", "testcase"):
            assert attributes == theirs[tag][0], tag


def rendered(verdict: Verdict) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    render(verdict, console)
    return console.export_text()


def test_the_table_shows_every_rule_and_the_verdict_last(tmp_path: Path) -> None:
    every = ("pass", "inc", "not-run", "fail", "nonfinite", "crashed")
    text = rendered(verdict_of(tmp_path, rules(*every[:3]) + rules(*every[3:], required=False)))
    for name in every:
        assert f"│ {name}" in text
    assert "fail (advisory)" in text
    assert text.rstrip().splitlines()[-1] == "NOT_RUN toy: 1 of 3 required rules pass, 3 advisory findings"


def test_the_table_shows_brackets_as_they_are(tmp_path: Path) -> None:
    run = make_run({"a": [0.4]})
    run.rung(RUNG)["provenance"] = {"onnxruntime": "1.31", "flags": ["x"], "model_sha256": "0123456789abcdef"}
    text = rendered(judged(tmp_path, run, rule_text(note="see [bold]docs[/bold]")))
    assert "[see [bold]docs[/bold]]" in text
    assert f"{RUNG}: onnxruntime 1.31, model_sha256 0123456789ab\n" in text


def test_rules_left_out_are_told(tmp_path: Path) -> None:
    text = '[profile.a]\nengines = ["ort-fp32"]\n[profile.b]\nengines = ["trt-fp16"]\n'
    text += rule_text() + rule_text(id="car", rung="deploy/trt-*")
    shown = rendered(judged(tmp_path, make_run({"a": [0.1]}), text, profile="a"))
    assert "left out: car: the profile expects" in shown
    assert "profile a" in shown
