"""An engine that only shows tensors is told of as one whose nodes run by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from layer_graphs import branching, chain
from test_layers_walk import all_tensors, feeds_of

from engines.emulated.pair import named_graph
from engines.errors import EngineError, EngineOutputMissing
from engines.layers import shown
from engines.layers.marked import Marked
from engines.layers.network import Network
from engines.layers.others import Rewritten
from engines.layers.shown import Shown, floating, groups_of
from engines.layers.walk import units_of, walk
from engines.registry import rewritten_pair


class Table:
    """Tensors of one frame, by name."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self.tensors, self.names = dict(tensors), frozenset(tensors)
        self.asked: list[tuple[str, ...]] = []

    def show(self, names: Sequence[str], feed: Any) -> Mapping[str, np.ndarray]:
        self.asked.append(tuple(names))
        return {name: self.tensors[name] for name in names}


def steps_of(network: Network, shows: Any, feed: Any) -> list[Any]:
    units = units_of(network, shows.names)
    return [(s, dict(s.other), dict(s.switched)) for s in walk(network, units, Shown(network, shows), feed)]


def test_tensors_of_an_emulated_engine_tell_the_same_as_its_nodes(tmp_path):
    source = branching(tmp_path)
    (feed,) = feeds_of(source, 1)
    pair = rewritten_pair("emulated-fp16", source)
    network = Network(pair.exact)
    reduced = all_tensors(pair.reduced, feed)
    table = Table({name: reduced[pair.stands[name]] for name in floating(network) if pair.stands[name] in reduced})
    table.tensors["x"] = feed["x"].astype(np.float16).astype(np.float32)
    table.names |= {"x"}
    by_node = list(walk(network, units_of(network), Rewritten(pair), feed))
    by_tensor = {step.unit.name: (step, switched) for step, _, switched in steps_of(network, table, feed)}
    adds: dict[str, bool] = {}
    for step in by_node:
        other, switched = by_tensor.get(step.unit.name, (None, {}))
        for name in switched:
            np.testing.assert_array_equal(other.other[name], step.other[name])
            alone, told = (float(np.linalg.norm(t[name] - step.exact[name])) for t in (step.switched, switched))
            adds[name] = alone > 0
            assert (told > 0) == (alone > 0), name
            if step.exact[name].size >= 100:
                assert 0.6 * alone <= told <= 1.6 * alone, "the same rounding, of other inputs"
    assert sum(adds.values()) >= 5
    assert not adds["relu"]


@pytest.mark.parametrize("planted", ["conv", "scaled", "joined"])
def test_only_the_node_that_differs_is_switched_and_by_what_it_adds(planted, tmp_path):
    source = branching(tmp_path)
    (feed,) = feeds_of(source, 1)
    network = Network(named_graph(source.onnx))
    exact = all_tensors(network.proto, feed)
    added = np.random.default_rng(0).normal(0, 0.1, exact[planted].shape).astype(np.float32)
    wrong = exact[planted] + added
    known = dict(feed)
    for step in walk(network, units_of(network), PlantedTensor(planted, wrong), feed):
        known |= step.other
    table = Table({name: known[name] for name in floating(network)})
    found = {step.unit.name: step for step, _, _ in steps_of(network, table, feed)}
    assert [name for name, step in found.items() if step.changes] == [network.nodes[network.producer[planted]].name]
    (step,) = [step for step in found.values() if step.changes]
    np.testing.assert_allclose(step.switched[planted], wrong, atol=1e-6)


class PlantedTensor:
    """An engine that computes as fp32 does, but for one tensor."""

    def __init__(self, name: str, tensor: np.ndarray) -> None:
        self._name, self._tensor = name, tensor

    def inputs(self, feed: Any) -> dict[str, np.ndarray]:
        return dict(feed)

    def step(self, unit: Any, exact: Any, theirs: Any, made: Any, through: Any) -> tuple[Any, Any]:
        own = {name: self._tensor if name == self._name else array for name, array in through.items()}
        return own, own


def test_a_runtime_with_marked_outputs_shows_every_tensor_and_its_file_is_gone_afterwards(tmp_path):
    source = branching(tmp_path)
    network = Network(named_graph(source.onnx))
    marked = Marked("ort-fp32-none", source, network)
    folder = marked._folder.name
    for feed in feeds_of(source):
        exact = all_tensors(network.proto, feed)
        (group,) = groups_of(network, marked.names)
        assert {"conv", "relu", "left", "right", "scaled", "joined", "y", "z"} <= set(group)
        for name, tensor in marked.show(group, feed).items():
            if name in exact:
                np.testing.assert_array_equal(tensor, exact[name])
        assert not any(step.changes for step, _, _ in steps_of(network, marked, feed))
    marked.close()
    with pytest.raises(FileNotFoundError):
        onnx.load(f"{folder}/group-0/model.onnx")


def test_no_more_tensors_come_at_once_than_a_group_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(shown, "GROUP_BYTES", 1024)
    source = chain(tmp_path, 12)
    (feed,) = feeds_of(source, 1)
    network = Network(named_graph(source.onnx))
    table = Table({name: tensor for name, tensor in all_tensors(network.proto, feed).items() if name != "x"})
    steps_of(network, table, feed)
    assert [len(group) for group in table.asked] == [4, 4, 4], "64 floats each"
    assert [name for group in table.asked for name in group] == [n for node in network.nodes for n in node.output]


def test_a_tensor_of_another_shape_is_one_line(tmp_path):
    source = chain(tmp_path, 3)
    (feed,) = feeds_of(source, 1)
    network = Network(named_graph(source.onnx))
    with pytest.raises(EngineOutputMissing, match=r"'v1' is \[64\], the ONNX file's is \[1, 64\]"):
        steps_of(network, Table({"v1": np.zeros(64, np.float32)}), feed)


def test_what_overflows_is_told_of_the_node_that_overflows(tmp_path):
    source = chain(tmp_path, 4)
    (feed,) = feeds_of(source, 1)
    network = Network(named_graph(source.onnx))
    exact = all_tensors(network.proto, feed)
    gone = {name: np.full_like(exact[name], np.inf) for name in ("v1", "v2", "y")}
    steps = {s.unit.name: s for s, _, _ in steps_of(network, Table({"v0": exact["v0"], **gone}), feed)}
    first = [name for name, step in steps.items() if step.changes]
    assert first == [network.nodes[1].name]
    assert np.isinf(steps[first[0]].switched["v1"]).all()


def test_an_engine_that_does_not_take_the_file_says_so(tmp_path):
    source = branching(tmp_path)
    marked = Marked("trtrtx-fp16", source, Network(named_graph(source.onnx)))
    with pytest.raises(EngineError, match=r"trtrtx-fp16|TensorRT"):
        marked.show(["conv"], feeds_of(source, 1)[0])
    marked.close()
