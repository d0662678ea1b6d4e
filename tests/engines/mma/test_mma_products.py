"""Products have ONNX's shapes and meaning, and add in the documented order."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from benchmarks.mma_reference import chain, element_pairs
from engines.mma.arithmetic import step_of
from engines.mma.chain import Arithmetic
from engines.mma.order import PAD, channels_last, padded, permuted
from engines.mma.products import PRODUCTS

pytest.importorskip("numba", reason="pip install 'trueline[mma]'")

FP32 = Arithmetic("fp32", None)
AMPERE = Arithmetic("fp16", step_of("ampere", "fp16"))


def halves(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float16).astype(np.float32)


def by_onnx_runtime(op_type: str, attributes: dict, *operands: np.ndarray) -> np.ndarray:
    import onnxruntime

    names = [f"i{n}" for n in range(len(operands))]
    infos = [helper.make_tensor_value_info(n, 1, a.shape) for n, a in zip(names, operands, strict=True)]
    graph = helper.make_graph(
        [helper.make_node(op_type, names, ["y"], **attributes)],
        "one",
        infos,
        [helper.make_empty_tensor_value_info("y")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(onnx.shape_inference.infer_shapes(model).SerializeToString())
    return session.run(None, dict(zip(names, operands, strict=True)))[0]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_convolutions_are_onnx_runtimes(data):
    draw = data.draw
    op_type = draw(st.sampled_from(["Conv", "ConvTranspose"]))
    rank, group = draw(st.sampled_from([1, 2, 2, 3])), draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = group * draw(st.integers(1, 5)), group * draw(st.integers(1, 4))
    numbers = st.lists(st.integers(1, 3), min_size=rank, max_size=rank)
    window, strides, dilations = draw(numbers), draw(numbers), draw(numbers)
    space = [draw(st.integers(7, 11)) for _ in range(rank)]
    attributes = {"group": group, "strides": strides, "dilations": dilations, "kernel_shape": window}
    auto = draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if op_type == "Conv" and auto.startswith("SAME"):
        attributes["dilations"] = [1] * rank  # ONNX Runtime takes no others there
    if auto != "NOTSET":
        attributes["auto_pad"] = auto
    else:
        attributes["pads"] = draw(st.lists(st.integers(0, 1), min_size=2 * rank, max_size=2 * rank))
    if op_type == "ConvTranspose" and auto == "NOTSET":
        attributes["output_padding"] = [draw(st.integers(0, max(0, s - 1))) for s in strides]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = halves(rng, 2, inputs, *space)
    shape = (outputs, inputs // group) if op_type == "Conv" else (inputs, outputs // group)
    w, bias = halves(rng, *shape, *window), halves(rng, outputs)
    want = by_onnx_runtime(op_type, attributes, x, w, bias)
    for arithmetic in (FP32, AMPERE):
        got = PRODUCTS[op_type](arithmetic, attributes, x, w, bias)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_an_output_shape_cuts_a_transposed_convolution():
    rng = np.random.default_rng(0)
    x, w = halves(rng, 1, 2, 5, 6), halves(rng, 2, 3, 3, 3)
    for auto in ("NOTSET", "SAME_UPPER", "SAME_LOWER"):
        attributes = {"strides": [2, 2], "output_shape": [10, 12], "auto_pad": auto}
        want = by_onnx_runtime("ConvTranspose", attributes, x, w)
        np.testing.assert_allclose(PRODUCTS["ConvTranspose"](FP32, attributes, x, w), want, atol=1e-5)


MATRICES = [
    ((3, 4), (4, 5)),
    ((2, 1, 3, 4), (3, 4, 7)),
    ((4,), (2, 4, 3)),
    ((2, 5, 4), (4,)),
    ((4,), (4,)),
    ((1, 9), (9, 1)),
]


@pytest.mark.parametrize(("left", "right"), MATRICES)
def test_matrix_products_are_numpys(left, right):
    rng = np.random.default_rng(1)
    a, b = halves(rng, *left), halves(rng, *right)
    got, want = PRODUCTS["MatMul"](AMPERE, {}, a, b), np.matmul(a, b)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("flags", [*itertools.product([0, 1], [0, 1])])
def test_gemm_transposes_scales_and_adds(flags):
    rng = np.random.default_rng(2)
    attributes = {"transA": flags[0], "transB": flags[1], "alpha": 0.5, "beta": 2.0}
    c = halves(rng, 5)
    a = halves(rng, 6, 4) if flags[0] else halves(rng, 4, 6)
    b = halves(rng, 5, 6) if flags[1] else halves(rng, 6, 5)
    want = by_onnx_runtime("Gemm", attributes, a, b, c)
    np.testing.assert_allclose(PRODUCTS["Gemm"](AMPERE, attributes, a, b, c), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("architecture", ["volta", "hopper"])
def test_every_element_is_the_scalar_chain_in_the_documented_order(op_type, architecture):
    rng, step_ = np.random.default_rng(3), step_of(architecture, "fp16")
    attributes = {"strides": [2, 2], "pads": [1, 1, 1, 1], "dilations": [1, 2], "group": 2}
    x = halves(rng, 1, 6, 7, 9)
    w = halves(rng, *((4, 3) if op_type == "Conv" else (6, 2)), 3, 3)
    out = PRODUCTS[op_type](Arithmetic("fp16", step_), attributes, x, w)
    for place in np.ndindex(out.shape):
        assert chain(step_, "fp16", list(element_pairs(op_type, attributes, x, w, place))) == out[place]


def test_another_order_is_another_sum_and_the_same_product():
    rng = np.random.default_rng(4)
    x, w = halves(rng, 1, 32, 12, 12), halves(rng, 8, 32, 3, 3)
    step_ = step_of("ampere", "fp16")
    first, again, other = (PRODUCTS["Conv"](Arithmetic("fp16", step_, seed=seed), {}, x, w) for seed in (None, 5, 6))
    assert (first != again).mean() > 0.1
    assert (other != again).mean() > 0.1
    np.testing.assert_allclose(first, again, atol=1e-3)
    np.testing.assert_array_equal(again, PRODUCTS["Conv"](Arithmetic("fp16", step_, seed=5, threads=3), {}, x, w))


def test_k_runs_over_the_window_with_channels_fastest_and_padded_to_four():
    assert channels_last(3, 2).tolist() == [0, 2, 4, PAD, 1, 3, 5, PAD]
    assert channels_last(4, 1).tolist() == [0, 1, 2, 3]
    assert padded(np.arange(5), 4).tolist() == [0, 1, 2, 3, 4, PAD, PAD, PAD]
    index = np.arange(50)
    assert sorted(permuted(index, 1)) == index.tolist()
    assert permuted(index, 1).tolist() == permuted(index, 1).tolist() != permuted(index, 2).tolist()


def test_fp32_products_are_fused_multiply_adds():
    """(1 + 2^-12)^2 - 1 - 2^-11 is 2^-24 where the product is not rounded, and 0 where it is."""
    x = np.array([[1.0, 1 + 2.0**-12]], np.float32)
    w = np.array([[-1 - 2.0**-11], [1 + 2.0**-12]], np.float32)
    assert PRODUCTS["MatMul"](FP32, {}, x, w)[0, 0] == 2.0**-24


@pytest.mark.parametrize(("rounding", "want"), [("rz", 1.0), ("rna", 1 + 2.0**-10), ("rne", 1.0)])
def test_tf32_operands_are_cut_or_rounded_first(rounding, want):
    arithmetic = Arithmetic("tf32", step_of("ampere", "tf32"), rounding)
    x = np.array([[1 + 2.0**-11]], np.float32)
    assert PRODUCTS["MatMul"](arithmetic, {}, x, np.ones((1, 1), np.float32))[0, 0] == want
