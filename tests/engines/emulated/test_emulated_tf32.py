import numpy as np
import numpy_executor as independent
import pytest
from graphs import make_source, node
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_emulated_fp16 import conv_net, elementwise_graphs

import engines

ROUNDINGS = ["rne", "rna", "rz"]


def run(name, source, feeds):
    return engines.open(name, source, threads=1).infer(feeds)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_product_sees_rounded_operands(rounding, tmp_path):
    """One product per output, so that rounding is all there is; the input has ties and both signs."""
    random = np.random.default_rng(0)
    x = np.ldexp(random.integers(1 << 10, 1 << 11, 500) + random.integers(0, 4, 500) / 4, -8) * random.choice(
        [-1, 1], 500
    )
    feeds = {"x": x.astype(np.float32).reshape(500, 1)}
    weights = {"w": np.float32([[1 / 3]])}
    source = make_source(tmp_path, [node("MatMul", ["x", "w"], ["y"])], {"x": [500, 1]}, ["y"], weights)
    want = independent.execute(source.onnx, feeds, operand=independent.tf32(rounding))["y"]
    np.testing.assert_array_equal(run(f"emulated-tf32:{rounding}", source, feeds)["y"], want)


def test_the_roundings_differ_only_where_they_should(tmp_path):
    weights = {"w": np.float32([[1]])}
    source = make_source(tmp_path, [node("MatMul", ["x", "w"], ["y"])], {"x": [4, 1]}, ["y"], weights)
    unit = 2.0**-10
    feeds = {"x": np.float32([[1 + unit / 2], [1 + 3 * unit / 2], [1 + 0.75 * unit], [-1 - 0.75 * unit]])}
    got = {key: ((run(f"emulated-tf32:{key}", source, feeds)["y"].ravel()) / unit) for key in ROUNDINGS}
    base = 1 / unit
    np.testing.assert_array_equal(got["rne"], [base, base + 2, base + 1, -base - 1])
    np.testing.assert_array_equal(got["rna"], [base + 1, base + 2, base + 1, -base - 1])
    np.testing.assert_array_equal(got["rz"], [base, base + 1, base, -base])
    np.testing.assert_array_equal(run("emulated-tf32", source, feeds)["y"].ravel() / unit, got["rne"])


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_networks_agree_with_the_executor(rounding, tmp_path):
    random = np.random.default_rng(1)
    source = conv_net(tmp_path, lambda shape: random.standard_normal(shape) / np.sqrt(np.prod(shape[1:])))
    feeds = {"x": random.standard_normal((1, 3, 16, 16)).astype(np.float32)}
    want = independent.execute(source.onnx, feeds, operand=independent.tf32(rounding))
    exact = run("ort-fp32", source, feeds)
    for output, array in run(f"emulated-tf32:{rounding}", source, feeds).items():
        off = np.abs(array - want[output])
        assert (off > 2.0**-10 * np.abs(want[output]) + 1e-6).mean() <= 0.01
        assert np.sqrt(np.mean(off**2)) < 0.2 * np.sqrt(np.mean((exact[output] - want[output]) ** 2))


def test_small_integers_agree_to_the_bit(tmp_path):
    random = np.random.default_rng(2)
    source = conv_net(tmp_path, lambda shape: random.integers(-1, 2, shape))
    feeds = {"x": random.integers(0, 3, (1, 3, 16, 16)).astype(np.float32)}
    exact = run("ort-fp32", source, feeds)
    for output, array in run("emulated-tf32", source, feeds).items():
        assert np.abs(exact[output]).max() < 2048
        np.testing.assert_array_equal(array, exact[output])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(graph=elementwise_graphs(), seed=st.integers(0, 99))
def test_elementwise_graphs_agree_to_the_bit_with_fp32(tmp_path_factory, graph, seed):
    nodes, outputs, weights = graph
    source = make_source(tmp_path_factory.mktemp("g"), nodes, {"x": [1, 2, 4, 4], "y": [1, 2, 4, 4]}, outputs, weights)
    random = np.random.default_rng(seed)
    feeds = {key: (random.standard_normal((1, 2, 4, 4)) * 10).astype(np.float32) for key in "xy"}
    want = independent.execute(
        source.onnx, feeds, operand=independent.tf32("rne"), look=lambda array: assume(not np.isnan(array).any())
    )
    got = engines.open("emulated-tf32", source, threads=1, denormals="keep").infer(feeds)
    for output in outputs:
        np.testing.assert_array_equal(got[output], want[output])


def test_what_is_no_product_stays_fp32(tmp_path):
    """The input goes through a product and around it: only the product sees it rounded."""
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("Add", ["x", "third"], ["y"])]
    weights = {"w": np.eye(4, dtype=np.float32), "third": np.float32(1 / 3)}
    source = make_source(tmp_path, nodes, {"x": [3, 4]}, ["p", "y"], weights)
    x = np.random.default_rng(3).standard_normal((3, 4)).astype(np.float32)
    outputs = run("emulated-tf32", source, {"x": x})
    np.testing.assert_array_equal(outputs["y"], x + np.float32(1 / 3))
    np.testing.assert_array_equal(outputs["p"], independent.tf32("rne")(x))
    assert engines.open("emulated-tf32", source).provenance["values_rounded"] == 1


def test_a_product_of_two_computed_tensors_rounds_both(tmp_path):
    nodes = [node("Transpose", ["x"], ["t"]), node("MatMul", ["x", "t"], ["y"])]
    source = make_source(tmp_path, nodes, {"x": [1, 1]}, ["y"])
    x = np.float32([[1 + 2.0**-12]])
    assert run("emulated-tf32", source, {"x": x})["y"] == 1
    assert run("ort-fp32", source, {"x": x})["y"] > 1
