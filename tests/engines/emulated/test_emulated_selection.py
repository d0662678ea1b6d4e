"""Rounding only some of a graph: nothing, everything, one layer, by node, module and input."""

import json

import numpy as np
import numpy_executor as independent
import onnx
import pytest
from graphs import make_source, node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_emulated_fp16 import conv_net, elementwise_graphs

import engines
from engines.emulated import groups
from engines.errors import EngineOptionError

half = independent.fp16


def run(source, feeds, name="emulated-fp16", **options):
    return engines.open(name, source, threads=1, denormals="keep", **options).infer(feeds)


def same(got, want):
    assert got.keys() == want.keys()
    for key in want:
        np.testing.assert_array_equal(got[key], want[key])


@pytest.mark.parametrize("name", ["emulated-fp16", "emulated-fp16-fused", "emulated-bf16"])
def test_nothing_chosen_is_fp32_and_everything_is_all_of_it(name, tmp_path):
    random = np.random.default_rng(0)
    source = conv_net(tmp_path, lambda shape: random.standard_normal(shape) / np.sqrt(np.prod(shape[1:])))
    feeds = {"x": random.standard_normal((1, 3, 16, 16)).astype(np.float32)}
    fp32, low = run(source, feeds, "ort-fp32"), run(source, feeds, name)
    assert not np.array_equal(fp32["out"], low["out"])
    same(run(source, feeds, name, only=[]), fp32)
    every = [member for members in groups(source).values() for member in members]
    same(run(source, feeds, name, only=every), low)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(graph=elementwise_graphs(), seed=st.integers(0, 99))
def test_the_groups_together_round_all_that_is_rounded(tmp_path_factory, graph, seed):
    nodes, outputs, weights = graph
    source = make_source(tmp_path_factory.mktemp("g"), nodes, {"x": [1, 2, 4, 4], "y": [1, 2, 4, 4]}, outputs, weights)
    random = np.random.default_rng(seed)
    feeds = {key: (random.standard_normal((1, 2, 4, 4)) * 300).astype(np.float32) for key in "xy"}
    found = groups(source)
    every = [member for members in found.values() for member in members]
    assert len(every) == len(set(every))
    same(run(source, feeds, only=every), run(source, feeds))
    same(run(source, feeds, only=[]), run(source, feeds, "ort-fp32"))


def chain(folder, **metadata):
    """y = ((x a) b) + x, whose three results each are one correctly rounded operation."""
    nodes = [
        node("Mul", ["x", "a"], ["v1"], name="first"),
        node("Mul", ["v1", "b"], ["v2"], name="second"),
        node("Add", ["v2", "x"], ["y"], name="third"),
    ]
    for one in nodes:
        if one.name in metadata:
            one.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=metadata[one.name])
    return make_source(folder, nodes, {"x": [1, 500]}, ["y"], {"a": np.float32(1 / 3), "b": np.float32(0.7)})


FEEDS = {"x": np.random.default_rng(3).standard_normal((1, 500)).astype(np.float32)}
X, A, B = FEEDS["x"], np.float32(1 / 3), np.float32(0.7)
WANT = {
    "first": half(X * half(A)) * B + X,
    "second": half(X * A * half(B)) + X,
    "third": half(X * A * B + X),
    "x": half(X) * A * B + half(X),
}


@pytest.mark.parametrize("only", WANT)
def test_one_layer_rounds_just_its_constants_and_results(only, tmp_path):
    assert not np.array_equal(WANT[only], X * A * B + X)
    same(run(chain(tmp_path), FEEDS, only=[only]), {"y": WANT[only]})


def test_a_constant_that_two_nodes_read_is_rounded_for_the_chosen_one(tmp_path):
    nodes = [node("Mul", ["x", "a"], ["p"], name="p"), node("Div", ["x", "a"], ["q"], name="q")]
    source = make_source(tmp_path, nodes, {"x": [1, 500]}, ["p", "q"], {"a": A})
    same(run(source, FEEDS, only=["p"]), {"p": half(X * half(A)), "q": X / A})


def scopes(*paths):
    return repr(["", *paths])


def test_blocks_are_what_holds_the_leaf_modules(tmp_path):
    """A convolution's leaf is its folded BatchNorm; what a block computes itself is its own, not its parent's."""
    found = groups(
        chain(
            tmp_path,
            first=scopes("body", "body.0", "body.0.1", "batch_norm"),
            second=scopes("body", "mul"),
            third=scopes("add"),
        )
    )
    assert found == {"(inputs)": ("x",), "body.0": ("first",), "body": ("second",), "(root)": ("third",)}


def test_a_module_at_the_top_is_a_block_and_nodes_without_module_stand_alone(tmp_path):
    assert groups(chain(tmp_path, first=scopes("head", "mul"), second="no list")) == {
        "(inputs)": ("x",), "head": ("first",), "second": ("second",), "third": ("third",),
    }  # fmt: skip


def test_a_module_stands_for_all_nodes_inside(tmp_path):
    source = chain(tmp_path, first=scopes("a", "a.0", "mul"), second=scopes("a", "a.1", "mul"), third=scopes("add"))
    same(run(source, FEEDS, only=["a"]), run(source, FEEDS, only=["first", "second"]))


def test_a_node_with_subgraphs_brings_them_along(tmp_path):
    value = onnx.helper.make_tensor_value_info
    branches = {
        key: onnx.helper.make_graph(
            [node("Mul", ["x", "a"], [f"{key}a"], name=key), node(op, [f"{key}a", "x"], [f"{key}b"], name=f"{key}2")],
            key, [], [value(f"{key}b", onnx.TensorProto.FLOAT, [1, 500])],
        )
        for key, op in (("then", "Add"), ("else", "Sub"))
    }  # fmt: skip
    nodes = [
        node("ReduceSum", ["x"], ["total"], keepdims=0),
        node("Greater", ["total", "zero"], ["test"]),
        node("If", ["test"], ["y"], then_branch=branches["then"], else_branch=branches["else"], name="fork"),
    ]
    source = make_source(tmp_path, nodes, {"x": [1, 500]}, ["y"], {"a": A, "zero": np.float32(0)})
    x = np.abs(X)
    same(run(source, {"x": x}, only=["fork"]), {"y": half(half(x * half(A)) + x)})
    same(run(source, {"x": x}, only=["then"]), {"y": half(x * half(A)) + x})


def test_chunks_are_cut_where_chosen_only(tmp_path):
    """2048 + 32 ones in fp16 steps stays 2048, in fp32 it is 2080."""
    weight = np.ones((33, 1), np.float32)
    weight[0] = 2048
    nodes = [node("MatMul", ["x", "w"], ["p"], name="p"), node("MatMul", ["x", "v"], ["q"], name="q")]
    weights = {"w": weight, "v": weight}
    source = make_source(tmp_path, nodes, {"x": [1, 33]}, ["p", "q"], weights)
    got = run(source, {"x": np.ones((1, 33), np.float32)}, "emulated-fp16:chunk1", only=["p"])
    assert (got["p"].item(), got["q"].item()) == (2048, 2080)


def test_the_choice_is_in_the_provenance_and_its_absence_is_not(tmp_path):
    source = chain(tmp_path)
    facts = engines.open("emulated-fp16", source, only=["third", "first"]).provenance
    assert json.loads(json.dumps(facts["only"])) == ["first", "third"]
    assert "only" not in engines.open("emulated-fp16", source).provenance


@pytest.mark.parametrize(
    ("name", "only", "says"),
    [
        ("emulated-fp16", ["forth"], "nothing in the graph is called 'forth'.*such as x, first"),
        ("emulated-fp16", "first", "give a list"),
        ("emulated-fp16", 3, "give a list"),
        ("emulated-tf32", ["first"], "has no option 'only'"),
    ],
)
def test_what_cannot_be_chosen_is_one_clear_error(name, only, says, tmp_path):
    with pytest.raises(EngineOptionError, match=says):
        engines.open(name, chain(tmp_path), only=only)


def test_a_typed_graph_has_chosen_already(tmp_path):
    source = make_source(tmp_path, [node("Neg", ["x"], ["y"])], {"x": [1, 4]}, ["y"], dtype="float16")
    with pytest.raises(EngineOptionError, match="says itself what is rounded"):
        engines.open("emulated-fp16", source, only=[])
