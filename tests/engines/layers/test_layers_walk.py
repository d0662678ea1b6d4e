"""A network walked node by node computes what the whole one does, and holds no more than is still to be read."""

import numpy as np
import onnx
import pytest
from layer_graphs import branching, chain

from engines.denormals import DenormalMode
from engines.errors import EngineOptionError
from engines.layers.network import Network
from engines.layers.numbers import LIMITS, Tally
from engines.layers.others import Rewritten
from engines.layers.parts import part_of
from engines.layers.walk import Step, Unit, units_of, walk
from engines.ort_engine import open_session
from engines.registry import rewritten_pair


def feeds_of(source, count=2, seed=1):
    random = np.random.default_rng(seed)
    (spec,) = source.inputs
    return [{spec.name: random.standard_normal(spec.shape).astype(np.float32)} for _ in range(count)]


def all_tensors(model, feed):
    """Every tensor of a graph, from one session that gives them all."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    given = {value.name for value in shown.graph.output}
    types = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    types = {name: v for name, v in types.items() if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    for node in model.graph.node:
        shown.graph.output.extend(types[name] for name in node.output if name in types and name not in given)
    mode = DenormalMode(flush=True)
    session = open_session(shown.SerializeToString(), level="none", threads=1, mode=mode)
    names = [output.name for output in session.get_outputs()]
    with mode:
        return dict(zip(names, session.run(names, feed), strict=True))


def looked_at(source, feed, name="emulated-fp16"):
    pair = rewritten_pair(name, source)
    network = Network(pair.exact)
    return pair, network, walk(network, units_of(network), Rewritten(pair), feed)


def numbers_of(*steps):
    tally = Tally(LIMITS["fp16"])
    for step in steps:
        tally.add(step)
    return tally.numbers()


def test_every_tensor_on_the_walk_is_that_of_the_whole_graph_to_the_bit(tmp_path):
    source = branching(tmp_path)
    for feed in feeds_of(source):
        pair, _, steps = looked_at(source, feed)
        exact, reduced = (all_tensors(model, feed) for model in (pair.exact, pair.reduced))
        seen = 0
        for step in steps:
            for name in step.unit.outputs:
                if step.unit.nodes and name in exact:
                    np.testing.assert_array_equal(step.exact[name], exact[name])
                    np.testing.assert_array_equal(step.other[name], reduced[pair.stands[name]])
                    seen += 1
        assert seen >= 8


@pytest.mark.parametrize("name", ["emulated-fp16-fused", "emulated-bf16", "emulated-tf32", "emulated-fp16:chunk2"])
def test_every_variant_ends_where_its_whole_graph_does(name, tmp_path):
    source = branching(tmp_path)
    (feed,) = feeds_of(source, 1)
    pair, network, steps = looked_at(source, feed, name)
    found = {key: value for step in steps for key, value in step.other.items() if key in network.outputs}
    whole = all_tensors(pair.reduced, feed)
    for output in ("y", "z"):
        np.testing.assert_array_equal(found[output], whole[pair.stands[output]])


def test_a_switched_node_rounds_its_weights_and_its_result_and_nothing_before_it(tmp_path):
    source = branching(tmp_path)
    (feed,) = feeds_of(source, 1)
    found = {step.unit.name: step for step in looked_at(source, feed)[2]}
    right = found["split"].exact["right"]
    product = right * np.float32(np.float16(0.3))
    np.testing.assert_array_equal(found["scale"].switched["scaled"], product.astype(np.float16).astype(np.float32))
    half = found["scale"].exact["scaled"].astype(np.float16).astype(np.float32)
    assert not np.array_equal(found["scale"].switched["scaled"], half), "the weight is rounded as well"
    np.testing.assert_array_equal(found["x"].switched["x"], feed["x"].astype(np.float16).astype(np.float32))
    assert found["scale"].changes
    assert not found["join"].changes, "what is put together was rounded before"


def test_what_follows_a_node_gives_the_whole_networks_outputs_to_the_bit(tmp_path):
    source = branching(tmp_path)
    (feed,) = feeds_of(source, 1)
    _, network, steps = looked_at(source, feed)
    wanted = part_of(network, network.outputs, network.inputs, where="whole")(feed)
    tried = 0
    for step in steps:
        got = part_of(network, network.outputs, step.live.keys(), where="suffix")(step.live)
        for name, array in wanted.items():
            np.testing.assert_array_equal(got[name], array)
        tried += 1
    assert tried == len(units_of(network))


def test_memory_does_not_grow_with_the_depth_of_the_network(tmp_path):
    source = chain(tmp_path, 40)
    (feed,) = feeds_of(source, 1)
    assert max(len(step.live) for step in looked_at(source, feed)[2]) <= 2


def test_units_between_shown_tensors_hold_the_nodes_in_between(tmp_path):
    network = Network(rewritten_pair("emulated-fp16", branching(tmp_path)).exact)
    units = {unit.name: unit for unit in units_of(network, {"joined", "left"})}
    assert set(units["join"].nodes) == {"conv", "relu", "split", "total", "greater", "choose", "scale", "join"}
    assert set(units["tanh"].inputs) == {"joined"}
    assert {name for unit in units.values() for name in unit.nodes} == {node.name for node in network.nodes}


def test_an_order_of_additions_has_no_nodes_to_look_at(tmp_path):
    with pytest.raises(EngineOptionError, match="permutes channels"):
        rewritten_pair("emulated-reorder", branching(tmp_path))
    assert rewritten_pair("ort-fp32", branching(tmp_path)) is None


def step_of(exact, other, switched=None):
    given = {"v": np.asarray(exact, np.float32)}
    alone = given if switched is None else {"v": np.asarray(switched, np.float32)}
    one = {"u": np.ones(1, np.float32)}
    unit = Unit("n", "Mul", ("v",), ("u",), ("n",))
    return Step(unit, given, given, {"v": np.asarray(other, np.float32)}, alone, one, one)


def test_errors_are_relative_to_fp32s_rms():
    found = numbers_of(step_of([3, 4], [3, 4.5], switched=[3, 4.1]))
    assert found.cumulative == pytest.approx(0.5 / 5)
    assert found.injected == pytest.approx(0.1 / 5, rel=1e-4)
    assert (found.nonfinite, found.first_nonfinite) == (0, None)
    assert np.isnan(found.amplification), "exact inputs have no error to amplify"


def test_an_overflow_is_counted_and_makes_the_error_infinite():
    found = numbers_of(step_of([7e4, 1, 2], [np.inf, 1, np.nan], switched=[np.inf, 1, 2]))
    assert (found.nonfinite, found.first_nonfinite) == (2, 0)
    assert found.injected == found.cumulative == np.inf
    assert found.to_overflow == pytest.approx(65504 / 7e4)
    assert np.isnan(found.spacing)


def test_where_fp32_itself_is_not_finite_nothing_is_blamed_on_the_other():
    found = numbers_of(step_of([np.nan, 1], [np.nan, 1.5]))
    assert found.nonfinite == 0
    assert found.cumulative == pytest.approx(0.5)


@pytest.mark.parametrize("size", [0.5, 1.0, 20.0, 192.0, 1024.5, 32800.0, 2.0**-15, 3e-8])
def test_spacing_is_that_of_the_format(size):
    assert LIMITS["fp16"].spacing(float(np.float16(size))) == float(np.spacing(np.float16(size)))
    assert LIMITS["fp32"].spacing(size) == float(np.spacing(np.float32(size)))


def test_values_below_the_smallest_number_vanish():
    values = np.array([1, 1e-8, 2e-8, 0, 5e-8], np.float32)
    found = numbers_of(step_of(values, values))
    there = values[values > 0]
    assert found.vanishing == pytest.approx(float((there.astype(np.float16) == 0).mean()))


def test_amplification_is_what_comes_out_over_what_goes_in():
    unit = Unit("n", "Mul", ("v",), ("u",), ("n",))
    one, moved = np.array([1.0], np.float32), np.array([1.01], np.float32)
    step = Step(unit, {"v": one}, {"v": one * 1.03}, {"v": one}, {"v": one}, {"u": moved}, {"u": one})
    assert numbers_of(step).amplification == pytest.approx(3, rel=1e-3)


def test_frames_are_pooled_by_their_squares_and_the_first_bad_one_is_told():
    found = numbers_of(step_of([3], [3]), step_of([4], [4.5]), step_of([1, 0], [np.inf, 0]))
    assert found.cumulative == np.inf
    assert (found.nonfinite, found.first_nonfinite) == (1, 2)
    assert numbers_of(step_of([3], [3]), step_of([4], [4.5])).cumulative == pytest.approx(0.5 / 5)
    assert found.largest == 4
