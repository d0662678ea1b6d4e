"""Dynamic dimensions of inputs, and sizes that only the data knows."""

from __future__ import annotations

from pathlib import Path

from inspect_graphs import make_graph

from engines.inspect.shapes import DynamicShape, dynamic_shapes


def test_named_axes_and_data_dependent_nodes(tmp_path: Path) -> None:
    graph = make_graph(tmp_path, "(float[N,3] x, float[2] z) => (int64[2,K] y) { y = NonZero(x) }")
    assert dynamic_shapes(graph) == [DynamicShape("x", 0, "N"), DynamicShape("NonZero #0", None, "NonZero")]


def test_fixed_shapes_are_nothing(tmp_path: Path) -> None:
    assert dynamic_shapes(make_graph(tmp_path, "(float[2] x) => (float[2] y) { y = Neg(x) }")) == []
