"""`model layers` against engines that only show tensors: PyTorch by hooks, OpenVINO, a dump of all tensors."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from cases.case import open_case
from cases.schema import Output, read_meta, write_meta
from cases.synth import synth_cases
from engines.emulated.pair import named_graph
from engines.errors import EngineUnavailable, RecordingError
from engines.export import exported
from engines.layers.hooked import Call, calls_of
from engines.layers.marked import Marked
from engines.layers.network import Network
from engines.layers.parts import part_of
from engines.layers.shown import groups_of
from harness.errors import UsageError
from harness.feed.inputs import InputBuilder, cameras_of, spread_frames, spread_moments
from harness.layers.measure import layers
from harness.layers.view import layer_lines
from harness.model.card import Card, load_card
from tests.harness.tiny_model import write_tiny

Files = tuple[Card, Path]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("shown")
    (case,) = synth_cases(1, 1, 0.5, root / "cases")
    return load_card(write_tiny(root / "model")), case


def network_of(card: Card) -> Network:
    return Network(named_graph(exported(card.source(card.root / "cache"), "ort")))


def test_modules_are_found_by_their_numbers_and_pytorch_differs_by_rounding_only(files: Files) -> None:
    card, case = files
    feed = next(spread_frames(card, [open_case(case)], 1))
    calls = calls_of(card.source(card.root / "cache"), network_of(card), feed)
    assert set(calls.values()) == {Call("norm", 0), Call("pool", 0), Call("head", 0)}, "conv is folded into norm"
    found = layers(card, [case], b="torch-fp32", frames=2, cache=card.root / "cache")
    assert found.whole.line_max < 1e-3
    assert max(row.numbers.cumulative for row in found.rows) < 1e-4
    assert "what PyTorch's modules give" in " ".join(layer_lines(found))


def test_pytorch_in_bf16_adds_its_error_where_it_computes(files: Files) -> None:
    card, case = files
    found = layers(card, [case], b="torch-bf16", frames=2, cache=card.root / "cache")
    assert found.precision == "bf16"
    assert 1e-4 < max(row.numbers.injected for row in found.rows) < 0.1
    assert found.ranked()[0].cost > 0


def test_openvino_shows_every_tensor(files: Files) -> None:
    pytest.importorskip("openvino")
    card, case = files
    found = layers(card, [case], b="openvino-fp32", frames=2, cache=card.root / "cache")
    assert found.whole.line_max < 1e-3
    assert len(found.rows) == len(network_of(card).nodes) + 1


def with_dump(files: Files, root: Path, planted: str | None, missing: int = 0) -> Path:
    """A copy of the case with all tensors of fp32, one of them wrong and what follows computed from it."""
    card, source = files
    case = root / "case"
    shutil.copytree(source, case)
    (case / "outputs" / "car").mkdir(parents=True)
    network, opened = network_of(card), open_case(case)
    marked = Marked("ort-fp32-none", card.source(card.root / "cache"), network)
    (group,) = groups_of(network, marked.names)
    build = InputBuilder(card, opened, "deploy")
    for tick in list(opened.ticks(cameras_of(card)))[missing:]:
        feed = build(tick)
        tensors = {**feed, **marked.show(group, feed)}
        if planted is not None:
            wrong = {**feed, planted: tensors[planted] * np.float32(1.01)}
            behind = [n for n in group if n != planted and planted in network.fed(network.slice([n], {planted}), ())]
            tensors |= {planted: wrong[planted], **part_of(network, behind, {planted}, where="test")(wrong)}
        np.savez(case / "outputs" / "car" / f"{tick.timestamp_ns}.npz", **tensors)
    marked.close()
    output = Output(path="outputs/car", tolerance_ms=5)
    write_meta(case, read_meta(case).model_copy(update={"outputs": {"car": output}}))
    return case


def test_of_a_dump_the_node_whose_tensor_is_wrong_is_named_alone(files: Files, tmp_path: Path) -> None:
    card, _ = files
    (planted,) = [node.output[0] for node in network_of(card).nodes if node.op_type == "Conv"][:1]
    case = with_dump(files, tmp_path, planted)
    found = layers(card, [case], b="recorded:car", frames=2, cache=card.root / "cache")
    assert [row.op for row in found.rows if row.reason == "switched"] == ["Conv"]
    (row,) = [row for row in found.rows if row.reason == "switched"]
    assert row.numbers.injected == pytest.approx(0.01, rel=1e-3)
    assert row.cost == pytest.approx(found.whole.cost, rel=1e-3)
    assert row.cost > 0


def test_a_frame_that_the_recording_lacks_is_not_looked_at(files: Files, tmp_path: Path) -> None:
    case = with_dump(files, tmp_path, None, missing=4)
    found = layers(files[0], [case], b="recorded:car", frames=10, cache=files[0].root / "cache")
    moments = list(spread_moments(files[0], [open_case(case)], 10))
    late = open_case(case).timestamps_ns[4]
    assert 0 < found.frames == sum(moment.timestamp_ns >= late for moment in moments) < len(moments)
    assert {row.reason for row in found.rows} == {"adds nothing"}


def test_a_dump_without_the_networks_tensors_is_one_line(files: Files, tmp_path: Path) -> None:
    card, source = files
    with pytest.raises(RecordingError, match="no case has a dump 'car'"):
        layers(card, [source], b="recorded:car", frames=1, cache=card.root / "cache")
    case = with_dump(files, tmp_path, None)
    for file in (case / "outputs" / "car").iterdir():
        np.savez(file, layer_3=np.zeros(3, np.float32))
    with pytest.raises(RecordingError, match=r"holds no tensor that the network has.*it has \['layer_3'\]"):
        layers(card, [case], b="recorded:car", frames=1, cache=card.root / "cache")


def test_engines_that_show_nothing_are_refused_in_one_line(files: Files) -> None:
    card, case = files
    with pytest.raises(UsageError, match="runs a model of its own"):
        layers(card, [case], b="command", cache=card.root / "cache")
    with pytest.raises(EngineUnavailable, match="compiled code runs no modules"):
        layers(card, [case], b="torch-compile", frames=1, cache=card.root / "cache")
