"""The plugin with nothing replaced: rendered clips, a network of four lines, two engines, a report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cases.synth import write_synth_case
from tests.harness.tiny_model import write_tiny

POLICY = """
card = "tiny.toml"
cases = "cases"

[profile.cpu]
engines = ["torch-fp32", "ort-fp32"]
preprocess = "deploy"

[[rules]]
id = "engine"
metric = "offset_max"
rung = "deploy/ort-fp32"
reference = "parent"
statistic = "max"
limit = "1 mm"
note = "export and optimisation change nothing"

[[rules]]
id = "preprocess"
metric = "offset_max"
rung = "deploy/torch-fp32"
statistic = "max"
limit = "0.1 mm"

[[rules]]
id = "latency"
metric = "p99_ms"
rung = "*"
statistic = "max"
limit = "0 ms"
required = false
"""

BY_HAND = """
import numpy as np

def test_an_engine(trueline_engine):
    engine = trueline_engine("ort-fp32", "tiny.toml")
    assert engine.infer({"image": np.zeros((1, 3, 36, 64), np.float32)})["lines"].shape == (1, 4, 33, 2)
"""


@pytest.mark.slow
def test_a_policy_is_replayed_judged_and_reported(pytester: pytest.Pytester) -> None:
    write_tiny(pytester.path)
    write_synth_case(1, 0.4, pytester.path / "cases")
    (pytester.path / "tiny.trueline.toml").write_text(POLICY)
    pytester.makepyfile(BY_HAND)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=4, failed=1)
    out = pytester.path / ".trueline" / "pytest" / "tiny"
    result.stdout.fnmatch_lines(
        [
            "FAIL preprocess: deploy/torch-fp32, case synth_00001",
            "  inputs:  the deploy pipeline's tensor *",
            "  worst: * mm at frame *, track *, band *",
            f"  report:  {out / 'report.html'}",
            "advisory: tiny.trueline.toml::latency*",
            "tiny: FAIL, profile cpu, *",
            "  deploy/ort-fp32: engine ort-fp32, onnxruntime *",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "<html" in report
    assert "export and optimisation change nothing" in report
    plugin, command = json.loads((out / "verdict.json").read_text()), verdict_of_the_command_line(pytester.path)
    for key in ("verdict", "exit_code", "rules", "left_out", "floors"):
        assert command[key] == plugin[key], key


def verdict_of_the_command_line(folder: Path) -> dict[str, Any]:
    """What `trueline gate` finds in the run that the plugin replayed."""
    (run,) = (p for p in (folder / ".trueline" / "pytest").glob("run-tiny-*") if p.is_dir())
    arguments = ["gate", str(run), "--policy", "tiny.trueline.toml", "--json"]
    code = f"from harness.cli import main; main({arguments!r})"
    told = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert told.returncode == 1, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found
