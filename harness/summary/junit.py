"""JUnit XML of a verdict, for CI systems: one testcase per rule, rung and case (population rules: per rule and rung).

What is required and not PASS is a failure or an error, never `skipped`: a CI system shows a skipped test as green.
Advisory findings pass and say so in system-out. A failure names the step that it is blamed on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from harness.errors import RunError
from harness.gate.verdict import RuleOutcome, Status, Verdict
from harness.ladder.model import Explanation, Finding
from harness.ladder.words import blamed
from harness.summary.blocks import findings_of
from trueline import __version__
from trueline._drafts import replacing
from trueline._text import shown

__all__ = ["JunitCase", "junit_cases", "junit_xml", "write_junit"]

_ERRORS = (Status.CRASHED, Status.NONFINITE)


@dataclass(frozen=True, slots=True)
class JunitCase:
    """One testcase: rule, its name below the rule, what was found."""

    rule: str
    name: str
    status: Status
    reason: str
    required: bool

    @property
    def outcome(self) -> str:
        """`failure` or `error` where the build must not be green, else empty."""
        if self.status is Status.PASS or not self.required:
            return ""
        return "error" if self.status in _ERRORS else "failure"


def junit_cases(
    rule: RuleOutcome, findings: Mapping[tuple[str, str, str], Finding] | None = None
) -> Iterator[JunitCase]:
    """Testcases of one rule; `findings` tells which step a broken limit is blamed on (blocks.findings_of)."""
    for rung in rule.rungs:
        if rule.scope == "each" and rung.cases:
            for case in rung.cases:
                place = f" at {case.worst}" if case.worst is not None and case.status is Status.FAIL else ""
                finding = (findings or {}).get((rule.id, rung.rung, case.case))
                place += f"; {blamed(finding)}" if finding is not None else ""
                name = f"{rung.rung}[{case.case}]"
                yield JunitCase(rule.id, name, case.status, case.reason + place, rule.required)
        else:
            yield JunitCase(rule.id, rung.rung, rung.status, rung.reason, rule.required)
    if not rule.rungs:
        yield JunitCase(rule.id, rule.pattern, rule.status, rule.reason, rule.required)


def junit_xml(verdict: Verdict, timestamp: datetime, explanation: Explanation | None = None) -> str:
    """The XML document."""
    findings = findings_of(explanation)
    cases = [case for rule in verdict.rules for case in junit_cases(rule, findings)]
    name = f"trueline.{verdict.policy['name']}"
    if not any(case.required for case in cases):
        cases.append(JunitCase("verdict", "required rules", Status.NOT_RUN, "no required rule was judged", True))
    outcomes = [case.outcome for case in cases]
    counts = {
        "tests": str(len(cases)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": "0",
        "time": "0",
    }
    root = ET.Element("testsuites", {"name": "trueline", **counts})
    stamp = timestamp.isoformat(timespec="seconds")
    suite = _under(root, "testsuite", {"name": name, **counts, "timestamp": stamp, "hostname": "localhost"})
    properties = _under(suite, "properties", {})
    for key, value in _properties(verdict):
        _under(properties, "property", {"name": key, "value": value})
    for case in cases:
        _add(suite, name, case)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False)


def write_junit(verdict: Verdict, path: Path, explanation: Explanation | None = None) -> None:
    """Write the document to a file.

    Args:
        verdict: what the gate found.
        path: the file.
        explanation: of the same run: failures name the step that they are blamed on.

    Raises:
        RunError: it cannot be written there.
    """
    text = '<?xml version="1.0" encoding="utf-8"?>\n' + junit_xml(verdict, datetime.now(UTC), explanation) + "\n"
    try:
        with replacing(path) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"cannot write JUnit XML: {error.strerror}", where=str(path), remedy="choose a folder that can be written"
        ) from error


def _properties(verdict: Verdict) -> Iterator[tuple[str, str]]:
    meta = verdict.run.get("meta", {})
    if verdict.blind:
        yield "blind", verdict.blind
    yield "verdict", verdict.status.value
    yield "trueline", __version__
    yield "profile", str(verdict.policy.get("profile") or "")
    yield "run", str(verdict.run.get("path", ""))
    yield "digest", str(meta.get("digest", ""))
    for number, remark in enumerate(verdict.remarks):
        yield f"remark.{number}", remark


def _add(suite: ET.Element, name: str, case: JunitCase) -> None:
    attributes = {"classname": f"{name}.{case.rule}", "name": case.name, "time": "0"}
    element = _under(suite, "testcase", attributes)
    text = shown(f"{case.status.value}: {case.reason}")
    if case.outcome:
        _under(element, case.outcome, {"type": case.status.value, "message": text}).text = text
    else:
        _under(element, "system-out", {}).text = text if case.required else f"advisory: {text}"


def _under(parent: ET.Element, tag: str, attributes: Mapping[str, str]) -> ET.Element:
    """A new element; names and reasons come from files and programs of others."""
    return ET.SubElement(parent, tag, {key: shown(value) for key, value in attributes.items()})
