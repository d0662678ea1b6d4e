"""A mixed graph as an emulated engine runs it: the bits of that engine on the typed graph, with any nodes kept."""

import random

import numpy as np
import onnx
import pytest
from layer_graphs import branching, pooling

import engines
from engines.layers.carried import Carrier, open_carried
from engines.layers.mixed import mixed
from engines.layers.movable import movable
from engines.layers.network import Network
from engines.registry import rewritten_pair


def sets_of(computing):
    chosen = random.Random(5)
    return [(), computing[1:], *(chosen.sample(computing, max(len(computing) // 2, 1)) for _ in range(4))]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("graph", [branching, pooling])
def test_it_is_the_emulated_engine_on_the_mixed_graph_to_the_bit(tmp_path, graph, precision):
    from dataclasses import replace

    name, source = f"emulated-{precision}", graph(tmp_path)
    pair = rewritten_pair(name, source)
    network, can = Network(pair.exact), movable(pair.exact, precision)
    carrier = Carrier(network, can, precision)
    random_numbers = np.random.default_rng(3)
    frames = [{"x": random_numbers.standard_normal(source.inputs[0].shape).astype(np.float32)} for _ in range(3)]
    found = set()
    for kept in sets_of(can.computing):
        typed = tmp_path / "mixed.onnx"
        onnx.save(mixed(network, can, kept, precision).model, typed)
        theirs = engines.open(name, replace(source, onnx=typed))
        ours = open_carried(name, source, carrier.model(kept), tmp_path)
        for frame in frames:
            expected, given = theirs.infer(frame), ours.infer(frame)
            assert {key: value.tobytes() for key, value in given.items()} == {
                key: value.tobytes() for key, value in expected.items()
            }
        found.add(given["y"].tobytes())
    assert len(found) > 2, "what is kept changes what comes out"


def test_a_rounding_waits_for_the_monotone_nodes_that_follow(tmp_path):
    pair = rewritten_pair("emulated-fp16", pooling(tmp_path))
    network, can = Network(pair.exact), movable(pair.exact, "fp16")
    model = Carrier(network, can, "fp16").model(())
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    lowered = [
        producers[node.input[0]]
        for node in model.graph.node
        if node.output[0].endswith(".low") and node.input[0] in producers
    ]
    assert lowered == ["MaxPool", "Tanh"], "not behind the convolution, nor behind Relu"
