from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

import engines
from cases.synth import synth_cases
from engines.errors import EngineCrashed, EngineInputError
from engines.export import export_model
from engines.protocol import CaseContext, Engine, ModelSource, Tensors
from harness.errors import RunError, UsageError
from harness.gate import Status, judge
from harness.gate.default import policy_of
from harness.gate.policy import Rule
from harness.ladder import explain
from harness.model.card import Card, load_card
from harness.replay.batches import RowCheck, batched, rows_of, stacked
from harness.replay.hooks import Hooks
from harness.replay.replay import replay
from harness.run.folder import Run
from tests.harness.tiny_model import CARD, write_tiny

FRAMES = 12
ENGINES = ("torch-fp32", "ort-fp32")


@dataclass
class Spy:
    """An engine that notes how many rows it got, and whose outputs a test may change."""

    inner: Engine
    rows: list[int]
    change: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        count = len(next(iter(inputs.values())))
        self.rows.append(count)
        outputs = self.inner.infer(inputs)
        return self.change(count, outputs) if self.change else outputs


def spied(rows: list[int], change: Any = None) -> Hooks:
    def open_engine(name: str, source: ModelSource) -> Engine:
        engine = engines.open(name, source)
        return Spy(engine, rows, change) if name == "ort-fp32" else engine  # type: ignore[return-value]  # structural

    return Hooks(open_engine=open_engine)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return load_card(write_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synth_cases(1, 2, 0.6, tmp_path_factory.mktemp("cases"))


def run_of(card: Card, cases: list[Path], out: Path, **more: Any) -> Run:
    options: dict[str, Any] = {"engines": ENGINES, "preprocess": ["deploy"], "cache": card.root / "cache"}
    return replay(card, cases, out=out, **(options | more))


@pytest.fixture(scope="module")
def single(tiny: Card, cases: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_of(tiny, cases, tmp_path_factory.mktemp("single"))


def test_a_batched_replay_has_the_tables_of_an_unbatched_one(
    tiny: Card, cases: list[Path], single: Run, tmp_path: Path
) -> None:
    rows: list[int] = []
    run = run_of(tiny, cases, tmp_path / "run", batch=5, hooks=spied(rows))
    assert rows == [1] * 5 + [5, 5, 3] + [5, 5, 2] * 2  # the check of rows, then two cases of twelve frames
    checks = {check["engine"]: RowCheck(**check) for check in run.meta["batch"]["rows"]}
    assert set(checks) == set(ENGINES)
    largest = max(check.max_abs for check in checks.values())
    assert largest < 1e-4
    for name in ("lines", "frame_metrics", "tensor_metrics", "events"):
        one, other = single.read(name), run.read(name)
        assert one.select(pl.col("case", "rung")).equals(other.select(pl.col("case", "rung"))), name
    one, other = (np.concatenate(r.read("lines")["y"].to_numpy()) for r in (single, run))
    assert np.abs(one - other).max() <= 10 * largest
    assert single.read("latency")["frames"].equals(run.read("latency")["frames"])


def test_chunks_are_whole_batches(tiny: Card, cases: list[Path], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("harness.replay.case_loop.CHUNK_FRAMES", 8)
    rows: list[int] = []
    run_of(tiny, cases[:1], tmp_path / "run", batch=5, hooks=spied(rows))
    assert rows[8:] == [5, 5, 2]


def leaking(metres: float) -> Any:
    """Every row of a batch is moved by this much more than the one before."""

    def leak(count: int, outputs: Tensors) -> Tensors:
        lines = outputs["lines"].copy()
        lines[..., 1] += metres * (count > 1) * np.arange(count).reshape(-1, 1, 1).astype(np.float32)
        return outputs | {"lines": lines}

    return leak


def test_rows_that_leak_into_each_other_are_told_and_are_a_finding(
    tiny: Card, cases: list[Path], tmp_path: Path
) -> None:
    run = run_of(tiny, cases, tmp_path / "run", batch=4, hooks=spied([], leaking(0.25)))
    (said,) = (w["text"] for w in run.meta["warnings"] if w["kind"] == "batch-rows")
    assert said.startswith("ort-fp32: a row of a batch is not what the frame gives alone: lines")
    assert "lines move by 0.75 m" in said
    check = next(c for c in run.meta["batch"]["rows"] if c["engine"] == "ort-fp32")
    assert check["max_abs"] == pytest.approx(0.75, abs=1e-3)
    (finding,) = (f for f in explain(run).findings if f.measure == "batch_rows")
    assert (finding.case, finding.first) == ("synth_00001", "deploy/ort-fp32")
    assert (finding.unit, finding.note) == ("m", "the step changes graph-optimisation and export at once")
    assert finding.value == pytest.approx(0.75, abs=1e-3)
    assert finding.frame in (0, 3)  # moved three times as far, in one order or the other
    verdict = judge(run)
    assert verdict.status is Status.FAIL
    assert verdict.rule("batch_rows").status is Status.FAIL  # type: ignore[union-attr]  # the default has the rule


def test_no_rule_passes_on_rows_that_are_farther_off_than_its_limit(
    tiny: Card, cases: list[Path], tmp_path: Path
) -> None:
    def open_engine(name: str, source: ModelSource) -> Engine:
        return Spy(engines.open(name, source), [], leaking(0.02))  # type: ignore[return-value]  # structural

    run = run_of(tiny, cases[:1], tmp_path / "run", batch=4, hooks=Hooks(open_engine=open_engine))
    for limit, status in (("0.05 m", Status.INCONCLUSIVE), ("0.07 m", Status.PASS)):
        asked = {"id": "r", "metric": "offset_mean", "statistic": "max", "limit": limit, "rung": "deploy/ort-fp32"}
        rule = judge(run, policy_of([Rule(**asked)])).rule("r")
        assert rule is not None
        assert rule.status is status
        assert ("of a batch of" in rule.reason and "are 0.06 m off the frames alone" in rule.reason) == (
            status is Status.INCONCLUSIVE
        )


def test_rows_drown_limits_on_angles_and_on_what_worsened_too(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    """Rows turned by 0.005 m a metre, 0.29 degrees."""

    def turn(count: int, outputs: Tensors) -> Tensors:
        lines = outputs["lines"].copy()
        lines[..., 1] += 0.005 * (count > 1) * (np.arange(count).reshape(-1, 1, 1) > 0) * lines[..., 0]
        return outputs | {"lines": lines}

    def open_engine(name: str, source: ModelSource) -> Engine:
        return Spy(engines.open(name, source), [], turn)  # type: ignore[return-value]  # structural

    run = run_of(tiny, cases[:1], tmp_path / "run", batch=4, hooks=Hooks(open_engine=open_engine))
    asked = {"id": "r", "statistic": "max", "rung": "deploy/ort-fp32"}
    for more, limit, status in (
        ({"metric": "heading"}, "0.2 deg", Status.INCONCLUSIVE),
        ({"metric": "heading"}, "0.4 deg", Status.PASS),
        ({"metric": "offset_mean", "band": "near", "compare": "baseline"}, "0.03 m", Status.INCONCLUSIVE),
        ({"metric": "offset_mean", "band": "near", "compare": "baseline"}, "0.11 m", Status.PASS),
    ):
        rule = judge(run, policy_of([Rule(**asked, **more, limit=limit)]), baseline=run).rule("r")
        assert rule is not None
        assert rule.status is status, (more, limit, rule.reason)


def test_rows_with_other_lines_are_a_finding(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    def drop(count: int, outputs: Tensors) -> Tensors:
        scores = outputs["scores"].copy()
        scores[1:, 2] = 0
        return outputs | {"scores": scores}

    run = run_of(tiny, cases[:1], tmp_path / "run", batch=4, hooks=spied([], drop))
    (finding,) = (f for f in explain(run).findings if f.measure == "batch_lines")
    assert (finding.value, finding.unit, finding.first) == (4.0, "frames", "deploy/ort-fp32")
    assert judge(run).rule("batch_lines").status is Status.FAIL  # type: ignore[union-attr]  # the default has the rule


@pytest.mark.parametrize(("metres", "told"), [(0.0, False), (6e-8, False), (0.0002, False), (0.02, True)])
def test_rows_that_differ_by_less_than_a_finding_are_none(
    tiny: Card, cases: list[Path], tmp_path: Path, metres: float, told: bool
) -> None:
    run = run_of(tiny, cases[:1], tmp_path / "run", batch=4, hooks=spied([], leaking(metres)))
    assert any(w["kind"] == "batch-rows" for w in run.meta["warnings"]) == told
    assert not [f for f in explain(run).findings if f.measure.startswith("batch")]
    assert judge(run).rule("batch_rows").status is Status.PASS  # type: ignore[union-attr]  # the default has the rule


def test_another_batch_is_another_run(tiny: Card, cases: list[Path], single: Run) -> None:
    with pytest.raises(RunError, match="different: batch"):
        run_of(tiny, cases, single.path, batch=2)


def test_a_replay_killed_in_the_middle_resumes_with_its_batch(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def die_in_the_second_case(case: str, done: int, total: int) -> None:
        if case.endswith("2"):
            raise Killed

    with pytest.raises(Killed):
        run_of(tiny, cases, tmp_path / "run", batch=5, progress=die_in_the_second_case)
    with pytest.raises(RunError, match="different: batch"):
        run_of(tiny, cases, tmp_path / "run", batch=4)
    resumed = run_of(tiny, cases, tmp_path / "run", batch=5)
    whole = run_of(tiny, cases, tmp_path / "whole", batch=5)
    for name in ("lines", "line_metrics", "tensor_metrics", "series_metrics"):
        assert resumed.read(name).equals(whole.read(name)), name


def test_a_crash_costs_the_frames_of_its_batch_and_all_after(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    calls: list[int] = []

    def crash(count: int, outputs: Tensors) -> Tensors:
        if len(calls) == 4 + 3 + 2:  # the second batch after the check of rows
            raise EngineCrashed("out of memory", where="ort-fp32", remedy="none")
        return outputs

    run = run_of(tiny, cases[:1], tmp_path / "run", batch=4, hooks=spied(calls, crash))
    (status,) = (r for r in run.rungs if r["name"] == "deploy/ort-fp32")
    assert (status["status"], status["reason"]) == ("crashed", "case synth_00001, frames 4 to 7: out of memory")
    frames = run.read("frame_metrics").filter(rung="deploy/ort-fp32", reference=run.reference)
    assert frames["frame"].to_list() == [0, 1, 2, 3]


def test_a_floor_is_measured_on_batches_too(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    run = run_of(tiny, cases[:1], tmp_path / "run", batch=5, floor=True, steps=False)
    said = {(p["rung"], p["probe"]): p["status"] for p in run.meta["probes"]}
    assert said["deploy/ort-fp32", "batch-row"] == "ok"
    floors = run.read("floors")
    assert floors.filter(probe="repeat")["value"].max() == 0
    assert 0 <= floors.filter(probe="batch-row", metric="max_abs")["value"].max() < 1e-4  # type: ignore[operator]  # a number


def test_a_recurrent_model_takes_its_frames_one_by_one(tmp_path: Path) -> None:
    text = CARD.replace(
        'source = "camera.front"}', 'source = "camera.front"}, {name = "h", shape = [1], source = "state"}'
    )
    text = text.replace('{name = "scores"}]', '{name = "scores"}, {name = "g"}]') + '[state]\ng = "h"\n'
    (tmp_path / "model.toml").write_text(text)
    with pytest.raises(UsageError, match="recurrent model takes its frames one by one") as caught:
        batched(load_card(tmp_path), 4)
    assert "--batch 4" in caught.value.where


def test_a_file_with_a_fixed_batch_is_refused_by_name(tiny: Card, tmp_path: Path) -> None:
    fixed = export_model(tiny.source(tiny.root / "cache"), tmp_path / "fixed.onnx")
    part = '[onnx]\nfile = "{}"\n'
    start, stop = CARD.index("[torch]"), CARD.index("[decoder]")
    for name, path in (
        ("fixed", fixed),
        ("open", export_model(batched(tiny, 2).source(tiny.root / "cache"), tmp_path / "open.onnx")),
    ):
        (tmp_path / f"{name}.toml").write_text(CARD[:start] + part.format(path.name) + CARD[stop:])
    with pytest.raises(UsageError, match="input 'image' has a fixed batch of 1") as caught:
        batched(load_card(tmp_path / "fixed.toml"), 4)
    assert "fixed.onnx" in caught.value.where
    assert "dynamic batch dimension" in caught.value.remedy
    assert batched(load_card(tmp_path / "open.toml"), 4).inputs[0].shape == ("batch", 3, 36, 64)


def test_an_input_without_a_row_for_each_frame_is_refused(tiny: Card) -> None:
    wide = tiny.model_copy(update={"inputs": (tiny.inputs[0].model_copy(update={"shape": (2, 3, 36, 64)}),)})
    with pytest.raises(UsageError, match="no batch dimension"):
        batched(wide, 4)
    assert batched(wide, 1) is wide


def test_outputs_without_a_row_for_each_frame_are_refused(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    def merge(count: int, outputs: Tensors) -> Tensors:
        return {name: values[:1] for name, values in outputs.items()}

    run = run_of(tiny, cases[:1], tmp_path / "run", batch=4, hooks=spied([], merge))
    assert "ort-fp32 is [1, 4, 33, 2] for a batch of 4" in _not_run(run, "ort-fp32")


def test_an_engine_that_cannot_run_a_batch_is_not_run(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    def one_only(count: int, outputs: Tensors) -> Tensors:
        if count > 1:
            raise EngineInputError("one row at a time", where="here", remedy="none")
        return outputs

    run = run_of(tiny, cases[:1], tmp_path / "run", batch=4, hooks=spied([], one_only))
    assert "ort-fp32 cannot run a batch of 4: one row at a time" in _not_run(run, "ort-fp32")


def test_a_reference_that_cannot_run_a_batch_ends_the_replay(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    def open_engine(name: str, source: ModelSource) -> Engine:
        engine = engines.open(name, source)
        return Spy(engine, [], one_only) if name == "torch-fp32" else engine  # type: ignore[return-value]  # structural

    def one_only(count: int, outputs: Tensors) -> Tensors:
        if count > 1:
            raise EngineInputError("one row at a time", where="here", remedy="none")
        return outputs

    with pytest.raises(UsageError, match="torch-fp32 cannot run a batch of 4: one row at a time"):
        run_of(tiny, cases[:1], tmp_path / "run", batch=4, hooks=Hooks(open_engine=open_engine))


def _not_run(run: Run, engine: str) -> str:
    """Why no rung of an engine was run, while all the others were."""
    status = {r["name"]: r["status"] for r in run.rungs}
    assert {name.endswith(f"/{engine}"): s for name, s in status.items()} == {True: "not_run", False: "ok"}
    (reason,) = {r["reason"] for r in run.rungs if r["engine"] == engine}
    return str(reason)


def test_an_engine_that_depends_on_time_gets_its_frames_one_by_one(
    tiny: Card, cases: list[Path], tmp_path: Path
) -> None:
    rows: list[int] = []
    seen: list[int] = []

    class Timed(Spy):
        uses_time = True

        def seek(self, timestamp_ns: int) -> None:
            seen.append(timestamp_ns)

        def start_case(self, context: CaseContext) -> None:
            pass

    def open_engine(name: str, source: ModelSource) -> Engine:
        engine = engines.open(name, source)
        return Timed(engine, rows) if name == "ort-fp32" else engine  # type: ignore[return-value]  # structural

    run = run_of(tiny, cases[:1], tmp_path / "run", batch=5, hooks=Hooks(open_engine=open_engine))
    assert rows == [1] * FRAMES
    assert len(set(seen)) == FRAMES
    assert [c["engine"] for c in run.meta["batch"]["rows"]] == ["torch-fp32"]


def test_rows_come_apart_as_they_went_together() -> None:
    frames = [{"x": np.full((1, 2), k), "k": np.array([k])} for k in range(3)]
    assert rows_of(stacked(frames), 3, "e")[1]["x"].tolist() == [[1, 1]]
    with pytest.raises(UsageError):
        rows_of({"y": np.array(1.0)}, 3, "e")
