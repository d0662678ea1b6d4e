"""Typed graphs run with the roundings their types demand, which ONNX Runtime alone leaves out."""

import warnings

import numpy as np
import numpy_executor as independent
import onnx
import pytest
from graphs import make_source, node, overflow
from onnx import TensorProto

import engines

HALF, BRAIN, FULL = TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT


def run(name, source, feeds):
    return engines.open(name, source, threads=1).infer(feeds)


def mixed(folder, low=HALF, opset=17):
    """An fp16 island between fp32 shores, as a mixed-precision conversion leaves it."""
    random = np.random.default_rng(0)
    kind = np.float16 if low == HALF else onnx.helper.tensor_dtype_to_np_dtype(BRAIN)
    weights = {
        "w": (random.standard_normal((8, 3, 3, 3)) * 0.3).astype(kind),
        "b": random.standard_normal(8).astype(kind),
        "big": np.float32(2049),
    }
    nodes = [
        node("Mul", ["x", "big"], ["scaled"]),
        node("Cast", ["x"], ["h"], to=low),
        node("Conv", ["h", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"]),
        node("Mul", ["r", "r"], ["q"]),
        node("Cast", ["q"], ["wide"], to=FULL),
        node("ReduceMax", ["wide"], ["top"], keepdims=1),
        node("Sub", ["wide", "top"], ["y"]),
    ]
    return make_source(folder, nodes, {"x": [1, 3, 8, 8]}, ["y", "scaled"], weights, opset=opset)


@pytest.mark.parametrize("low", [HALF, BRAIN])
@pytest.mark.parametrize("name", ["emulated-fp16", "emulated-bf16"])
def test_islands_are_rounded_and_shores_are_not(name, low, tmp_path):
    source = mixed(tmp_path, low)
    feeds = {"x": np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)}
    got, want = run(name, source, feeds), independent.execute(source.onnx, feeds)
    np.testing.assert_array_equal(got["scaled"], feeds["x"] * np.float32(2049))
    unit = np.abs(want["y"]).max() * (2.0**-10 if low == HALF else 2.0**-7)
    assert (np.abs(got["y"] - want["y"]) > unit).mean() <= 0.01
    assert engines.open(name, source).provenance["typed_graph"] is True


def test_small_integers_agree_to_the_bit(tmp_path):
    source = mixed(tmp_path)
    model = onnx.load(source.onnx)
    random = np.random.default_rng(2)
    for tensor in model.graph.initializer[:2]:
        array = random.integers(-2, 3, tensor.dims).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    onnx.save(model, source.onnx)
    feeds = {"x": random.integers(0, 4, (1, 3, 8, 8)).astype(np.float32)}
    want = independent.execute(source.onnx, feeds)
    for output, array in run("emulated-fp16", source, feeds).items():
        np.testing.assert_array_equal(array, want[output])


def test_an_overflow_that_onnx_runtime_hides_is_infinite(tmp_path):
    source = overflow(tmp_path, dtype="float16")
    feeds = {"x": np.full((1, 4), 80, np.float16)}
    assert np.isinf(run("emulated-fp16", source, feeds)["y"]).all()


def test_half_inputs_stay_half_and_outputs_are_widened(tmp_path):
    source = overflow(tmp_path, dtype="float16")
    output = run("emulated-fp16", source, {"x": np.ones((1, 4), np.float16)})["y"]
    assert output.dtype == np.float32
    np.testing.assert_array_equal(output, independent.fp16(np.full((1, 4), 80 * independent.fp16(np.float32(1e-3)))))


@pytest.mark.parametrize("name", ["emulated-tf32", "emulated-tf32:rz", "emulated-reorder", "emulated-reorder:3"])
def test_tf32_and_another_order_are_not_blamed_for_what_the_types_do(name, tmp_path):
    """They differ from ONNX Runtime, which computes the fp16 products in fp32, by their own factor only."""
    source = overflow(tmp_path, dtype="float16")
    feeds = {"x": np.full((1, 4), 80, np.float16)}
    exact = run("ort-fp32", source, feeds)["y"]
    np.testing.assert_array_equal(run(name, source, feeds)["y"], exact)
    assert np.isfinite(exact).all()


def half_island(folder, names: bool = True):
    """Convolution, Transpose, MatMul in fp16 between fp32 shores, and an fp32 MatMul behind; 300 x 300 overflows."""
    random = np.random.default_rng(5)
    weights = {
        "w": random.standard_normal((6, 3, 3, 3)).astype(np.float16),
        "m": random.standard_normal((6, 5)).astype(np.float16),
        "big": np.float16(300),
        "small": np.float32(1e-5),
        "n": random.standard_normal((5, 4)).astype(np.float32),
    }
    nodes = [
        node("Cast", ["x"], ["h"], to=HALF),
        node("Conv", ["h", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        node("Mul", ["c", "big"], ["s"]),
        node("Mul", ["s", "big"], ["o"]),
        node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
        node("MatMul", ["t", "m"], ["p"], name="half"),
        node("Cast", ["p"], ["q"], to=FULL),
        node("Cast", ["o"], ["wide"], to=FULL),
        node("Mul", ["wide", "small"], ["z"]),
        node("MatMul", ["q", "n"], ["y"], name="full"),
    ]
    if not names:
        for made in nodes:
            made.ClearField("name")
    return make_source(folder, nodes, {"x": [1, 3, 8, 8]}, ["y", "z"], weights)


@pytest.mark.parametrize("names", [True, False])
def test_a_typed_graph_reordered_is_onnx_runtime_up_to_fp32(names, tmp_path):
    source = half_island(tmp_path, names)
    feeds = {"x": np.random.default_rng(6).standard_normal((1, 3, 8, 8)).astype(np.float32)}
    exact, got = run("ort-fp32", source, feeds), run("emulated-reorder", source, feeds)
    assert np.isinf(run("emulated-fp16", source, feeds)["z"]).any()
    np.testing.assert_allclose(got["z"], exact["z"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got["y"], exact["y"], rtol=1e-4, atol=1e-4)


def test_tf32_rounds_only_what_the_file_leaves_in_fp32(tmp_path):
    source = half_island(tmp_path)
    assert engines.open("emulated-tf32", source).provenance["values_rounded"] == 1, "the operand of the fp32 product"
    feeds = {"x": np.random.default_rng(7).standard_normal((1, 3, 8, 8)).astype(np.float32)}
    np.testing.assert_array_equal(run("emulated-tf32", source, feeds)["z"], run("ort-fp32", source, feeds)["z"])


@pytest.mark.parametrize("name", ["emulated-fp16", "emulated-bf16"])
@pytest.mark.parametrize(("low", "rounding"), [(HALF, independent.fp16), (BRAIN, independent.bf16)])
def test_casts_round_every_number_to_the_bit(name, low, rounding, tmp_path):
    """Random bits, every power of two and its ties; and a second cast that has nothing left to round."""
    bits = np.random.default_rng(0).integers(0, 1 << 32, 50_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    ties = np.ldexp(1 + np.float64(2.0) ** -np.arange(7, 13), np.arange(-30, 40)[:, None]).ravel()
    exact = np.concatenate([ties, -ties, [65504, 65519.99, 65520, 3.39e38]]).astype(np.float32)
    x = np.concatenate([bits[np.isfinite(bits)], exact])
    x = x[np.abs(x) >= np.finfo(np.float32).tiny]
    nodes = [
        node("Cast", ["x"], ["h"], to=low),
        node("Cast", ["h"], ["y"], to=FULL),
        node("Cast", ["y"], ["again"], to=low),
        node("Cast", ["again"], ["same"], to=FULL),
    ]
    source = make_source(tmp_path, nodes, {"x": [x.size]}, ["y", "same"], opset=17)
    outputs = engines.open(name, source, threads=1, denormals="keep").infer({"x": x})
    np.testing.assert_array_equal(outputs["y"], rounding(x))
    np.testing.assert_array_equal(outputs["same"], rounding(x))


def test_casts_from_and_to_integers_keep_their_meaning(tmp_path):
    nodes = [
        node("Cast", ["x"], ["whole"], to=TensorProto.INT64),
        node("Cast", ["whole"], ["h"], to=HALF),
        node("CastLike", ["x", "h"], ["l"]),
        node("Add", ["h", "l"], ["s"]),
        node("Cast", ["s"], ["y"], to=FULL),
        node("Cast", ["h"], ["back"], to=TensorProto.INT32),
    ]
    source = make_source(tmp_path, nodes, {"x": [1, 3]}, ["y", "back"])
    x = np.float32([[2049.7, 3.3, -70000.5]])
    outputs = run("emulated-fp16", source, {"x": x})
    np.testing.assert_array_equal(outputs["back"][0, :2], [2048, 3])
    half = independent.fp16(np.trunc(x))
    np.testing.assert_array_equal(outputs["y"], independent.fp16(half + independent.fp16(x)))


def test_a_module_in_half_precision_is_close_to_pytorchs(shared_cards, tmp_path):
    """PyTorch's own half, exported with its types: the emulation follows it, ONNX Runtime follows fp32."""
    from dataclasses import replace

    import torch
    from engine_models import inputs_of

    from engines.torch_model import build_module

    source = shared_cards("Lanes")
    module = build_module(source).half()
    path = tmp_path / "half.onnx"
    images = torch.zeros(1, 3, 16, 24, dtype=torch.half)
    names = {"input_names": ["images"], "output_names": ["lines"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (images,), str(path), dynamo=False, opset_version=17, **names)
    typed = replace(
        source, onnx=path, inputs=tuple(replace(spec, dtype="float16") for spec in source.inputs), cache=tmp_path
    )
    real, emulated = engines.open("torch-fp16", source), engines.open("emulated-fp16", typed)
    exact = engines.open("torch-fp32", source)
    errors = np.zeros(2)
    for seed in range(30):
        inputs = inputs_of(source, seed)
        want = exact.infer(inputs)["lines"]
        half = {"images": inputs["images"].astype(np.float16)}
        for row, got in enumerate((real.infer(inputs), emulated.infer(half))):
            errors[row] += ((got["lines"] - want) ** 2).sum()
    assert 1 / 1.5 < np.sqrt(errors[1] / errors[0]) < 1.5
