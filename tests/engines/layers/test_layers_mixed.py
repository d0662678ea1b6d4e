"""A mixed graph is valid, computes what its types say, and nothing besides."""

import numpy as np
import onnx
from layer_graphs import branching

from engines.denormals import DenormalMode
from engines.emulated.graph import cleaned
from engines.emulated.recipe import Recipe, rewrite
from engines.layers.mixed import mixed
from engines.layers.movable import movable
from engines.layers.network import Network
from engines.ort_engine import open_session
from engines.registry import rewritten_pair


def mixed_of(source, kept, precision="fp16"):
    pair = rewritten_pair(f"emulated-{precision}", source)
    network = Network(pair.exact)
    made = mixed(network, movable(pair.exact, precision), kept, precision)
    onnx.checker.check_model(made.model, full_check=True)
    return pair, made


def run(model, feed):
    mode = DenormalMode(flush=True)
    session = open_session(model.SerializeToString(), level="none", threads=1, mode=mode)
    with mode:
        return session.run(["y", "z"], feed)


def emulated(made, tmp_path):
    """The typed graph as `emulated-fp16` runs it."""
    import onnx_ir as ir

    path = tmp_path / "mixed.onnx"
    onnx.save(made.model, path)
    model, _ = rewrite(path, Recipe("fp16"))
    return ir.serde.serialize_model(cleaned(model))


def feed():
    return {"x": np.random.default_rng(3).standard_normal((1, 3, 6, 6)).astype(np.float32)}


def test_with_nothing_kept_it_is_the_emulated_engine_to_the_bit(tmp_path):
    pair, made = mixed_of(branching(tmp_path), ())
    assert "choose" not in made.reduced, "a node with branches keeps its type"
    for ours, theirs in zip(run(emulated(made, tmp_path), feed()), run(pair.reduced, feed()), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_with_everything_kept_it_is_fp32_to_the_bit(tmp_path):
    pair, _ = mixed_of(branching(tmp_path), ())
    _, made = mixed_of(branching(tmp_path), [node.name for node in pair.exact.graph.node])
    assert not made.reduced
    for ours, theirs in zip(run(made.model, feed()), run(pair.exact, feed()), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_kept_node_reads_what_was_rounded_and_rounds_nothing_itself(tmp_path):
    pair, made = mixed_of(branching(tmp_path), ["side"])
    assert "side" in made.kept
    ours = run(emulated(made, tmp_path), feed())
    z = ours[1]
    assert not np.array_equal(z, z.astype(np.float16).astype(np.float32)), "the output is fp32"
    all_low = run(pair.reduced, feed())
    np.testing.assert_array_equal(ours[0], all_low[0])
    np.testing.assert_array_equal(z.astype(np.float16).astype(np.float32), all_low[1])


def test_a_node_that_only_moves_what_a_kept_one_gives_stays_in_fp32_with_it(tmp_path):
    _, made = mixed_of(branching(tmp_path), ["conv"])
    assert {"conv", "relu", "split"} <= set(made.kept)
    assert "scale" in made.reduced


def test_sizes_and_what_says_its_type_itself_are_never_reduced(tmp_path):
    pair = rewritten_pair("emulated-fp16", branching(tmp_path))
    can = movable(pair.exact, "fp16")
    assert {"choose"}.isdisjoint(can.inputs)
    assert {"conv", "scale", "tanh", "side"} <= set(can.computing)
    assert {"relu", "split", "join"} <= can.moving


def test_an_operator_that_onnx_does_not_define_in_the_type_stays_in_fp32(tmp_path):
    _, made = mixed_of(branching(tmp_path), (), "bf16")
    assert "conv" not in made.reduced, "Conv takes bf16 from opset 22 on"
    assert "tanh" in made.reduced
