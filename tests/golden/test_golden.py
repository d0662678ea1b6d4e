"""A small run from fixed outputs, held against committed tables, verdict and explanation.

`pytest tests/golden --regenerate-golden` writes the files anew and fails, so that nobody takes new files for a pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from cases.synth import synth_cases
from engines.base import FrameEngine
from engines.protocol import CaseContext, Engine, ModelSource, Tensors
from harness.gate import judge
from harness.ladder import explain
from harness.model.card import load_card
from harness.replay.hooks import Hooks
from harness.replay.replay import replay
from harness.run.folder import Run
from tests.harness.tiny_model import write_tiny

FILES = Path(__file__).parent / "files"
TABLES = ("frame_metrics", "line_metrics", "series_metrics", "events")
DIGITS = 6
ENGINES = ("torch-fp32", "ort-fp32-none", "ort-fp32")
X_M = np.linspace(0, 80, 33)
SLOTS_M = np.array([5.4, 1.8, -1.8, -5.4])


class Fixed(FrameEngine):
    """Outputs by formula: lines that weave, on one engine a bow of 0.5 m far ahead, on the next a line that is lost."""

    def __init__(self, name: str) -> None:
        super().__init__(name, {"engine": name})
        self._frame = -1

    def start_case(self, context: CaseContext) -> None:
        self._frame = -1

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        self._frame += 1
        y = SLOTS_M[:, None] + 0.1 * np.sin(0.9 * self._frame) + 0.0 * X_M
        scores = np.full(4, 0.9)
        if self.name != "torch-fp32" and 2 <= self._frame < 7:
            y[1] += 0.5 * np.clip((X_M - 40) / 20, 0, 1) * np.clip((80 - X_M) / 20, 0, 1)
        if self.name == "ort-fp32" and self._frame in (4, 5):
            scores[3] = 0.1
        lines = np.stack([np.broadcast_to(X_M, y.shape), y], axis=-1)
        return {"lines": lines[None].astype(np.float32), "scores": scores[None].astype(np.float32)}


def fixed(name: str, source: ModelSource) -> Engine:
    return Fixed(name)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("golden")
    card = load_card(write_tiny(folder / "model"))
    cases = synth_cases(1, 1, 0.5, folder / "cases")
    return replay(
        card, cases, engines=ENGINES, preprocess=["train"], out=folder / "run", hooks=Hooks(open_engine=fixed),
        cache=folder / "cache",
    )  # fmt: skip


def rounded(value: Any) -> Any:
    """Numbers in so many digits, so that the last bits of another machine do not count."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if abs(value) > 1e-6 else 0.0
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list | tuple) else value


def table_of(run: Run, name: str) -> str:
    rows = [rounded(row) for row in run.read(name).iter_rows(named=True)]
    return pl.DataFrame(rows, schema=run.read(name).schema).write_csv()


def document(value: Any) -> str:
    text = json.dumps(rounded(value), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    return re.sub(r"\b\d(\.\d+)?e-1\d\b", "0", text)  # rounding, told in a sentence


def told(run: Run, name: str) -> str:
    """What the run is, as the text of one golden file."""
    if name.endswith(".csv"):
        return table_of(run, name.removesuffix(".csv"))
    verdict = judge(run)
    if name == "explanation.json":
        return document(explain(run, verdict).to_json())
    rules = [
        {
            "id": rule.id, "verdict": rule.status.value, "limit": rule.limit, "required": rule.required,
            "rungs": {r.rung: [f"{c.status.value} {c.case}: {c.reason}" for c in r.cases] for r in rule.rungs},
        }
        for rule in verdict.rules
    ]  # fmt: skip
    return document({"verdict": verdict.status.value, "exit_code": verdict.exit_code, "rules": rules})


@pytest.mark.parametrize("name", [*(f"{table}.csv" for table in TABLES), "verdict.json", "explanation.json"])
def test_the_run_is_as_it_was(run: Run, name: str, request: pytest.FixtureRequest) -> None:
    text, file = told(run, name), FILES / name
    if request.config.getoption("--regenerate-golden"):
        FILES.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        pytest.fail(f"{file.name} is written anew: read its difference, then run without --regenerate-golden")
    assert text == file.read_text(encoding="utf-8")


def test_the_golden_run_blames_what_was_made_wrong(run: Run) -> None:
    """The committed files are right, not only the same: the bow begins with the export, the loss with optimisation."""
    stages = {(f.measure, f.first, f.stage) for f in explain(run).findings}
    assert ("missing", "train/ort-fp32", "engine") in stages
    assert ("bend", "train/ort-fp32-none", "export") in stages
    assert {stage for _, first, stage in stages if first == "train/ort-fp32-none"} == {"export"}
