"""A measure is one entry: registering one shows it in tables, gate, explain, report and pytest, nothing else said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cases.synth import synth_cases
from harness.gate import judge
from harness.gate.default import policy_of
from harness.gate.policy import Rule
from harness.ladder import explain
from harness.ladder.words import sentence
from harness.measures.blocks import BandBlock
from harness.model.card import load_card
from harness.plugin.items import told
from harness.replay.replay import replay
from harness.report import write_report
from harness.run.catalogue import Measure, Threshold, registered
from harness.run.folder import Run
from tests.harness.tiny_model import write_tiny


def lean_of(block: BandBlock) -> NDArray[np.float64]:
    """Offset at the far end of a band minus that at its near end, a thousand times: any difference shows."""
    return 1000 * (block.offset[..., -1] - block.offset[..., 0])


@pytest.fixture(scope="module")
def lean() -> Iterator[Measure]:
    entry = Measure(
        "lean", "line_metrics", "lean", "length", "lean to the side", "How far the far end leans over the near end.",
        "Shape of the line", has_band=True, signed=True, has_floor=True, noise="lean",
        threshold=Threshold((0.3, 0.3, 0.3), (1.0, 1.0, 1.0), "w"), compute=f"{__name__}:lean_of",
    )  # fmt: skip
    with registered(entry):
        yield entry


@pytest.fixture(scope="module")
def run(lean: Measure, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("lean")
    card = load_card(write_tiny(folder / "model"))
    cases = synth_cases(3, 1, 1.0, folder / "cases")
    return replay(card, cases, engines=("torch-fp32", "ort-fp32"), out=folder / "run", floor=True)


def test_it_has_a_column_an_event_and_a_floor(run: Run) -> None:
    assert run.read("line_metrics")["lean"].drop_nulls().abs().max() > 0.3
    assert "lean" in run.read("events")["kind"].to_list()
    assert "lean" in run.read("floors")["metric"].to_list()


def test_gate_and_explain_and_pytest_and_report_say_it(run: Run, tmp_path: Path) -> None:
    rule = Rule(id="leaning", metric="lean", rung="deploy/*", statistic="p99", limit="0.3 m", band="near")
    verdict = judge(run, policy_of([rule]))
    outcome = verdict.rule("leaning")
    assert outcome is not None
    assert outcome.status == "FAIL"
    explanation = explain(run, verdict)
    finding = next(f for f in explanation.findings if f.measure == "lean" and f.band == "near")
    assert "leaning" in {b.rule for b in finding.breaches}
    assert "lean to the side" in sentence(finding)
    page = write_report(run, tmp_path / "report.html", verdict=verdict, explanation=explanation).read_text()
    assert "lean to the side" in page
    assert "How far the far end leans over the near end." in page
    rung = outcome.rungs[0]
    assert "p99 lean near, limit 0.3 m" in told(outcome, rung, rung.cases[0], rung.status, "report.html")


def test_the_default_policy_limits_it_and_json_has_it(run: Run) -> None:
    verdict = judge(run)
    assert verdict.rule("lean") is not None
    assert '"measure": "lean"' in json.dumps(explain(run, verdict).to_json())
