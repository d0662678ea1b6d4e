"""Stations and offsets in front of an output are found; weights behind an activation are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inspect_graphs import make_graph

from engines.inspect.constants import constants_before

HEAD = """(float[1,8] x) => (float[1,4] lines, float[1,8] score) {
    h = Relu(x)
    m = MatMul(h, w)
    c = Mul(m, scale)
    o = Add(c, base)
    lines = Reshape(o, shape)
    score = Add(h, other)
}"""


def test_offsets_add_and_scales_multiply_and_nothing_behind_an_activation_counts(tmp_path: Path) -> None:
    graph = make_graph(
        tmp_path,
        HEAD.replace("Relu(x)", "Relu(far)").replace("{", "{ far = Add(x, big)\n", 1),
        w=np.full((8, 4), 9, np.float32),
        scale=[100.3],
        base=[20.01, 40, 60, 80],
        shape=np.array([1, 4], np.int64),
        other=[500.0],
        big=[900.0],
    )
    found = {c.name: c for c in constants_before(graph, "lines")}
    assert list(found) == ["base", "scale", "w"]
    assert [found[name].adds for name in found] == [True, False, False]
    assert (found["base"].largest, found["base"].spacing) == (80, 0.0625)
    assert found["base"].loss == pytest.approx(abs(float(np.float16(20.01)) - 20.01), rel=1e-3)
    assert found["w"].loss == 0


def test_small_constants_are_not_geometry(tmp_path: Path) -> None:
    graph = make_graph(tmp_path, "(float[2] x) => (float[2] y) { y = Add(x, b) }", b=[3.9, 1.0])
    assert constants_before(graph, "y") == []
    assert [c.name for c in constants_before(graph, "y", least=3)] == ["b"]


def test_a_condition_and_an_index_are_no_values(tmp_path: Path) -> None:
    text = "(float[2] x) => (float[2] y) { c = Greater(x, limit)\n y = Where(c, x, far) }"
    graph = make_graph(tmp_path, text, limit=[700.0], far=[192.0])
    assert [c.name for c in constants_before(graph, "y")] == ["far"]
