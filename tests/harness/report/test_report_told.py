"""What other commands found of a run, in its report: input tensors of lab and car, layers, the compiled plan.

One real run, in which the car swaps red and blue and dumps what it fed to the network beside its outputs.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cases.case import open_case
from cases.synth import write_synth_case
from engines.errors import ModelLoadError
from engines.registry import open_engine
from harness.cli.app import command_tree
from harness.errors import UsageError
from harness.feed.inputs import InputBuilder
from harness.layers.table import layers_json, read_layers
from harness.model.card import load_card
from harness.replay.replay import replay
from harness.report import write_report
from harness.report.mismatch import answer_of
from harness.report.network import network_view
from harness.run.facts import read_facts
from harness.run.folder import Run
from harness.run.json import write_json
from tests.harness.tiny_model import write_tiny

FRAMES = 8
CAR = "deploy/recorded"


def car_tensors(card: Any, case: Any) -> np.ndarray:
    """What the car fed: the deploy pipeline's tensors, red and blue swapped."""
    build = InputBuilder(card, case, "deploy")
    return np.stack([build(tick)["image"][:, ::-1] for tick in case.ticks()])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("told")
    card = load_card(write_tiny(folder / "model", seed=8))  # which colour moves
    path = write_synth_case(5, FRAMES / 20, folder / "cases", fps=20.0)
    case = open_case(path)
    fed = car_tensors(card, case)
    engine = open_engine("torch-fp32", card.source(folder / "cache"))
    outputs = [engine.infer({"image": tensor}) for tensor in fed]
    engine.close()
    (path / "outputs").mkdir()
    stacked = {name: np.stack([o[name] for o in outputs]) for name in ("lines", "scores")}
    np.savez(path / "outputs" / "car.npz", timestamp_ns=case.timestamps_ns, image=fed, **stacked)
    meta = path / "case.toml"
    meta.write_text(meta.read_text() + '\n[outputs.car]\npath = "outputs/car.npz"\ntolerance_ms = 5.0\n')
    return replay(
        card, [path], engines=("torch-fp32", "recorded"), out=folder / "run", cache=folder / "cache", steps=False
    )


def page_of(path: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The page without its data, the data, and the clip of the only case."""
    text = path.read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))
    clip = json.loads(re.search(r'data-clip="[^"]*">(.*?)</script>', text, re.S).group(1))
    return text.partition('<script type="application/json"')[0], data, clip


@pytest.fixture(scope="module")
def page(run: Run) -> tuple[str, dict[str, Any], dict[str, Any]]:
    return page_of(write_report(run, run.path / "plain.html"))


def decoded(text: str) -> np.ndarray:
    import cv2

    return np.asarray(cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR), float)[..., ::-1]


def test_the_input_of_a_recorded_rung_is_what_the_car_dumped(run: Run, page: Any) -> None:
    _, data, clip = page
    rung = next(r for r in data["rungs"] if r["name"] == CAR)
    assert (rung["car"], rung["input"]) == (True, "recorded")
    frame, view = next(iter(clip["tensors"].items()))
    shown = {name: decoded(text) for name, text in view["inputs"].items()}
    assert set(shown) == {"train", "deploy", "recorded"}
    swapped = np.abs(shown["recorded"] - shown["deploy"][..., ::-1]).mean()
    assert swapped < 6 < np.abs(shown["recorded"] - shown["deploy"]).mean()
    case = open_case(Path(run.meta["cases"][0]["path"]))
    fed = car_tensors(load_card(Path(run.meta["card"]["path"])), case)[case.frame_numbers.tolist().index(int(frame))]
    deploy = fed[:, ::-1]
    told = view["pairs"].get("recorded|deploy") or view["pairs"]["deploy|recorded"]
    assert f"RMS {np.sqrt(np.mean((fed - deploy) ** 2)):.3g}" in told["text"]


def test_a_recorded_rung_without_dumped_inputs_has_none(run: Run, tmp_path: Path) -> None:
    dump = Path(run.meta["cases"][0]["path"]) / "outputs" / "car.npz"
    whole = dump.read_bytes()
    arrays = dict(np.load(dump))
    try:
        np.savez(dump, **{name: array for name, array in arrays.items() if name != "image"})
        _, _, clip = page_of(write_report(run, tmp_path / "report.html"))
    finally:
        dump.write_bytes(whole)
    assert {name for view in clip["tensors"].values() for name in view["inputs"]} == {"train", "deploy"}


def test_the_diagnosis_stands_on_the_first_screen_and_at_the_finding(page: Any) -> None:
    html, data, _ = page
    answer = re.search(r'id="answer-inputs">(.*?)</dd>', html, re.S).group(1)
    assert "the declared deploy pipeline&#39;s with" in answer
    assert "with R and B swapped" in answer
    blamed = [f for f in data["findings"] if f["inputs"]]
    assert blamed
    assert all(f["first"] in (CAR, "deploy/torch-fp32") for f in blamed)
    assert html.count('<figure class="mismatch"><img src="data:image/webp;base64,') == 1


def test_a_finding_of_the_engine_is_not_told_by_input_tensors() -> None:
    from types import SimpleNamespace

    one = {"input": "image", "case": "a", "sentence": "S"}
    told = {"told": [one], "why": ""}
    of = {stage: SimpleNamespace(stage=stage, case=case) for stage, case in (("numerics", "a"), ("car", "b"))}
    step = SimpleNamespace(rung="R", factors=("export", "car"))
    several = SimpleNamespace(stage=None, first="R", steps=(step,), case="a")
    assert answer_of(several, told) == ["S"]
    step.factors = ("export", "runtime")
    assert answer_of(several, told) == []
    assert answer_of(of["numerics"], told) == []
    assert answer_of(of["car"], told) == ["S (case a)"]
    assert answer_of(None, told) == ["S"]
    assert answer_of(of["car"], {"told": [], "why": "no card"}) == ["no card"]
    both = {"told": [one, one | {"input": "rear"}], "why": ""}
    assert answer_of(of["car"], both) == ["image: S (case a)", "rear: S (case a)"]


@pytest.fixture(scope="module")
def layered(run: Run) -> Iterator[tuple[str, Path]]:
    """What `trueline model layers RUN` prints, and where it puts its table."""
    done = CliRunner().invoke(command_tree("model"), ["model", "layers", str(run.path), "--frames", "1"])
    assert done.exit_code == 0, done.output
    yield done.output, run.path / "layers.json"
    (run.path / "layers.json").unlink()


def test_layers_of_a_run_go_into_its_folder_and_report(run: Run, layered: tuple[str, Path]) -> None:
    told, file = layered
    assert f"report: {run.path / 'report.html'}" in told.replace("\n", "")
    table = read_layers(file)
    assert table.b == "emulated-fp16"
    assert layers_json(table) == json.loads(file.read_text())
    html, data, _ = page_of(run.path / "report.html")
    assert '<section id="layers"' in html
    assert [n["cost"] for n in data["layers"]["nodes"]] == [row.cost for row in table.rows]
    assert data["layers"]["order"][0] == max(range(len(table.rows)), key=lambda i: table.rows[i].cost)


def test_tables_of_another_model_or_run_are_not_shown(run: Run, layered: tuple[str, Path], tmp_path: Path) -> None:
    table, facts = read_layers(layered[1]), read_facts(run.meta)
    for name, other in (("model", replace(table, card="x")), ("run", replace(table, facts={"run": "ab" * 32}))):
        write_json(tmp_path / "layers.json", layers_json(other))
        assert f"it is of another {name}" in network_view(tmp_path, facts)["remarks"][0]
        with pytest.raises(UsageError, match=f"it is of another {name}"):
            network_view(run.path, facts, layers=tmp_path / "layers.json")
    (tmp_path / "layers.json").write_text('{"schema": 1, "rows": 3}')
    assert network_view(tmp_path, facts)["layers"] is None
    write_json(tmp_path / "layers.json", layers_json(table))
    assert network_view(tmp_path, facts)["layers"] is not None


PLAN = {
    "schema": 1, "model": "tiny", "engine": "trtrtx-fp16", "target": "sm86", "compiler": "TensorRT for RTX 1.4",
    "warnings": ["<slow>"], "unread": [], "unmapped": [], "nodes": 4, "named": 3, "folded": {"Constant": 1},
    "types": {},
    "kernels": [
        {
            "name": "k", "kind": "gemm", "tactic": "__myl_x_0x1", "nodes": ["node_conv"], "modules": ["conv"],
            "reads": [{"name": "i", "shape": [1, 3], "dtype": "Half"}],
            "writes": [{"name": "o", "shape": [1, 8], "dtype": "Half", "value": "relu", "how": "made"}],
            "constants": {}, "did": ["fused 2"],
        }
    ],
}  # fmt: skip


def test_the_compiled_plan_is_a_section_of_its_own(run: Run, tmp_path: Path) -> None:
    write_json(tmp_path / "plan.json", PLAN)
    html, _, _ = page_of(write_report(run, tmp_path / "report.html", plan=tmp_path / "plan.json"))
    section = html[html.index('<section id="plan"') :]
    assert "warning: &lt;slow&gt;" in section
    assert "1 kernels, 3 of 4 nodes named; folded: 1 Constant" in section
    for cell in ("gemm", "node_conv", "1x3 Half", "relu 1x8 Half", "fused 2", "conv"):
        assert f">{cell}</td>" in section
    write_json(tmp_path / "plan.json", PLAN | {"kernels": [{"name": "k"}]})
    with pytest.raises(UsageError, match="no plan that"):
        write_report(run, tmp_path / "report.html", plan=tmp_path / "plan.json")
    with pytest.raises(ModelLoadError):
        write_report(run, tmp_path / "report.html", plan=run.path / "run.json")
