from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cases.schema import CameraMeta
from cases.synth import synth_cases
from cases.writer import CaseWriter
from harness.gate import Status, judge, load_policy
from harness.measures.state import LINE_SIGNALS, StateMeter, growth_in_words
from harness.model.card import load_card
from harness.replay.replay import replay
from harness.run.folder import Run
from tests.harness.gate.gate_runs import make_run
from tests.harness.tiny_model import write_tiny

FRAMES = 120
RUNG = "deploy/ort-fp32"

NETWORK = '''
import torch
from torch import nn


class Recurrent(nn.Module):
    """A random recurrence driven by the picture; four lines shift and bow with two of its numbers.

    A gain below 1 forgets errors, a gain of 3 is chaotic: whatever an engine rounds elsewhere grows to fill the state.
    """

    def __init__(self, gain):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.register_buffer("turn", gain * torch.randn(64, 64, generator=draw) / 8)
        self.register_buffer("drive", torch.randn(8, 64, generator=draw) / 8)

    def forward(self, image, hidden):
        hidden = torch.tanh(hidden @ self.turn + image.reshape(1, 8) @ self.drive)
        x = torch.linspace(0, 80, 33)
        y = torch.tensor([5.4, 1.8, -1.8, -5.4])[:, None] + 0.1 * hidden[0, 0] + 0.1 * hidden[0, 1] * (x / 80) ** 2
        return torch.stack([x.expand_as(y), y], -1)[None], torch.ones(1, 4), hidden
'''

CARD = """
schema = 1
name = "recurrent"
inputs = [
    {name = "image", shape = [1, 1, 2, 4], layout = "NCHW", source = "camera.front"},
    {name = "hidden", shape = [1, 64], source = "state"},
]
outputs = [{name = "lines"}, {name = "scores"}, {name = "hidden_out"}]
[state]
hidden_out = "hidden"
[torch]
factory = "recurrent:Recurrent"
args = {gain = GAIN}
[decoder]
name = "polyline"
"""


def recurrent_run(
    folder: Path, gain: float, *, cases: int = 1, frames: int = FRAMES, truth: pl.DataFrame | None = None
) -> Run:
    model, recordings = folder / "model", folder / "cases"
    model.mkdir(parents=True)
    (model / "recurrent.py").write_text(NETWORK)
    (model / "model.toml").write_text(CARD.replace("GAIN", str(gain)))
    pictures = np.random.default_rng(0).normal(size=(frames, 1, 1, 2, 4)).astype(np.float32)
    for k in range(cases):
        with CaseWriter(recordings, id=f"c{k}", fps=20, lossy=False) as writer:
            camera = writer.add_camera("front", CameraMeta(kind="tensors", pixel_format="tensor"))
            (camera / "tensors").mkdir(exist_ok=True)
            np.save(camera / "tensors" / "t.npy", pictures)
            frame = np.arange(frames)
            times = {"frame": frame, "timestamp_ns": frame * 50_000_000, "camera": "front", "index": frame}
            writer.set_frames(pl.DataFrame(times))
            writer.set_truth(truth)
    options: dict[str, Any] = {"engines": ["ort-fp32"], "cache": folder / "cache"}
    return replay(load_card(model), [recordings], out=folder / "run", **options)


@pytest.fixture(scope="module")
def chaotic(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return recurrent_run(tmp_path_factory.mktemp("chaotic"), 3.0)


@pytest.fixture(scope="module")
def contracting(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return recurrent_run(tmp_path_factory.mktemp("contracting"), 0.5)


def _row(run: Run, signal: str) -> dict[str, Any]:
    return run.read("state_metrics").row(
        by_predicate=(pl.col("rung") == RUNG) & (pl.col("signal") == signal), named=True
    )


def test_rounding_that_a_state_amplifies_is_seen_to_double(chaotic: Run) -> None:
    hidden = _row(chaotic, "hidden_out")
    assert hidden["growth"] > 1.5
    assert 0.02 < hidden["doubling_s"] < 0.3
    assert hidden["late"] > 0.5  # of the state itself
    assert hidden["early"] < hidden["late"]
    assert _row(chaotic, "lines.offset")["growth"] > 1.5
    assert (hidden["steps"], hidden["fps"], hidden["reference"]) == (FRAMES, 20.0, chaotic.reference)


def test_rounding_that_a_state_forgets_stays_where_it_is(contracting: Run) -> None:
    for signal in ("hidden_out", *LINE_SIGNALS):
        row = _row(contracting, signal)
        assert abs(row["growth"]) < 0.3, signal
        assert row["doubling_s"] is None
    assert 0 < _row(contracting, "hidden_out")["late"] < 1e-5


def test_the_gate_limits_growth(chaotic: Run, contracting: Run, tmp_path: Path) -> None:
    policy = tmp_path / "p.trueline.toml"
    rule = '[[rules]]\nid = "g"\nmetric = "state.growth"\nrung = "deploy/*"\nstatistic = "max"\nlimit = 0.4\n'
    policy.write_text(rule + 'output = "hidden*"\n')
    assert judge(contracting, load_policy(policy)).status is Status.PASS
    verdict = judge(chaotic, load_policy(policy))
    assert verdict.status is Status.FAIL
    assert "signal hidden_out" in verdict.rules[0].reason
    policy.write_text(rule + 'output = "lines.*"\n')
    assert "signal lines." in judge(chaotic, load_policy(policy)).rules[0].reason


def test_the_fastest_growth_of_each_rung_is_told_in_words(chaotic: Run, contracting: Run) -> None:
    said = growth_in_words(chaotic.read("state_metrics"))
    assert len(said) == len(chaotic.rungs) - 1
    line = next(text for text in said if text.startswith(RUNG))
    assert "state diverges like n^" in line
    assert "doubling every 0." in line
    assert "hidden_out in case c0" in line
    assert all("doubling" not in text for text in growth_in_words(contracting.read("state_metrics")))
    assert growth_in_words(chaotic.read("state_metrics").head(0)) == []


def test_a_model_without_state_has_no_growth(tmp_path: Path) -> None:
    card, cases = load_card(write_tiny(tmp_path / "model")), synth_cases(1, 1, 0.3, tmp_path / "cases")
    options: dict[str, Any] = {"engines": ["ort-fp32"], "preprocess": ["train"], "cache": tmp_path / "cache"}
    run = replay(card, cases, out=tmp_path / "run", **options)
    assert run.read("state_metrics").height == 0
    policy = tmp_path / "p.trueline.toml"
    policy.write_text('[[rules]]\nid = "g"\nmetric = "state.growth"\nrung = "*/ort*"\nstatistic = "max"\nlimit = 0.4\n')
    assert judge(run, load_policy(policy)).status is Status.NOT_RUN


def test_state_starts_afresh_in_every_case(tmp_path: Path) -> None:
    run = recurrent_run(tmp_path, 3.0, cases=2, frames=10)
    lines = run.read("lines").drop("case")
    first, second = (run.read("lines").filter(case=case).drop("case") for case in ("c0", "c1"))
    assert first.equals(second)
    assert lines.height == 2 * first.height
    assert first.filter(rung=RUNG, line=0)["y"].n_unique() == 10  # and it is fed back: every frame differs


def test_chunks_do_not_show_in_growth(tmp_path: Path, chaotic: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.replay.case_loop.CHUNK_FRAMES", 7)
    chunked = recurrent_run(tmp_path, 3.0).read("state_metrics")
    whole = chaotic.read("state_metrics")
    assert chunked.drop("early", "late", "growth", "doubling_s").equals(
        whole.drop("early", "late", "growth", "doubling_s")
    )
    for column in ("early", "late", "growth"):
        assert chunked[column].to_numpy() == pytest.approx(whole[column].to_numpy(), rel=1e-9)


def test_tensors_are_told_in_units_of_the_reference_and_other_outputs_passed_over() -> None:
    meter = StateMeter(["h"])
    reference = np.full((40, 1, 5), 4.0, np.float32)
    step = np.arange(1, 41)
    meter.tensor("h", step, reference, reference + np.float32(0.5))
    meter.tensor("other", step, reference, reference + 9)
    rows = {row["signal"]: row for row in meter.rows(20.0)}
    assert set(rows) == {"h", *LINE_SIGNALS}
    assert rows["h"]["late"] == rows["h"]["early"] == pytest.approx(0.125)
    assert rows["h"]["growth"] == 0
    assert rows["lines.offset"]["steps"] == 0


def test_values_that_are_not_finite_count_for_nothing() -> None:
    meter = StateMeter(["h"])
    reference = np.ones((40, 3))
    candidate = reference + 0.1
    candidate[5, 1] = np.nan
    meter.tensor("h", np.arange(1, 41), reference, candidate)
    row = next(meter.rows(20.0))
    assert (row["steps"], row["late"]) == (39, pytest.approx(0.1))


def test_only_a_model_that_feeds_a_state_back_is_asked_for_resets(tmp_path: Path, contracting: Run) -> None:
    assert judge(contracting).rule("state_reset") is not None
    assert judge(make_run({"a": [0.1] * 30})).rule("state_reset") is None
