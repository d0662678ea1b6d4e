"""Quantisation inside a graph is counted, and zero points other than 0 are told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from inspect_graphs import make_graph

from engines.inspect.quantised import quantisation

TEXT = """(float[1,4] x) => (float[1,2] y) {
    q = QuantizeLinear(x, scale, zero)
    d = DequantizeLinear(q, scale, zero)
    w = DequantizeLinear(weights, scale, nought)
    y = MatMul(d, w)
}"""


def test_nodes_types_and_shifted_zero_points(tmp_path: Path) -> None:
    weights = {"scale": 0.1, "nought": np.array(0, np.int8), "weights": np.ones((4, 2), np.int8)}
    found = quantisation(make_graph(tmp_path, TEXT, 17, zero=np.array(7, np.uint8), **weights))
    assert found is not None
    assert found.counts == {"QuantizeLinear": 1, "DequantizeLinear": 2}
    assert found.shifted == ("QuantizeLinear #0", "DequantizeLinear #1")
    assert found.types == ("int8", "uint8")
    symmetric = quantisation(make_graph(tmp_path, TEXT, 17, zero=np.array(0, np.int8), **weights))
    assert symmetric is not None
    assert (symmetric.shifted, symmetric.types) == ((), ("int8",))


def test_integer_operators_count_and_a_float_graph_has_none(tmp_path: Path) -> None:
    text = "(uint8[1,4] x) => (int32[1,2] y) { y = MatMulInteger(x, w) }"
    found = quantisation(make_graph(tmp_path, text, 17, w=np.ones((4, 2), np.int8)))
    assert found is not None
    assert found.counts == {"MatMulInteger": 1}
    assert quantisation(make_graph(tmp_path, "(float[1] x) => (float[1] y) { y = Relu(x) }")) is None
