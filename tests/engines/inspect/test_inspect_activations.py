"""Ranges of activations against NumPy."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from inspect_graphs import write_graph

from engines.errors import EngineCrashed, ModelLoadError
from engines.inspect.activations import activation_ranges, inside_ranges

CUBED = "(float[3] x) => (float[3] y) { a = Mul(x, x)\n b = Mul(a, x)\n y = Mul(b, k) }"


def feed(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.array(values, np.float32)}


def test_the_largest_magnitude_over_all_frames_node_by_node(tmp_path: Path) -> None:
    path = write_graph(tmp_path, CUBED, k=1e-3)
    ranges = activation_ranges(path, [feed(1, 2, 3), feed(-80, 0, 5), feed(4, 4, 4)])
    assert [(a.tensor, a.op, a.largest) for a in ranges] == [
        ("a", "Mul", 6400), ("b", "Mul", 512000), ("y", "Mul", pytest.approx(512)),
    ]  # fmt: skip
    assert [a.headroom >= 1 for a in ranges] == [True, False, True]
    assert ranges[1].headroom == pytest.approx(65504 / 512000)


def test_what_is_not_finite_has_no_headroom(tmp_path: Path) -> None:
    (y,) = activation_ranges(write_graph(tmp_path, "(float[2] x) => (float[2] y) { y = Exp(x) }"), [feed(100, 1)])
    assert y.largest == math.inf
    assert y.headroom == 0


def test_integers_are_skipped_and_custom_operators_named(tmp_path: Path) -> None:
    path = write_graph(tmp_path, "(float[2] x) => (int64[1] y) { s = Neg(x)\n y = Shape(s) }")
    assert [a.tensor for a in activation_ranges(path, [feed(1, 2)])] == ["s"]
    assert math.isnan(activation_ranges(path, [])[0].headroom)


def test_bad_feeds_and_files_are_one_line(tmp_path: Path) -> None:
    path = write_graph(tmp_path, CUBED, k=1)
    with pytest.raises(EngineCrashed, match="ONNX Runtime failed"):
        activation_ranges(path, [{"x": np.zeros(5, np.float32)}])
    path.write_bytes(b"\x00")
    with pytest.raises(ModelLoadError):
        activation_ranges(path, [])


NORM = "(float[2,8] x) => (float[2,8] y) { y = LayerNormalization (x, w) }"


@pytest.mark.parametrize("opset", [17, 18, 21])
def test_what_is_squared_inside_a_norm_is_measured_against_numpy(tmp_path: Path, opset: int) -> None:
    path = write_graph(tmp_path, NORM, opset, w=[1.0] * 8)
    frames = [np.random.default_rng(seed).standard_normal((2, 8)).astype(np.float32) * 400 for seed in (0, 1)]
    (inside,) = inside_ranges(path, [{"x": x} for x in frames])
    squares = [(x - x.mean(-1, keepdims=True)) ** 2 for x in frames]
    assert (inside.node, inside.op, inside.step) == ("LayerNormalization #0", "LayerNormalization", "Mul")
    assert inside.largest == pytest.approx(max(square.max() for square in squares), rel=1e-5)
    assert inside.headroom == pytest.approx(65504 / inside.largest)


def test_a_sum_inside_counts_and_a_mask_of_infinity_does_not(tmp_path: Path) -> None:
    text = """(float[2,8] x) => (float[2,8] y, float[2,1] n) {
        n = ReduceL2 <axes = [-1]> (x)
        masked = Add (x, mask)
        y = Softmax (masked)
    }"""
    mask = np.zeros((2, 8), np.float32)
    mask[0, 3] = -np.inf
    norm, softmax = inside_ranges(write_graph(tmp_path, text, 13, mask=mask), [{"x": np.full((2, 8), 100, np.float32)}])
    assert (norm.node, norm.step, norm.largest) == ("ReduceL2 #0", "ReduceSum", 80000)
    assert (softmax.op, softmax.step, softmax.largest) == ("Softmax", "ReduceSum", 8)


def test_a_graph_without_composites_has_nothing_inside(tmp_path: Path) -> None:
    assert inside_ranges(write_graph(tmp_path, CUBED, k=1), [feed(1, 2, 3)]) == []
