from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

import engines
from cases.synth import synth_cases
from engines.errors import EngineCrashed, EngineUnavailable, UnknownEngine
from engines.protocol import Engine, ModelSource, Tensors
from harness.errors import RunError, UsageError
from harness.model.card import Card, load_card
from harness.replay.hooks import Hooks
from harness.replay.replay import replay
from harness.run.folder import Run
from harness.run.tables import SORT_KEYS, TABLES
from tests.harness.tiny_model import write_tiny
from trueline import TruelineError

ENGINES = ("torch-fp32", "ort-fp32")
TIMED = ("latency",)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return load_card(write_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synth_cases(1, 2, 0.6, tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def run(tiny: Card, cases: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return replay(tiny, cases, engines=ENGINES, out=tmp_path_factory.mktemp("run"), cache=tiny.root / "cache")


def _same_tables(one: Run, other: Run) -> bool:
    return all(one.read(name).equals(other.read(name)) for name in TABLES if name not in TIMED)


def test_every_table_has_its_schema_and_order(run: Run) -> None:
    for name, schema in TABLES.items():
        table = run.read(name)
        assert list(table.schema) == list(schema)
        assert table.equals(table.sort(*SORT_KEYS[name], maintain_order=True)), name


def test_an_engine_with_options_of_its_own_may_be_the_reference(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    said = {"reference": "train/ort-fp32:golden", "engines": {"ort-fp32:golden": {"threads": 1}}}
    golden = Card.model_validate(tiny.model_dump(by_alias=True) | said)
    assert golden.reference_rung == "train/ort-fp32:golden"
    found = replay(golden, cases[:1], engines=["ort-fp32"], out=tmp_path / "run", cache=tiny.root / "cache")
    assert found.reference == "train/ort-fp32:golden"
    assert {r["name"] for r in found.rungs if r["status"] == "ok"} >= {"train/ort-fp32:golden", "deploy/ort-fp32"}


def test_every_rung_ran_every_frame(run: Run) -> None:
    frames = run.read("frame_metrics").filter(pl.col("reference") == run.reference)
    assert frames.group_by("case", "rung").len()["len"].to_list() == [12] * 2 * len(run.rungs)
    assert {r["status"] for r in run.rungs} == {"ok"}


def test_every_rung_is_compared_with_the_root_and_its_parent(run: Run) -> None:
    pairs = set(run.read("line_metrics").select("rung", "reference").unique().rows())
    wanted = {(r["name"], ref) for r in run.rungs if r["parent"] for ref in (run.reference, r["parent"])}
    assert pairs == wanted


def test_lines_that_move_are_seen(run: Run) -> None:
    worst = run.read("line_metrics").filter(reference=run.reference).group_by("rung").agg(pl.col("offset_max").max())
    moved = dict(worst.rows())
    assert moved["train/ort-fp32"] < 1e-4
    assert moved["deploy/torch-fp32"] > 1e-4
    assert abs(moved["deploy/ort-fp32"] - moved["deploy/torch-fp32"]) < 1e-4


def test_a_replay_killed_in_the_middle_resumes_to_equal_tables(
    tiny: Card, cases: list[Path], run: Run, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def die_in_the_second_case(case: str, done: int, total: int) -> None:
        if case.endswith("2"):
            raise Killed

    settings: dict[str, Any] = {"engines": ENGINES, "out": tmp_path / "run", "cache": tiny.root / "cache"}
    with pytest.raises(Killed):
        replay(tiny, cases, progress=die_in_the_second_case, **settings)
    with pytest.raises(RunError, match="1 of 2 cases"):
        Run.open(tmp_path / "run")
    seen: list[tuple[str, int, int]] = []
    resumed = replay(tiny, cases, progress=lambda *news: seen.append(news), **settings)
    assert seen == [("synth_00002", frame, 12) for frame in range(1, 13)]
    assert _same_tables(resumed, run)


def test_progress_is_told_after_every_frame_and_is_that_of_all_cases(
    tiny: Card, cases: list[Path], tmp_path: Path
) -> None:
    seen: list[tuple[str, int, int]] = []
    options: dict[str, Any] = {"engines": ["torch-fp32"], "steps": False, "cache": tiny.root / "cache"}
    replay(tiny, cases, out=tmp_path / "run", progress=lambda *news: seen.append(news), **options)
    assert seen == [(f"synth_{1 + frame // 12:05}", frame + 1, 24) for frame in range(24)]


def test_a_finished_run_is_not_run_again(tiny: Card, cases: list[Path], run: Run) -> None:
    before = (run.path / "lines.parquet").stat().st_mtime_ns
    replay(tiny, cases, engines=ENGINES, out=run.path, cache=tiny.root / "cache")
    assert (run.path / "lines.parquet").stat().st_mtime_ns == before


def test_another_plan_does_not_touch_a_run(tiny: Card, cases: list[Path], run: Run) -> None:
    with pytest.raises(RunError, match="different: case synth_00002 is gone"):
        replay(tiny, cases[:1], engines=ENGINES, out=run.path, cache=tiny.root / "cache")


def test_chunks_do_not_show(
    tiny: Card, cases: list[Path], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.replay.case_loop.CHUNK_FRAMES", 5)
    chunked = replay(tiny, cases, engines=ENGINES, out=tmp_path / "run", cache=tiny.root / "cache")
    assert _same_tables(chunked, run)


@dataclass
class Wrapped:
    """An engine whose outputs a test may change."""

    inner: Engine
    change: Any
    calls: int = field(default=0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        self.calls += 1
        return self.change(self.calls, self.inner.infer(inputs))  # type: ignore[no-any-return]  # test's own function


def _hooks(change: Any) -> Hooks:
    def open_engine(name: str, source: ModelSource) -> Engine:
        engine = engines.open(name, source)
        return Wrapped(engine, change) if name == "ort-fp32" else engine  # type: ignore[return-value]  # structural

    return Hooks(open_engine=open_engine)


def test_a_crash_costs_its_rung_and_no_other(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    def crash(call: int, outputs: Tensors) -> Tensors:
        if call == 9:
            raise EngineCrashed("out of memory", where="ort-fp32", remedy="none")
        return outputs

    crashed = replay(
        tiny,
        cases,
        engines=ENGINES,
        preprocess=["deploy"],
        out=tmp_path / "run",
        hooks=_hooks(crash),
        cache=tiny.root / "cache",
    )
    status = {r["name"]: (r["status"], r["reason"]) for r in crashed.rungs}
    assert status["deploy/ort-fp32"] == ("crashed", "case synth_00001, frame 8: out of memory")
    assert status["deploy/torch-fp32"][0] == "ok"
    frames = crashed.read("frame_metrics").filter(case="synth_00001", reference=crashed.reference)
    ran = dict(frames.group_by("rung").len().rows())
    assert ran.pop("deploy/ort-fp32") == 8
    assert set(ran.values()) == {12}
    assert frames.filter(rung="deploy/ort-fp32")["missing"].sum() == 0


def test_nan_outputs_are_counted_and_their_lines_are_missing(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    def spoil(call: int, outputs: Tensors) -> Tensors:
        lines = outputs["lines"].copy()
        if call == 3:
            lines[0, 1, 4, 1] = np.nan
        return outputs | {"lines": lines}

    spoilt = replay(
        tiny,
        cases[:1],
        engines=ENGINES,
        preprocess=["deploy"],
        out=tmp_path / "run",
        hooks=_hooks(spoil),
        cache=tiny.root / "cache",
    )
    frames = spoilt.read("frame_metrics").filter(rung="deploy/ort-fp32", reference=spoilt.reference)
    assert frames.filter(pl.col("nonfinite") > 0).select("frame", "nonfinite", "missing").rows() == [(2, 1, 1)]
    assert spoilt.read("events").filter(kind="nonfinite")["frame_start"].to_list() == [2]


def test_an_engine_that_cannot_run_here_is_not_run(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    def open_engine(name: str, source: ModelSource) -> Engine:
        if name == "ort-fp32":
            raise EngineUnavailable("no ONNX Runtime", where=name, remedy="install it")
        return engines.open(name, source)

    partial = replay(
        tiny, cases[:1], engines=ENGINES, preprocess=["deploy"], out=tmp_path / "run",
        hooks=Hooks(open_engine=open_engine), steps=False,
    )  # fmt: skip
    status = {r["name"]: r["status"] for r in partial.rungs}
    assert status == {"train/torch-fp32": "ok", "deploy/torch-fp32": "ok", "deploy/ort-fp32": "not_run"}
    assert "no ONNX Runtime; install it" in partial.rungs[-1]["reason"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"engines": ["ort-fp23"]}, UnknownEngine),
        ({"preprocess": ["car"]}, UsageError),
        ({"cases": [Path("nowhere")]}, TruelineError),
    ],
)
def test_bad_requests_are_one_line(
    tiny: Card, cases: list[Path], tmp_path: Path, change: dict[str, Any], error: type[Exception]
) -> None:
    arguments = {"cases": cases, "engines": ENGINES, **change}
    with pytest.raises(error) as caught:
        replay(tiny, arguments.pop("cases"), out=tmp_path / "run", **arguments)
    assert "\n" not in str(caught.value)


def test_a_truncated_clip_keeps_the_cases_before_it(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "cases" / "synth_00009"
    shutil.copytree(cases[1], broken)
    (broken / "case.toml").write_text((broken / "case.toml").read_text().replace("synth_00002", "synth_00009"))
    video = next((broken / "cameras" / "front").glob("video.*"))
    video.write_bytes(video.read_bytes()[:-2000])
    with pytest.raises(TruelineError) as caught:
        replay(tiny, [cases[0], broken], engines=ENGINES, out=tmp_path / "run", cache=tiny.root / "cache")
    assert "synth_00009" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "run" / "parts" / "synth_00001").is_dir()
    assert not (tmp_path / "run" / "parts" / "synth_00009").exists()
