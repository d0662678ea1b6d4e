"""Nodes switched for real: what a switched node does to the lines is what an engine of that node alone does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import engines
from cases.case import find_cases, open_case
from cases.synth import synth_cases
from engines.denormals import DenormalMode
from engines.emulated import emulated_graph
from engines.emulated.recipe import Recipe
from engines.export import exported
from engines.ort_engine import open_session
from engines.protocol import ModelSource, Tensors
from harness.cli import main
from harness.errors import UsageError
from harness.feed.inputs import spread_frames
from harness.layers.measure import layers
from harness.layers.table import LayerTable
from harness.lines.decode import build_decoder
from harness.measures.movement import movement
from harness.model.card import load_card
from tests.harness.tiny_model import write_tiny

FRAMES = 3


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("layers")
    synth_cases(1, 1, 0.5, root / "cases")
    return write_tiny(root / "model"), root / "cases"


@pytest.fixture(scope="module")
def found(files: tuple[Path, Path]) -> LayerTable:
    card, cases = files
    return layers(load_card(card), [cases], frames=FRAMES, cache=card.parent / "cache")


def test_a_switched_node_moves_the_lines_as_an_engine_that_rounds_it_alone(
    files: tuple[Path, Path], found: LayerTable
) -> None:
    card = load_card(files[0])
    source = replace(card.source(card.path.parent / "cache"), onnx=exported(card.source(), "ort"))
    feeds = list(spread_frames(card, [open_case(path) for path in find_cases([files[1]])], FRAMES))
    reference = _rounded(source, feeds, ())
    tried = 0
    for row in found.rows:
        if row.moved is not None and row.op in ("Conv", "Gemm", "MatMul", "Input"):
            alone = _rounded(source, feeds, (row.name,))
            want = movement(card.grid, build_decoder(card), reference, alone)
            assert row.moved.line_rms == pytest.approx(want.line_rms, rel=1e-6), row.name
            tried += 1
    assert tried >= 3


def test_a_rounding_is_told_of_the_node_that_makes_the_number(found: LayerTable) -> None:
    reasons = {row.op: row.reason for row in found.rows}
    assert reasons["Conv"] == "switched"
    assert reasons["Relu"] == "adds nothing"


def test_nothing_switched_moves_nothing(found: LayerTable) -> None:
    assert found.floor == 0
    assert all(row.moved is None for row in found.rows if row.reason != "switched")


def test_everything_switched_is_the_whole_engine(files: tuple[Path, Path], found: LayerTable) -> None:
    card = load_card(files[0])
    source = card.source(card.path.parent / "cache")
    feeds = list(spread_frames(card, [open_case(path) for path in find_cases([files[1]])], FRAMES))
    reference, low = _outputs("ort-fp32", source, feeds), _outputs("emulated-fp16", source, feeds)
    want = movement(card.grid, build_decoder(card), reference, low)
    assert found.whole.line_rms == pytest.approx(want.line_rms, rel=0.05)


def test_the_farthest_mover_comes_first_and_the_network_keeps_its_order(found: LayerTable) -> None:
    costs = [row.cost for row in found.ranked()]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > 0
    assert found.rows[0].op == "Input"


def test_a_node_behind_the_lines_outputs_is_not_on_the_way(tmp_path: Path, files: tuple[Path, Path]) -> None:
    folder = tmp_path / "side"
    card = write_tiny(folder)
    text = (folder / "network.py").read_text()
    (folder / "network.py").write_text(
        text.replace("return lines, torch.sigmoid(3 + 0 * y[:, :, 0])",
                     "return lines, torch.sigmoid(3 + 0 * y[:, :, 0]), torch.tanh(features * 0.7)")
    )  # fmt: skip
    card.write_text(card.read_text().replace('{name = "scores"}]', '{name = "scores"}, {name = "side"}]'))
    found = layers(load_card(card), [files[1]], frames=2, cache=tmp_path / "cache")
    reasons = {row.op: row.reason for row in found.rows}
    assert reasons["Tanh"] == "not on the way to the lines"
    assert "switched" in reasons.values()


def test_modules_and_nodes_of_the_file_are_named(found: LayerTable) -> None:
    (conv,) = [row for row in found.rows if row.op == "Conv"]
    assert conv.nodes
    assert {"conv", "norm"} & set(conv.modules), "BatchNorm is folded into the convolution"


def test_an_engine_without_nodes_is_refused_in_one_line(files: tuple[Path, Path]) -> None:
    card = load_card(files[0])
    with pytest.raises(UsageError, match="nodes are not switched in"):
        layers(card, [files[1]], a="emulated-fp16")


def test_the_command_prints_the_nodes_and_writes_them_all(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    card, cases = map(str, files)
    command = ["model", "layers", card, "--cases", cases, "--frames", "2", "--most", "3", "--out", "layers.json"]
    assert _exit(command) == 0
    printed = capsys.readouterr().out
    told = json.loads((tmp_path / "layers.json").read_text())
    first = told["rows"][told["order"][0]]
    assert first["name"] in printed
    assert first["cost"] == max(row["cost"] for row in told["rows"])
    assert len(told["order"]) == len(told["rows"])
    assert told["unit"] == "m"


def _exit(command: list[str]) -> int:
    try:
        return int(main(command) or 0)
    except SystemExit as end:
        return int(end.code or 0)


def _outputs(name: str, source: ModelSource, feeds: list[Tensors], **options: object) -> dict[str, np.ndarray]:
    engine = engines.open(name, source, **options)
    given = [engine.infer(feed) for feed in feeds]
    return {key: np.stack([values[key] for values in given]) for key in source.outputs}


def _rounded(source: ModelSource, feeds: list[Tensors], only: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The graph with these nodes rounded, every node as it is by itself: no optimisation adds in another order."""
    path, _ = emulated_graph(source, Recipe("fp16", only=only))
    mode = DenormalMode(flush=True)
    session = open_session(path, level="none", threads=1, mode=mode)
    with mode:
        given = [session.run(list(source.outputs), feed) for feed in feeds]
    return {key: np.stack([values[place] for values in given]) for place, key in enumerate(source.outputs)}
