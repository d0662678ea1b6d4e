"""Recordings of a car in a replay: what does not match is not compared, and lines stand in for tensors."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cases.case import open_case
from cases.schema import Output, read_meta, write_meta
from cases.synth import synth_cases
from harness.lines.decode import build_decoder
from harness.model.card import Card, load_card
from harness.replay.polygraphy import write_outputs
from harness.replay.replay import replay
from harness.run.folder import Run
from tests.harness.tiny_model import write_tiny

CAR = "deploy/recorded:car"
Dumper = Callable[[Path, int, Mapping[str, Any]], None]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return load_card(write_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def truth(tiny: Card, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, dict[str, Any]]]:
    """A case and what the car computes on it: time -> outputs."""
    from engines.formats.polygraphy import read_runs

    folder = tmp_path_factory.mktemp("truth")
    (case,) = synth_cases(1, 1, 1.0, folder)
    write_outputs(tiny, case, folder / "out.json", engine="torch-fp32", cache=tiny.root / "cache")
    (iterations,) = read_runs(folder / "out.json").values()
    times = [int(word) for word in (folder / "out.timestamps").read_text().split()]
    return case, {t: dict(i.outputs) for t, i in zip(times, iterations, strict=True)}


def recorded(tiny: Card, truth: tuple[Path, dict[int, Any]], root: Path, dump: Dumper, **said: Any) -> Run:
    """A replay of a copy of the case with a dump of its outputs."""
    source, outputs = truth
    case = root / "case"
    shutil.copytree(source, case)
    place = case / "outputs" / "car"
    place.mkdir(parents=True)
    for moment, arrays in outputs.items():
        dump(place, moment, arrays)
    output = Output(path="outputs/car", tolerance_ms=5, **said)
    write_meta(case, read_meta(case).model_copy(update={"outputs": {"car": output}}))
    engines = ("torch-fp32", "recorded:car")
    return replay(tiny, [case], engines=engines, out=root / "run", preprocess=("deploy",), cache=tiny.root / "cache")


def as_npz(late_ns: int = 0, unit: int = 1, **names: str) -> Dumper:
    def dump(place: Path, moment: int, arrays: Mapping[str, Any]) -> None:
        np.savez(place / f"{(moment + late_ns) // unit}.npz", **{names.get(n, n): a for n, a in arrays.items()})

    return dump


def of(run: Run) -> dict[str, Any]:
    (rung,) = (r for r in run.rungs if r["name"] == CAR)
    return dict(rung)


def test_a_faithful_recording_differs_by_nothing(tiny: Card, truth: Any, tmp_path: Path) -> None:
    run = recorded(tiny, truth, tmp_path, as_npz())
    assert of(run)["status"] == "ok"
    rows = run.read("line_metrics").filter(rung=CAR, reference="deploy/torch-fp32")
    assert rows["offset_max"].max() == 0
    facts = of(run)["provenance"]["alignment"]["synth_00001"]
    assert (facts["matched"], facts["frames"], facts["dropped"]) == (20, 20, 0)


@pytest.mark.parametrize(("late_ns", "unit", "words"), [(37_000_000, 1, "37 ms late"), (0, 1_000_000, "look like ms")])
def test_a_recording_that_does_not_match_is_not_run_and_never_blamed(
    tiny: Card, truth: Any, tmp_path: Path, late_ns: int, unit: int, words: str
) -> None:
    run = recorded(tiny, truth, tmp_path, as_npz(late_ns, unit))
    assert of(run)["status"] == "not_run"
    assert re.search("[01] of the case's 20 frames", of(run)["reason"])
    assert words in of(run)["reason"]
    for name in ("line_metrics", "frame_metrics", "events", "series_metrics"):
        assert run.read(name).filter(rung=CAR).is_empty(), name
    assert {r["status"] for r in run.rungs if r["name"] != CAR} == {"ok"}


@pytest.mark.parametrize(
    ("late_ns", "unit", "said"),
    [
        (37_000_000, 1, {"time_offset_ms": 37}),
        (37_000_000, 1, {"time_offset_ms": "estimate"}),
        (0, 1_000_000, {"time_unit": "ms"}),
    ],
)
def test_what_is_said_of_the_clock_makes_it_match(
    tiny: Card, truth: Any, tmp_path: Path, late_ns: int, unit: int, said: dict[str, Any]
) -> None:
    run = recorded(tiny, truth, tmp_path, as_npz(late_ns, unit), **said)
    assert of(run)["status"] == "ok"
    told = [w["text"] for w in run.meta["warnings"] if w["kind"] == "recording"]
    assert len(told) == (said.get("time_offset_ms") == "estimate"), told
    assert all("an estimated offset of 37 ms" in text for text in told)
    assert run.read("line_metrics").filter(rung=CAR, reference="deploy/torch-fp32")["offset_max"].max() == 0


def test_a_lost_frame_is_missing_and_one_outside_the_recording_is_not(tiny: Card, truth: Any, tmp_path: Path) -> None:
    case, outputs = truth
    kept = [t for k, t in enumerate(outputs) if 5 <= k < 15 and k not in (9, 10)]
    run = recorded(tiny, (case, {t: outputs[t] for t in kept}), tmp_path, as_npz())
    (warning,) = [w for w in run.meta["warnings"] if w["kind"] == "recording"]
    assert "8 of 20 frames have a dumped frame, 2 were dropped, 10 not recorded" in warning["text"]
    rows = run.read("frame_metrics").filter(rung=CAR, reference="deploy/torch-fp32").sort("frame")
    assert rows["frame"].to_list() == list(range(5, 15))
    assert rows.filter(pl.col("missing") > 0)["frame"].to_list() == [9, 10]


def test_outputs_of_other_names_and_without_a_batch_axis(tiny: Card, truth: Any, tmp_path: Path) -> None:
    def dump(place: Path, moment: int, arrays: Mapping[str, Any]) -> None:
        np.savez(place / f"{moment}.npz", **{"out0": arrays["lines"][0], "scores": arrays["scores"]})

    run = recorded(tiny, truth, tmp_path, dump, rename={"out0": "lines"})
    assert of(run)["status"] == "ok"
    rows = run.read("line_metrics").filter(rung=CAR, reference="deploy/torch-fp32")
    assert rows["offset_max"].max() == 0
    tensors = run.read("tensor_metrics").filter(rung=CAR, reference="deploy/torch-fp32", output="lines")
    assert len(tensors) == 20
    assert tensors["max_abs"].max() == 0


def test_logged_lines_are_compared_as_they_are(tiny: Card, truth: Any, tmp_path: Path) -> None:
    decoder = build_decoder(tiny)

    def dump(place: Path, moment: int, arrays: Mapping[str, Any]) -> None:
        lines = decoder.decode({name: array[None] for name, array in arrays.items()})
        said = [
            {
                "points": (lines.points(k) + np.float32([0, 0.25])).tolist(),
                "score": float(lines.score[k]),
                "slot": int(k),
            }
            for k in range(len(lines))
        ]
        (place / f"{moment}.json").write_text(json.dumps({"lines": said}))

    case = tmp_path / "without_truth"  # ground truth would clear what brings a line nearer to it (decision 28)
    shutil.copytree(truth[0], case)
    (case / "lines.parquet").unlink()
    meta = read_meta(case)
    hashes = {name: sha for name, sha in meta.sha256.items() if name != "lines.parquet"}
    write_meta(case, meta.model_copy(update={"sha256": hashes}))
    run = recorded(tiny, (case, truth[1]), tmp_path, dump)
    assert of(run)["status"] == "ok"
    rows = run.read("line_metrics").filter(rung=CAR, reference="deploy/torch-fp32")
    assert len(rows) == 20 * 4 * 3
    np.testing.assert_allclose(rows["offset_max"].to_numpy(), 0.25, atol=1e-5)
    assert run.read("tensor_metrics").filter(rung=CAR).is_empty()


def test_case_toml_keeps_what_is_said_of_a_dump(tiny: Card, truth: Any, tmp_path: Path) -> None:
    recorded(tiny, truth, tmp_path, as_npz(), time_offset_ms="estimate", rename={"a": "b"})
    text = tomllib.loads((tmp_path / "case" / "case.toml").read_text())["outputs"]["car"]
    assert text == {"path": "outputs/car", "time_offset_ms": "estimate", "rename": {"a": "b"}}
    assert open_case(tmp_path / "case").meta.outputs["car"].rename == {"a": "b"}


def test_a_dump_that_no_rung_compares_is_told(tiny: Card, truth: Any, tmp_path: Path) -> None:
    """Put into the case's folder outputs/, and forgotten on the command line."""
    shutil.copytree(truth[0], tmp_path / "case")
    place = tmp_path / "case" / "outputs" / "car"
    place.mkdir(parents=True)
    for moment, arrays in truth[1].items():
        as_npz()(place, moment, arrays)
    run = replay(tiny, [tmp_path / "case"], engines=["ort-fp32"], out=tmp_path / "run", cache=tiny.root / "cache")
    (said,) = (w["text"] for w in run.meta["warnings"] if w["kind"] == "recording")
    assert "has a dump 'car' that no rung compares; add recorded:car to --engines" in said


def test_a_recording_in_another_shape_costs_its_own_rung_only(tiny: Card, truth: Any, tmp_path: Path) -> None:
    def dump(place: Path, moment: int, arrays: Mapping[str, Any]) -> None:
        np.savez(place / f"{moment}.npz", lines=arrays["lines"][:, :, :32], scores=arrays["scores"])

    run = recorded(tiny, truth, tmp_path, dump)
    assert of(run)["status"] == "crashed"
    assert "output 'lines' is [1, 4, 32, 2], the reference gives [1, 4, 33, 2]" in of(run)["reason"]
    assert {r["status"] for r in run.rungs if r["name"] != CAR} == {"ok"}
