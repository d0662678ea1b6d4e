"""fp16 and bf16 engines against the independent executor, PyTorch's own half, and the edges of the formats."""

import numpy as np
import numpy_executor as independent
import onnx
import pytest
from graphs import make_source, node, overflow
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import engines
from engines.denormals import DenormalMode
from engines.ort_engine import open_session
from engines.protocol import ModelSource

STORE = {"emulated-fp16": independent.fp16, "emulated-fp16-fused": independent.fp16, "emulated-bf16": independent.bf16}
ULP = {"fp16": 2.0**-10, "bf16": 2.0**-7}


def run(name: str, source: ModelSource, feeds: dict[str, np.ndarray], **options: object) -> dict[str, np.ndarray]:
    engine = engines.open(name, source, threads=1, **options)
    return engine.infer(feeds)


def expected(name: str, source: ModelSource, feeds: dict[str, np.ndarray], **options: object) -> dict[str, np.ndarray]:
    """The executor's answer on the graph as ONNX Runtime folds it: constants meet in fp32 before they are rounded."""
    graph = source.onnx.with_name("basic.onnx")
    open_session(source.onnx, level="basic", threads=1, mode=DenormalMode(flush=False), save_to=graph)
    return independent.execute(graph, feeds, STORE[name], fused="fused" in name, **options)


UNARY = ["Relu", "Neg", "Abs", "LeakyRelu", "Sqrt", "Identity"]
BINARY = ["Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu"]
MOVING = {
    "Transpose": {"perm": [0, 1, 3, 2]},
    "MaxPool": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
}


@st.composite
def elementwise_graphs(draw):
    """(nodes, outputs, weights) of operators that fp32 computes well enough for one rounding to be right."""
    nodes, known, weights = [], ["x", "y"], {}
    for number in range(draw(st.integers(1, 10))):
        name = f"v{number}"
        kind = draw(st.sampled_from([*UNARY, *BINARY, "Clip", "Transpose", "MaxPool", "Where"]))
        first, second = draw(st.sampled_from(known)), draw(st.sampled_from(known))
        if kind in BINARY and draw(st.booleans()):
            second = f"w{number}"
            weights[second] = np.float32(draw(st.floats(-300, 300, width=32)))
        if kind in ("Sqrt", "Div"):  # of what is positive: what NaN does to other operators is not rounding's concern
            weights[f"{name}c"] = np.float32(0.37)
            positive = [node("Abs", [second], [f"{name}a"]), node("Add", [f"{name}a", f"{name}c"], [f"{name}p"])]
            nodes += [*positive, node(kind, [first, f"{name}p"] if kind == "Div" else [f"{name}p"], [name])]
        elif kind in UNARY:
            nodes.append(node(kind, [first], [name]))
        elif kind in MOVING:
            nodes.append(node(kind, [first], [name], **MOVING[kind]))
        elif kind == "Clip":
            weights |= {f"{name}lo": np.float32(-1.7), f"{name}hi": np.float32(draw(st.floats(0, 1e5, width=32)))}
            nodes.append(node(kind, [first, f"{name}lo", f"{name}hi"], [name]))
        elif kind == "Where":
            nodes += [node("Less", [first, second], [f"{name}c"]), node(kind, [f"{name}c", first, second], [name])]
        else:
            nodes.append(node(kind, [first, second], [name]))
        known.append(name)
    read = {name for n in nodes for name in n.input}
    return nodes, [name for name in known[2:] if name not in read] or [known[-1]], weights


@pytest.mark.parametrize("name", STORE)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(graph=elementwise_graphs(), seed=st.integers(0, 99))
def test_elementwise_graphs_agree_to_the_bit(name, tmp_path_factory, graph, seed):
    nodes, outputs, weights = graph
    source = make_source(tmp_path_factory.mktemp("g"), nodes, {"x": [1, 2, 4, 4], "y": [1, 2, 4, 4]}, outputs, weights)
    random = np.random.default_rng(seed)
    scales = 10.0 ** random.integers(-3, 4, 2)
    feeds = {
        key: (random.standard_normal((1, 2, 4, 4)) * s).astype(np.float32) for key, s in zip("xy", scales, strict=True)
    }
    want = expected(name, source, feeds, look=lambda array: assume(not np.isnan(array).any()))
    got = run(name, source, feeds, denormals="keep")
    for output in outputs:
        np.testing.assert_array_equal(got[output], want[output])


def conv_net(folder, weights_of, opset=17) -> ModelSource:
    """Strided, depthwise, transposed and 1x1 convolutions, residual, concatenation, pooling, Gemm and MatMul."""
    shapes = {
        "w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 1, 3, 3), "w3": (8, 8, 1, 1), "b3": (8,), "w4": (16, 4, 2, 2),
        "w5": (4, 5), "b5": (5,), "w6": (5, 3),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], group=8, pads=[1, 1, 1, 1]),
        node("Conv", ["c2", "w3", "b3"], ["c3"]),
        node("Add", ["c3", "r1"], ["a3"]),
        node("Relu", ["a3"], ["r3"]),
        node("Concat", ["r3", "r1"], ["k"], axis=1),
        node("ConvTranspose", ["k", "w4"], ["u"], strides=[2, 2]),
        node("MaxPool", ["u"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalMaxPool", ["m"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w5", "b5"], ["h"]),
        node("MatMul", ["h", "w6"], ["out"]),
    ]
    weights = {key: weights_of(shape).astype(np.float32) for key, shape in shapes.items()}
    return make_source(folder, nodes, {"x": [1, 3, 16, 16]}, ["out", "r3"], weights, opset=opset)


@pytest.mark.parametrize("name", STORE)
def test_small_integers_agree_to_the_bit_through_convolutions(name, tmp_path):
    random = np.random.default_rng(1)
    source = conv_net(tmp_path, lambda shape: random.integers(-1, 2, shape))
    feeds = {"x": random.integers(0, 3, (1, 3, 16, 16)).astype(np.float32)}
    got, want = run(name, source, feeds), expected(name, source, feeds)
    assert np.abs(want["r3"]).max() > 10, "the numbers say nothing"
    for output in source.outputs:
        np.testing.assert_array_equal(got[output], want[output])


@pytest.mark.parametrize("name", STORE)
def test_random_networks_agree_within_one_ulp_nearly_everywhere(name, tmp_path):
    random = np.random.default_rng(2)
    source = conv_net(tmp_path, lambda shape: random.standard_normal(shape) / np.sqrt(np.prod(shape[1:])))
    ulp = ULP["bf16" if "bf16" in name else "fp16"]
    far = count = 0
    for _ in range(10):
        feeds = {"x": random.standard_normal((1, 3, 16, 16)).astype(np.float32)}
        got, want = run(name, source, feeds), expected(name, source, feeds)
        for output in source.outputs:
            _, exponent = np.frexp(want[output])
            far += int((np.abs(got[output] - want[output]) > ulp * np.ldexp(1.0, exponent - 1)).sum())
            count += want[output].size
    assert far <= 0.01 * count


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "Exp", "Softmax", "Erf", "HardSigmoid", "Softplus", "ReduceMean"])
def test_other_operators_agree_within_one_ulp_nearly_everywhere(op, tmp_path):
    source = make_source(tmp_path, [node(op, ["x"], ["y"])], {"x": [1, 2000]}, ["y"])
    feeds = {"x": (np.random.default_rng(3).standard_normal((1, 2000)) * 3).astype(np.float32)}
    got, want = run("emulated-fp16", source, feeds)["y"], expected("emulated-fp16", source, feeds)["y"]
    _, exponent = np.frexp(want)
    np.testing.assert_array_equal(np.isinf(got), np.isinf(want))
    fits = np.isfinite(want)
    ulp = np.ldexp(2.0**-10, np.maximum(exponent - 1, -14))
    assert (np.abs(got[fits] - want[fits]) > ulp[fits]).mean() <= 0.01


@pytest.mark.parametrize("name", ["emulated-fp16", "emulated-fp16:chunk16"])
def test_an_intermediate_overflow_is_infinite(name, tmp_path):
    source = overflow(tmp_path)
    feeds = {"x": np.array([[80, 1, 28, 29]], np.float32)}
    np.testing.assert_array_equal(np.isinf(run(name, source, feeds)["y"]), [[True, False, False, True]])
    np.testing.assert_allclose(run("ort-fp32", source, feeds)["y"][0, 0], 512, rtol=1e-6)
    assert np.isfinite(run("emulated-bf16", source, feeds)["y"]).all()


def test_a_convolution_is_rounded_once_as_pytorchs_own_half_does(tmp_path):
    """Both add 576 products in fp32 and round the sum: the same bits but where the order of addition decides."""
    import torch

    random = np.random.default_rng(5)
    weights = {"w": independent.fp16(random.standard_normal((32, 64, 3, 3)) / 24)}
    source = make_source(tmp_path, [node("Conv", ["x", "w"], ["y"])], {"x": [1, 64, 16, 16]}, ["y"], weights)
    x = independent.fp16(random.standard_normal((1, 64, 16, 16)))
    real = torch.nn.functional.conv2d(torch.tensor(x).half(), torch.tensor(weights["w"]).half()).float().numpy()
    assert (run("emulated-fp16", source, {"x": x})["y"] == real).mean() > 0.99
    assert (run("emulated-fp16:chunk16", source, {"x": x})["y"] == real).mean() < 0.9


def test_the_overflow_is_where_pytorchs_own_half_has_it(tmp_path):
    """At every fp16 number: the same bits as real fp16 arithmetic, infinities and vanished numbers among them."""
    import torch

    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    x = x[np.isfinite(x)]
    nodes = [node("Mul", ["x", "eighty"], ["a"]), node("Mul", ["a", "x"], ["b"]), node("Mul", ["b", "small"], ["y"])]
    weights = {"eighty": np.float32(80), "small": np.float32(1e-3)}
    source = make_source(tmp_path, nodes, {"x": [x.size]}, ["y"], weights)
    half = torch.tensor(x)
    real = (half * 80 * half * torch.tensor(1e-3, dtype=torch.half)).float().numpy()
    assert np.isinf(real).sum() > 1000
    got = run("emulated-fp16", source, {"x": x.astype(np.float32)}, denormals="keep")["y"]
    np.testing.assert_array_equal(got, real)


def test_a_fused_kernel_keeps_what_does_not_leave_it(tmp_path):
    """The overflow lies inside one pointwise chain: fused it never is stored, so it does not happen."""
    feeds = {"x": np.full((1, 4), 80, np.float32)}
    np.testing.assert_allclose(run("emulated-fp16-fused", overflow(tmp_path), feeds)["y"], 512, rtol=1e-2)


def test_weights_that_do_not_fit_are_counted(tmp_path):
    weights = {"w": np.array([1e5, 1e-9, 1e-7, 1, 0], np.float32)}
    source = make_source(tmp_path, [node("Mul", ["x", "w"], ["y"])], {"x": [1, 5]}, ["y"], weights)
    facts = engines.open("emulated-fp16", source).provenance
    assert (facts["weights"], facts["weights_overflowed"], facts["weights_vanished"]) == (5, 1, 1)


def test_an_epsilon_below_the_format_vanishes(tmp_path):
    nodes = [node("Add", ["x", "eps"], ["s"]), node("Div", ["one", "s"], ["y"])]
    source = make_source(tmp_path, nodes, {"x": [1, 1]}, ["y"], {"eps": np.float32(1e-8), "one": np.float32(1)})
    feeds = {"x": np.zeros((1, 1), np.float32)}
    assert np.isinf(run("emulated-fp16", source, feeds)["y"])
    assert np.isfinite(run("ort-fp32", source, feeds)["y"])


def test_batch_norm_is_rounded_as_the_scale_it_becomes(tmp_path):
    """A variance of 1e-8 would vanish in fp16 and the scale grow by half; folded in fp32 it does not."""
    random = np.random.default_rng(4)
    weights = {"s": random.random(3) + 0.5, "b": random.random(3), "m": random.random(3) * 1e-3, "v": np.full(3, 1e-8)}
    weights = {key: array.astype(np.float32) for key, array in weights.items()}
    nodes = [node("Relu", ["x"], ["r"]), node("BatchNormalization", ["r", "s", "b", "m", "v"], ["y"], epsilon=1e-8)]
    source = make_source(tmp_path, nodes, {"x": [1, 3, 4, 4]}, ["y"], weights)
    feeds = {"x": (random.random((1, 3, 4, 4)) * 1e-3 + 1e-3).astype(np.float32)}
    exact = run("ort-fp32", source, feeds)["y"]
    np.testing.assert_allclose(run("emulated-fp16", source, feeds)["y"], exact, rtol=1e-2, atol=1e-2)


def test_sizes_are_not_data(tmp_path):
    """2049 is no fp16 number: as a size, computed in floats while it runs, it must stay; as data it must not."""
    weights = {
        "scales": np.array([1, 1, 3.0005, 1], np.float32),
        "axis": np.array(2, np.int64),
        "nought": np.float32(0),
        "step": np.float32(1),
        "limit": np.float32(2049),
    }
    nodes = [
        node("Resize", ["x", "", "scales"], ["big"], mode="nearest"),
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "axis"], ["rows"]),
        node("Cast", ["rows"], ["end"], to=onnx.TensorProto.FLOAT),
        node("Range", ["nought", "end", "step"], ["grid"]),
        node("Mul", ["x", "limit"], ["data"]),
    ]
    source = make_source(tmp_path, nodes, {"x": [1, 1, "n", 1]}, ["big", "grid", "data"], weights)
    outputs = run("emulated-fp16", source, {"x": np.ones((1, 1, 2049, 1), np.float32)})
    assert outputs["big"].shape == (1, 1, 6148, 1)
    assert outputs["grid"].shape == (2049,)
    assert outputs["data"].ravel()[0] == 2048


def test_subgraphs_are_rounded_too(tmp_path):
    value = onnx.helper.make_tensor_value_info
    branches = {
        key: onnx.helper.make_graph(
            [node("Mul", ["x", "c"], [f"{key}a"]), node(op, [f"{key}a", "x"], [f"{key}b"])],
            key, [], [value(f"{key}b", onnx.TensorProto.FLOAT, [1, 4])],
        )
        for key, op in (("then", "Add"), ("else", "Sub"))
    }  # fmt: skip
    nodes = [
        node("ReduceSum", ["x"], ["total"], keepdims=0),
        node("Greater", ["total", "zero"], ["test"]),
        node("If", ["test"], ["y"], then_branch=branches["then"], else_branch=branches["else"]),
    ]
    weights = {"c": np.float32(1 / 3), "zero": np.float32(0)}
    source = make_source(tmp_path, nodes, {"x": [1, 4]}, ["y"], weights)
    third = independent.fp16(np.float32(1 / 3))
    for sign in (1, -1):
        x = independent.fp16(np.array([[0.1, 0.7, 3.3, 1234]], np.float32) * sign)
        product = independent.fp16(x * third)
        want = independent.fp16(product + x if sign > 0 else product - x)
        np.testing.assert_array_equal(run("emulated-fp16", source, {"x": x})["y"], want)


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 21])
def test_every_opset_in_use_can_be_rewritten(tmp_path, opset):
    random = np.random.default_rng(5)
    source = conv_net(tmp_path, lambda shape: random.standard_normal(shape) * 0.3, opset)
    feeds = {"x": random.standard_normal((1, 3, 16, 16)).astype(np.float32)}
    exact = run("ort-fp32", source, feeds)["r3"]
    for name in ("emulated-fp16", "emulated-bf16", "emulated-tf32:rna", "emulated-fp16:chunk4", "emulated-reorder"):
        np.testing.assert_allclose(run(name, source, feeds)["r3"], exact, rtol=0.1, atol=0.1)


def test_accumulating_in_fp16_loses_what_no_longer_moves_the_sum(tmp_path):
    """2048 and 32 ones: fp16 holds 2080, but adding 1 to 2048 in fp16 gives 2048."""
    sources = []
    for kind, weight in (("MatMul", (33, 1)), ("Conv", (1, 33, 1, 1))):
        folder = tmp_path / kind
        folder.mkdir()
        shape = [1, 33] if kind == "MatMul" else [1, 33, 1, 1]
        weights = {"w": np.ones(weight, np.float32)}
        weights["w"].flat[0] = 2048
        sources.append((make_source(folder, [node(kind, ["x", "w"], ["y"])], {"x": shape}, ["y"], weights), shape))
    for source, shape in sources:
        feeds = {"x": np.ones(shape, np.float32)}
        assert run("emulated-fp16", source, feeds)["y"] == 2080
        assert run("emulated-fp16:chunk1", source, feeds)["y"] == 2048
        assert run("emulated-fp16", source, feeds, chunk=11)["y"] == 2080, "a whole chunk of ten still moves the sum"


def test_chunks_are_exact_where_fp16_is(tmp_path):
    random = np.random.default_rng(6)
    source = conv_net(tmp_path, lambda shape: random.integers(-1, 2, shape))
    feeds = {"x": random.integers(0, 3, (1, 3, 16, 16)).astype(np.float32)}
    want = expected("emulated-fp16", source, feeds)
    engine = engines.open("emulated-fp16:chunk2", source)
    assert engine.provenance["products_in_chunks"] >= 4
    for output, array in engine.infer(feeds).items():
        np.testing.assert_array_equal(array, want[output])


@pytest.mark.parametrize("name", ["emulated-fp16", "emulated-fp16-fused", "emulated-bf16"])
def test_the_error_is_that_of_pytorchs_own_half(name, shared_cards):
    """RMS error to fp32 within 1.5x of real fp16 and bf16, over many inputs."""
    from engine_models import inputs_of

    source = shared_cards("Lanes")
    real = "torch-bf16" if "bf16" in name else "torch-fp16"
    opened = {key: engines.open(key, source) for key in ("torch-fp32", real, name)}
    squares = dict.fromkeys(opened, 0.0)
    for seed in range(60):
        inputs = inputs_of(source, seed)
        lines = {key: engine.infer(inputs)["lines"] for key, engine in opened.items()}
        for key in (real, name):
            squares[key] += float(((lines[key] - lines["torch-fp32"]) ** 2).sum())
    assert 1 / 1.5 < np.sqrt(squares[name] / squares[real]) < 1.5
