"""A run with kept results equals one without, and computes just what a changed input touches; content alone tells."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import cases.case
import engines.ort_engine
import engines.torch_engine
import harness.replay.result_keys
from cases.case import open_case
from cases.synth import synth_cases
from cases.writer import seal_case
from harness.errors import RunError
from harness.feed.inputs import InputBuilder
from harness.gate import judge
from harness.gate.load import load_policy
from harness.model.card import load_card
from harness.replay.replay import replay
from harness.replay.results import CASES, TENSORS, Results
from harness.run.folder import Run
from harness.run.tables import TABLES
from tests.harness.tiny_model import write_tiny
from trueline import TruelineError

ENGINES = ("torch-fp32", "ort-fp32", "recorded:car")
ONE, TWO = "synth_00003", "synth_00004"
FRAMES = 6
DEPLOY = {"deploy/torch-fp32", "deploy/ort-fp32"}
ORT = {"train/ort-fp32", "deploy/ort-fp32"}
ALL = {"train/torch-fp32", *DEPLOY, *ORT}
TIMED = {"latency"}
TOLD = 2  # pictures that are read for what run.json says of pipelines, one a case


class World:
    """A model with a step of its own in the deploy pipeline, and two cases with truth and a dump."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.card = write_tiny(root)
        edit(self.card, '{op = "round_u8"},', '{op = "steps:brighten"},\n    {op = "round_u8"},')
        (root / "steps.py").write_text("GAIN = 1.0\ndef brighten(pixels):\n    return pixels * GAIN\n")
        for case in synth_cases(3, 2, FRAMES / 20, root / "cases"):
            self.write_dump(case, 0.0)
            text = (case / "case.toml").read_text()
            (case / "case.toml").write_text(text + '\n[outputs.car]\npath = "outputs/car.npz"\ntolerance_ms = 5.0\n')

    def case(self, name: str) -> Path:
        return self.root / "cases" / name

    def write_dump(self, case: Path, shift_m: float) -> None:
        (case / "outputs").mkdir(exist_ok=True)
        lines = np.zeros((FRAMES, 1, 4, 33, 2), np.float32)
        lines[..., 0] = np.linspace(0, 80, 33)
        lines[..., 1] = np.array([5.4, 1.8, -1.8, -5.4])[:, None] + shift_m
        scores = np.full((FRAMES, 1, 4), 0.9, np.float32)
        times = open_case(case).timestamps_ns
        np.savez(case / "outputs" / "car.npz", timestamp_ns=times, lines=lines, scores=scores)

    def replay(self, out: str, **more: Any) -> Run:
        told: dict[str, Any] = {"engines": ENGINES, "steps": False, "cache": self.root / "cache", **more}
        return replay(load_card(self.card), [self.root / "cases"], out=self.root / out, **told)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world whose results are all kept."""
    world = World(tmp_path_factory.mktemp("world"))
    world.replay("first", reuse=True, keep_tensors=True)
    return world.root


@pytest.fixture
def world(sound: Path, tmp_path: Path) -> World:
    """A copy of it, elsewhere."""
    shutil.copytree(sound, tmp_path / "world")
    copy = World.__new__(World)
    copy.root, copy.card = tmp_path / "world", tmp_path / "world" / "tiny.toml"
    return copy


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often each engine ran."""
    counted: dict[str, int] = {}

    def counting(infer: Callable[..., Any]) -> Callable[..., Any]:
        def count(self: Any, inputs: Mapping[str, Any]) -> Any:
            counted[self.name] = counted.get(self.name, 0) + 1
            return infer(self, inputs)

        return count

    for kind in (engines.ort_engine.OrtEngine, engines.torch_engine.TorchEngine):
        monkeypatch.setattr(kind, "infer", counting(kind.infer))
    return counted


def _same(one: Run, other: Run) -> bool:
    return all(one.read(name).equals(other.read(name)) for name in TABLES if name not in TIMED)


def _nothing(world: World) -> None:
    for file in world.root.rglob("*"):
        os.utime(file)


def _recording(world: World) -> None:
    file = world.case(TWO) / "frames.parquet"
    pl.read_parquet(file).with_columns(speed_mps=pl.col("speed_mps") + 1).write_parquet(file)
    seal_case(world.case(TWO))


def _truth(world: World) -> None:
    file = world.case(TWO) / "lines.parquet"
    moved = pl.col("y").list.eval(pl.element() + 0.5)
    pl.read_parquet(file).with_columns(y=moved).write_parquet(file)
    seal_case(world.case(TWO))


def _calibration(world: World) -> None:
    edit(world.case(TWO) / "case.toml", "1.6],", "1.85],")


def _weights(world: World) -> None:
    from safetensors.numpy import load_file, save_file

    file = world.root / "tiny.safetensors"
    tensors = load_file(file)
    tensors["head.bias"] = tensors["head.bias"] + 0.125
    save_file(tensors, file)


CHANGES: dict[str, tuple[Callable[[World], object], set[str], set[str]]] = {
    # what changes: how, cases replayed, rungs whose engines run
    "nothing but times": (_nothing, set(), set()),
    "recording": (_recording, {TWO}, ALL),
    "truth": (_truth, {TWO}, set()),
    "calibration": (_calibration, {TWO}, ALL),
    "dump": (lambda w: w.write_dump(w.case(TWO), 0.3), {TWO}, set()),
    "tags": (lambda w: edit(w.case(TWO) / "case.toml", "tags = [", 'tags = ["odd", '), {TWO}, set()),
    "decoder": (lambda w: edit(w.card, '"polyline"', '"polyline"\nthreshold = 0.7'), {ONE, TWO}, set()),
    "remark in the card": (lambda w: edit(w.card, "schema = 1", "schema = 1  # one"), {ONE, TWO}, set()),
    "code of a step": (lambda w: edit(w.root / "steps.py", "GAIN = 1.0", "GAIN = 0.9"), {ONE, TWO}, DEPLOY),
    "option of an engine": (
        lambda w: w.card.write_text(w.card.read_text() + '\n[engines."ort-fp32"]\nthreads = 2\n'), {ONE, TWO}, ORT,
    ),
    "code of the network": (lambda w: edit(w.root / "network.py", "sigmoid(3 +", "sigmoid(4 +"), {ONE, TWO}, ALL),
    "weights": (_weights, {ONE, TWO}, ALL),
    "a package": (lambda w: None, {ONE, TWO}, ALL),
}  # fmt: skip


@pytest.mark.parametrize("change", list(CHANGES))
def test_exactly_what_a_changed_input_touches_is_computed_anew(
    world: World, calls: dict[str, int], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    mutate, replayed, ran = CHANGES[change]
    mutate(world)
    if change == "a package":
        facts = {**harness.replay.result_keys.machine(), "packages": "others"}
        monkeypatch.setattr(harness.replay.result_keys, "machine", lambda: facts)
    run = world.replay("second", reuse=True, keep_tensors=True)
    told = run.meta["reused"]
    assert set(told["cases"]) == {ONE, TWO} - replayed
    assert {c: set(r) for c, r in told["tensors"].items()} == {c: ALL - ran for c in replayed if ALL - ran}
    for engine in ("torch-fp32", "ort-fp32"):
        rungs = [rung for rung in ran if rung.endswith(engine)]
        assert calls.get(engine, 0) == FRAMES * len(replayed) * len(rungs)
    plain = world.replay("plain")
    assert plain.meta["digest"] == run.meta["digest"]
    assert _same(run, plain)


@pytest.mark.parametrize("change", [c for c in CHANGES if c not in ("nothing but times", "a package")])
def test_a_changed_input_is_another_run_and_named(world: World, change: str) -> None:
    CHANGES[change][0](world)
    with pytest.raises(RunError, match=r"it holds another run \(different: .") as told:
        world.replay("first")
    assert "Trueline's own" not in str(told.value)


def test_another_policy_is_another_verdict_without_a_replay(world: World, calls: dict[str, int]) -> None:
    run = world.replay("second", reuse=True)
    text = (
        '[profile.any]\nengines = ["ort-fp32"]\npreprocess = "deploy"\n[[rules]]\nid = "r"\nmetric = "offset_max"\n'
        'rung = "deploy/*"\nstatistic = "max"\nlimit = "{} m"\n'
    )
    found = []
    for limit in (1000, 1e-9):
        (world.root / "p.trueline.toml").write_text(text.format(limit))
        found.append(judge(run, load_policy(world.root / "p.trueline.toml")).rule("r").status.value)  # type: ignore[union-attr]  # there is such a rule
    assert found == ["PASS", "FAIL"]
    assert calls == {}


def test_another_engine_runs_alone(world: World, calls: dict[str, int]) -> None:
    run = world.replay("more", engines=(*ENGINES, "ort-fp32-none"), reuse=True, keep_tensors=True)
    assert calls == {"ort-fp32-none": 2 * 2 * FRAMES}
    assert _same(run, world.replay("plain", engines=(*ENGINES, "ort-fp32-none")))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many pictures were read, and how many moments went through a pipeline."""
    counted = {"pictures": 0, "tensors": 0}
    read, built = cases.case.Case._stream, InputBuilder.__call__

    def stream(self: Any, name: str, indices: Any) -> Any:
        for picture in read(self, name, indices):
            counted["pictures"] += 1
            yield picture

    def build(self: Any, tick: Any) -> Any:
        counted["tensors"] += 1
        return built(self, tick)

    monkeypatch.setattr(cases.case.Case, "_stream", stream)
    monkeypatch.setattr(InputBuilder, "__call__", build)
    return counted


def test_where_all_tensors_are_kept_only_the_first_picture_of_a_case_is_read(
    world: World, made: dict[str, int]
) -> None:
    edit(world.card, '"polyline"', '"polyline"\nthreshold = 0.7')
    run = world.replay("second", reuse=True, keep_tensors=True)
    assert made == {"pictures": TOLD, "tensors": 0}
    plain = world.replay("plain")
    assert made == {"pictures": 2 * TOLD + 2 * FRAMES, "tensors": 2 * 2 * FRAMES}
    assert _same(run, plain)


def test_only_the_pipelines_of_rungs_that_run_are_fed(world: World, made: dict[str, int]) -> None:
    edit(world.root / "steps.py", "GAIN = 1.0", "GAIN = 0.9")
    run = world.replay("second", reuse=True, keep_tensors=True)
    assert set(run.meta["reused"]["tensors"][ONE]) == ALL - DEPLOY
    assert made == {"pictures": TOLD + 2 * FRAMES, "tensors": 2 * FRAMES}


def test_a_picture_that_is_not_the_hashed_one_stops_a_replay_that_reads_none(world: World) -> None:
    edit(world.card, '"polyline"', '"polyline"\nthreshold = 0.7')
    file = next(f for f in sorted((world.root / "cases" / ONE / "cameras").rglob("*")) if f.is_file())
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(TruelineError, match="not the file that was recorded"):
        world.replay("second", reuse=True, keep_tensors=True)


def test_times_of_engines_are_those_that_were_measured(world: World) -> None:
    """Times of what is read from the disk would be others each time."""
    told = []
    for number in ("one", "two"):
        edit(world.card, "schema = 1", f"schema = 1  # {number}")
        run = world.replay(number, reuse=True, keep_tensors=True)
        assert run.meta["reused"]["cases"] == []
        told.append(run.read("latency").filter(pl.col("rung").is_in(ALL)))
    assert told[0].equals(told[1])
    assert told[0].height == 2 * len(ALL)
    assert (told[0]["p50_ms"] > 0).all()


@pytest.mark.parametrize("kind", [CASES, TENSORS])
def test_damaged_entries_are_computed_anew(world: World, kind: str) -> None:
    rng = np.random.default_rng(8)
    entries = [e for e in Results(world.root / "cache").entries() if e.kind == kind]
    assert len(entries) == (2 if kind == CASES else 2 * len(ALL))
    for entry in entries:
        file = max(entry.path.iterdir(), key=lambda f: f.stat().st_size)
        content = bytearray(file.read_bytes())
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        file.write_bytes(content)
    if kind == TENSORS:
        edit(world.card, "schema = 1", "schema = 1  # one")
    run = world.replay("second", reuse=True, keep_tensors=True)
    assert run.meta["reused"]["cases"] == []
    assert {c: set(r) for c, r in run.meta["reused"]["tensors"].items()} == (
        dict.fromkeys((ONE, TWO), ALL) if kind == CASES else {}
    )
    assert _same(run, world.replay("plain"))


def test_a_case_in_which_a_rung_failed_is_not_kept(world: World) -> None:
    edit(world.root / "steps.py", "return pixels * GAIN", "raise ValueError('no')")
    assert {r["status"] for r in world.replay("second", reuse=True).rungs} >= {"ok", "not_run"}
    assert world.replay("third", reuse=True).meta["reused"]["cases"] == []


def test_the_least_recently_used_go_above_the_bound(tmp_path: Path) -> None:
    results = Results(tmp_path, limit_bytes=3000)
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "x").write_bytes(b"x" * 1000)
    for number, key in enumerate("abc"):
        results.keep(CASES, key, folder)
        if (entry := tmp_path / "results" / CASES / key).is_dir():
            os.utime(entry, (number, number))
    assert {e.path.name for e in results.entries()} == {"b", "c"}
    assert results.find(CASES, "b") is not None
    results.keep(CASES, "d", folder)
    assert {e.path.name for e in results.entries()} == {"b", "d"}
    results.clear()
    assert results.entries() == []


def test_without_reuse_nothing_is_taken_or_kept(world: World) -> None:
    shutil.rmtree(world.root / "cache" / "results")
    assert world.replay("plain").meta["reused"] == {"cases": [], "tensors": {}}
    assert not (world.root / "cache" / "results").exists()
