from __future__ import annotations

import io
import json
import re
import shlex
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from pydantic import ValidationError
from rich.console import Console

from harness.errors import RunError
from harness.gate import Verdict, write_verdict
from harness.ladder import Explanation, explain
from harness.run.folder import Run
from harness.summary import blocks_of, github_annotations, markdown, render, write_junit, write_markdown
from harness.summary.again import again
from harness.summary.junit import junit_xml
from harness.summary.schema import VerdictFile, verdict_schema
from tests.harness.gate.gate_runs import (
    ROOT,
    RUNG,
    FakeRun,
    judged,
    make_run,
    population_text,
    rule_text,
    rules,
    verdict_of,
)


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
    assert "\\x1b[31mSegmentation fault\\x00 <&>" in str(root.find(".//error").get("message"))  # type: ignore[union-attr]  # it is there


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


def rendered(verdict: Verdict, width: int = 200) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    render(verdict, console=console)
    return console.export_text()


def test_the_table_shows_every_rule_and_the_verdict_last(tmp_path: Path) -> None:
    every = ("pass", "inc", "not-run", "fail", "nonfinite", "crashed")
    text = rendered(verdict_of(tmp_path, rules(*every[:3]) + rules(*every[3:], required=False)))
    for name in every:
        assert f"│ {name}" in text
    assert "fail (advisory)" in text
    assert text.rstrip().splitlines()[-1] == "NOT_RUN toy: 1 of 3 required rules pass, 3 advisory findings"


def test_a_narrow_terminal_gets_one_line_a_rule_what_did_not_pass_first(tmp_path: Path) -> None:
    names = ("pass", "fail", "not-run")
    lines = rendered(verdict_of(tmp_path, rules(*names)), width=80).splitlines()
    heads = [line for line in lines if re.match(r"(PASS|FAIL|NOT_RUN) +\S+: ", line)]
    assert [line.split()[0] for line in heads][-4:-1] == ["FAIL", "NOT_RUN", "PASS"]  # then the verdict
    assert not any("┃" in line for line in lines)


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


@pytest.mark.parametrize("write", [write_junit, write_markdown])
def test_a_file_that_cannot_be_written_says_where(tmp_path: Path, write: object) -> None:
    with pytest.raises(RunError) as caught:
        write(verdict_of(tmp_path, rules("pass")), tmp_path / "none" / "file")  # type: ignore[operator]  # either function
    assert caught.value.where == str(tmp_path / "none" / "file")


def explained(folder: Path, run: FakeRun, text: str) -> tuple[Verdict, Explanation]:
    """A verdict and its explanation; the fake run has no events."""
    verdict = judged(folder, run, text)
    return verdict, explain(cast(Run, run), verdict)


def two_faults() -> FakeRun:
    """Three rungs; a bow from the first on in two cases, a missing line on the last in one."""
    rungs = ("deploy/torch-fp32", "deploy/ort-fp32", "deploy/emulated-fp16")
    run = make_run({"a": [0.3, 0.4], "b": [0.2, 0.2]}, rungs=rungs)
    for rung, parent, factor in zip(rungs, (ROOT, *rungs), ("preprocess", "export", "precision:fp16"), strict=False):
        run.rung(rung).update(parent=parent, factors=[factor])
    for row in run.rows["frame_metrics"]:
        if (row["rung"], row["case"]) == (rungs[-1], "a"):
            row["missing"] = 7
    return run


def test_one_cause_is_one_block_whatever_it_breaks(tmp_path: Path) -> None:
    verdict, explanation = explained(tmp_path, two_faults(), rule_text() + rule_text(id="mean", statistic="mean"))
    bow, lost = blocks_of(verdict, explanation)
    assert (bow.cause, bow.first, bow.stage) == ("preprocessing", "deploy/torch-fp32", "preprocess")
    assert (bow.rules, len(bow.rungs), bow.cases, bow.count) == (("bend", "mean"), 3, ("a", "b"), 12)
    assert bow.frames["a"] == (0, 1)
    assert (lost.first, lost.rules, lost.rungs) == ("deploy/emulated-fp16", ("missing",), ("deploy/emulated-fp16",))
    assert "0.400 m" in bow.worst


def test_without_an_explanation_a_block_is_a_rule(tmp_path: Path) -> None:
    verdict = judged(tmp_path, two_faults(), rule_text())
    assert [b.rules for b in blocks_of(verdict)] == [("bend",), ("missing",)]


def test_a_crash_is_one_block_for_all_rules(tmp_path: Path) -> None:
    run = make_run({"a": [0.1], "b": [0.1]})
    run.rung(RUNG).update(status="crashed", reason="case a, frame 3: bad alloc")
    (block,) = blocks_of(judged(tmp_path, run, rule_text() + rule_text(id="kink", metric="kink", limit="3 deg")))
    assert block.status.value == "CRASHED"
    assert set(block.rules) == {"bend", "kink", "missing", "extra", "coverage"}
    assert "bad alloc" in block.cause


def test_crashes_of_rungs_are_one_block_that_says_where_the_first_began(tmp_path: Path) -> None:
    run = make_run({"a": [0.1], "b": [0.1]}, rungs=["deploy/ort-fp32-none", RUNG])
    run.rung("deploy/ort-fp32-none").update(status="crashed", reason="no kernel")
    run.rung(RUNG).update(status="crashed", reason="bad alloc", parent="deploy/ort-fp32-none")
    (block,) = blocks_of(*explained(tmp_path, run, rule_text()))
    assert block.first == "deploy/ort-fp32-none"
    assert set(block.rungs) == {"deploy/ort-fp32-none", RUNG}
    assert block.headline.startswith("CRASHED deploy/ort-fp32-none crashed: no kernel; begins at deploy/ort-fp32-none")


def test_blindness_comes_first_then_failures_and_the_verdict_last(tmp_path: Path) -> None:
    verdict, explanation = explained(tmp_path, two_faults(), rule_text())
    console = Console(width=120, record=True, file=io.StringIO())
    render(verdict, explanation, console)
    lines = console.export_text().rstrip().splitlines()
    blind = "This verdict cannot tell a network that draws the same lines on every road"
    assert lines[0].startswith(blind)
    first = next(k for k, line in enumerate(lines) if line.startswith("FAIL"))
    assert lines[first].startswith("FAIL preprocessing; begins at deploy/torch-fp32")
    assert first <= 2
    assert markdown(verdict, explanation).startswith(f"**{blind}")
    assert blind in next(iter(github_annotations(verdict, explanation)))
    assert lines[-1].startswith("FAIL toy: ")


def test_what_nobody_judged_is_in_every_output(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, rules("pass"))
    write_junit(verdict, tmp_path / "ours.xml")
    told = (
        rendered(verdict),
        markdown(verdict),
        "\n".join(github_annotations(verdict)),
        (tmp_path / "ours.xml").read_text(),
    )
    for text in told:
        assert "bad alloc" in text


HOSTILE = "x](http://a) | `b` <script> ::error::c %0A \x1b[31m\n# d"


def test_what_others_wrote_is_text_in_markdown(tmp_path: Path) -> None:
    run = make_run({"a": [0.1]})
    run.rung(RUNG).update(status="crashed", reason=HOSTILE)
    text = markdown(judged(tmp_path, run, rule_text()))
    assert "<script" not in text
    assert "\x1b" not in text
    assert not re.search(r"(?<!\\)\]\(", text)
    assert not any(line.startswith("# d") for line in text.splitlines())


def test_what_others_wrote_starts_no_workflow_command(tmp_path: Path) -> None:
    run = make_run({"a": [0.1]})
    run.rung(RUNG).update(status="crashed", reason=HOSTILE)
    lines = list(github_annotations(judged(tmp_path, run, rule_text())))
    assert all(line.startswith(("::error ", "::warning ")) and "\n" not in line for line in lines)
    assert not any("%0A" in line for line in lines)  # a percent sign of the text is %25


def test_a_block_says_how_to_replay_its_frames(tmp_path: Path) -> None:
    run = two_faults()
    run.meta["card"]["path"] = "/my models/model.toml"
    for case in run.meta["cases"]:
        case["path"] = f"/cases/{case['id']}"
    verdict, explanation = explained(tmp_path, run, rule_text())
    words = shlex.split(again(blocks_of(verdict, explanation)[0], run.meta))
    assert words[:3] == ["trueline", "replay", "/my models/model.toml"]
    assert "a:0-1" in words
    assert words[words.index("--engines") + 1] == "emulated-fp16,ort-fp32,torch-fp32"


def test_verdict_json_is_what_its_published_schema_says(tmp_path: Path) -> None:
    run = make_run({f"c{i}": [0.1, None] for i in range(3)}, rungs=[RUNG, "deploy/lost"])
    run.rung("deploy/lost").update(status="crashed", reason="bad alloc")
    text = '[profile.a]\nengines = ["ort-fp32"]\n[profile.b]\nengines = ["trt-fp16"]\n'
    text += rule_text() + rule_text(id="car", rung="deploy/trt-*") + population_text(id="all", min_cases=2)
    text += rule_text(id="same", compare="baseline", statistic="p95", limit="1 cm")
    write_verdict(judged(tmp_path, run, text, profile="a", baseline=run), tmp_path / "verdict.json")
    verdict = json.loads((tmp_path / "verdict.json").read_text(encoding="utf-8"))
    VerdictFile.model_validate(verdict)
    unknown = verdict | {"more": 1}
    with pytest.raises(ValidationError):
        VerdictFile.model_validate(unknown)


def test_the_published_schema_is_of_today() -> None:
    path = Path(__file__).parents[3] / "docs" / "verdict.schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == verdict_schema(), "python -m harness.summary.schema"


def test_a_case_that_is_wrong_as_a_whole_is_replayed_beside_frames_of_others(tmp_path: Path) -> None:
    run = two_faults()
    run.meta["card"]["path"] = "model.toml"
    for case in run.meta["cases"]:
        case["path"] = f"cases/{case['id']}"
    verdict, explanation = explained(tmp_path, run, rule_text())
    block = replace(blocks_of(verdict, explanation)[0], frames={"a": (0, 1), "b": None})
    words = shlex.split(again(block, run.meta))
    assert [words[i + 1] for i, word in enumerate(words) if word == "--only"] == ["a:0-1", "b"]
    whole = shlex.split(again(replace(block, frames={"a": None, "b": None}), run.meta))
    assert "--only" not in whole
