import numpy as np
import pytest
from graphs import make_source, node
from test_emulated_fp16 import conv_net

import engines

PRODUCTS = {
    "conv": (node("Conv", ["x", "w"], ["y"]), (1, 12, 5, 5), (7, 12, 3, 3)),
    "grouped": (node("Conv", ["x", "w"], ["y"], group=3), (1, 12, 5, 5), (6, 4, 3, 3)),
    "transposed": (node("ConvTranspose", ["x", "w"], ["y"]), (1, 12, 5, 5), (12, 7, 3, 3)),
    "grouped transposed": (node("ConvTranspose", ["x", "w"], ["y"], group=2), (1, 12, 5, 5), (12, 3, 3, 3)),
    "gemm": (node("Gemm", ["x", "w"], ["y"]), (5, 12), (12, 7)),
    "gemm of transposes": (node("Gemm", ["x", "w"], ["y"], transA=1, transB=1), (12, 5), (7, 12)),
    "matmul": (node("MatMul", ["x", "w"], ["y"]), (2, 5, 12), (12, 7)),
    "batched matmul": (node("MatMul", ["x", "w"], ["y"]), (2, 5, 12), (2, 12, 7)),
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_in_real_arithmetic_nothing_changes(product, tmp_path):
    """Small integers are summed exactly in any order: a wrong permutation cannot hide behind rounding."""
    made, shape, weight = PRODUCTS[product]
    random = np.random.default_rng(0)
    weights = {"w": random.integers(-9, 10, weight).astype(np.float32)}
    source = make_source(tmp_path, [made], {"x": list(shape)}, ["y"], weights)
    feeds = {"x": random.integers(-9, 10, shape).astype(np.float32)}
    engine = engines.open("emulated-reorder", source)
    assert engine.provenance["products_reordered"] == 1
    np.testing.assert_array_equal(engine.infer(feeds)["y"], engines.open("ort-fp32", source).infer(feeds)["y"])


def test_two_computed_operands_are_permuted_alike(tmp_path):
    nodes = [node("Transpose", ["x"], ["t"]), node("MatMul", ["x", "t"], ["y"])]
    source = make_source(tmp_path, nodes, {"x": [4, 9]}, ["y"])
    feeds = {"x": np.random.default_rng(1).integers(-9, 10, (4, 9)).astype(np.float32)}
    np.testing.assert_array_equal(engines.open("emulated-reorder", source).infer(feeds)["y"], feeds["x"] @ feeds["x"].T)


def test_in_fp32_only_the_last_bits_change(tmp_path):
    random = np.random.default_rng(2)
    source = conv_net(tmp_path, lambda shape: random.standard_normal(shape) / np.sqrt(np.prod(shape[1:])))
    feeds = {"x": random.standard_normal((1, 3, 16, 16)).astype(np.float32)}
    runs = [
        engines.open(name, source).infer(feeds)["r3"] for name in ("ort-fp32", "emulated-reorder", "emulated-reorder:7")
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (runs[one] != runs[other]).any(), "the order of additions did not change"
        np.testing.assert_allclose(runs[one], runs[other], rtol=1e-4, atol=1e-5)


def test_a_depthwise_convolution_has_nothing_to_permute(tmp_path):
    made = node("Conv", ["x", "w"], ["y"], group=4)
    source = make_source(tmp_path, [made], {"x": [1, 4, 5, 5]}, ["y"], {"w": np.ones((4, 1, 3, 3), np.float32)})
    assert engines.open("emulated-reorder", source).provenance["products_reordered"] == 0
