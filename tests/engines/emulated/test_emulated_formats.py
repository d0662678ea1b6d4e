"""Rounding of weights, rounding in ONNX Runtime and an independent rounding agree to the bit."""

from functools import cache

import numpy as np
import numpy_executor as independent
import onnx_ir as ir
import pytest

from engines.denormals import DenormalMode
from engines.emulated.formats import FORMATS
from engines.emulated.graph import save
from engines.ort_engine import open_session

REFERENCE = {
    "fp16": independent.fp16,
    "bf16": independent.bf16,
    "tf32-rne": independent.tf32("rne"),
    "tf32-rna": independent.tf32("rna"),
    "tf32-rz": independent.tf32("rz"),
}


@cache
def hard_numbers() -> np.ndarray:
    """Every fp16 number, the ties between its kind in three formats, their neighbours, and random fp32 bits."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    halves = halves[np.isfinite(halves)]
    ordered = np.unique(halves)
    ties = (ordered[1:].astype(np.float64) + ordered[:-1]) / 2
    random = np.random.default_rng(0)
    exponents = random.integers(-100, 100, 5_000)
    tf32_ties = np.ldexp(random.integers(1 << 10, 1 << 11, 5_000) + 0.5, exponents)
    bf16_ties = np.ldexp(random.integers(1 << 7, 1 << 8, 5_000) + 0.5, exponents)
    exact = np.concatenate([halves, ties, tf32_ties, -tf32_ties, bf16_ties, [65504, 65519.99, 65520, 65536, 1e9, 0]])
    exact = exact.astype(np.float32)
    bits = random.integers(0, 1 << 32, 30_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = [np.nextafter(exact, np.float32(np.inf)), np.nextafter(exact, np.float32(-np.inf))]
    numbers = np.concatenate([exact, *near, bits]).astype(np.float32)
    return numbers[np.isfinite(numbers)]


@cache
def numbers_for(name: str) -> np.ndarray:
    """Normal numbers only: sessions flush denormals; and none that the splitting cannot take."""
    numbers = hard_numbers()
    numbers = numbers[(np.abs(numbers) >= np.finfo(np.float32).tiny) | (numbers == 0)]
    return numbers[np.abs(numbers) < 4e34] if name == "tf32-rne" else numbers


@cache
def expected(name: str) -> np.ndarray:
    return REFERENCE[name](numbers_for(name))


@pytest.mark.parametrize("name", FORMATS)
def test_weights_round_as_arithmetic_says(name):
    numbers = numbers_for(name)
    np.testing.assert_array_equal(FORMATS[name].array(numbers), expected(name))


@pytest.mark.parametrize("level", ["none", "basic", "extended", "all"])
@pytest.mark.parametrize("name", FORMATS)
def test_onnx_runtime_rounds_as_arithmetic_says_at_every_level(name, level, tmp_path):
    numbers = numbers_for(name)
    form = FORMATS[name]
    x = ir.Value(name="x", shape=ir.Shape(["n"]), type=ir.TensorType(ir.DataType.FLOAT))
    nodes = form.nodes(x)
    y = nodes[-1].outputs[0]
    y.name, y.type = "y", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([x], [y], nodes=nodes, opset_imports={"": max(form.opset, 13)}, name="rounding")
    save(ir.Model(graph, ir_version=10), tmp_path / "rounding.onnx")
    mode = DenormalMode(flush=True)
    session = open_session(tmp_path / "rounding.onnx", level=level, threads=1, mode=mode)
    with mode:
        (rounded,) = session.run(None, {"x": numbers})
    np.testing.assert_array_equal(rounded, expected(name))


@pytest.mark.parametrize("name", FORMATS)
def test_rounding_twice_is_rounding_once(name):
    once = FORMATS[name].array(numbers_for(name))
    once = once[np.abs(once) < 4e34]
    np.testing.assert_array_equal(FORMATS[name].array(once), once)


def test_fp16_keeps_subnormals_and_overflows():
    smallest = np.float32(2.0**-24)
    np.testing.assert_array_equal(FORMATS["fp16"].array(np.array([smallest, smallest * 1.5, 65520, -1e6], np.float32)),
                                  [smallest, 2 * smallest, np.inf, -np.inf])  # fmt: skip
    assert FORMATS["fp16"].array(np.array([smallest * 0.49], np.float32)) == 0
