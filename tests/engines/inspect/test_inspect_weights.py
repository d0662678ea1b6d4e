"""Denormal, lost, subnormal and overflowing weights, counted apart; and those of the published TwinLiteNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inspect_graphs import make_graph

from engines.inspect.graph import read_graph
from engines.inspect.weights import weight_facts

NODES = "(float[N] x) => (float[N] y) { z = Mul(x, w)\n y = Add(z, b) }"


def test_every_kind_of_weight_is_counted_where_it_belongs(tmp_path: Path) -> None:
    weights = [0.0, 1e-40, -1e-44, 1e-9, -2e-8, 1e-6, -6e-5, 1.0, 65504.0, -65519.0, 65520.0, 1e9]
    graph = make_graph(tmp_path, NODES, w=weights, b=[0.5])
    facts = weight_facts(graph)
    scale, _ = facts.tensors
    assert (scale.name, scale.node, scale.count, scale.largest) == ("w", "Mul #0", 12, 1e9)
    assert (scale.denormal, scale.lost, scale.subnormal, scale.overflowing) == (2, 4, 2, 2)
    assert (facts.count, facts.denormal, facts.lost) == (13, 2, 4)


def test_infinite_weights_and_nan_are_counted_apart_from_the_largest(tmp_path: Path) -> None:
    graph = make_graph(tmp_path, NODES, w=[1.0, np.inf, -np.inf, np.nan, 70000.0], b=[np.nan])
    scale, shift = weight_facts(graph).tensors
    assert (scale.infinite, scale.nan, scale.overflowing, scale.largest) == (2, 1, 1, 70000.0)
    assert (shift.infinite, shift.nan, shift.overflowing, shift.largest) == (0, 1, 0, 0.0)


def test_integers_and_unread_constants_are_no_weights(tmp_path: Path) -> None:
    graph = make_graph(
        tmp_path, "(float[2] x) => (float[2] y) { y = Reshape(x, s) }", s=np.array([2], np.int64), idle=[1e-40]
    )
    assert weight_facts(graph).tensors == ()


def test_an_eighth_of_twinlitenet_is_denormal(shared_data: Path) -> None:
    path = shared_data / "models" / "twinlitenet.onnx"
    if not path.is_file():
        pytest.skip(f"no model at {path}")
    facts = weight_facts(read_graph(path))
    assert (facts.count, facts.denormal) == (440_851, 49_786)
    assert facts.lost > facts.denormal
