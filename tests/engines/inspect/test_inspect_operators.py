"""Operators that TensorRT lacks are told from those it has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from inspect_graphs import make_graph

from engines.inspect.operators import NEW_10, OLD_8, operator_gaps, opset_gap

KNOWN = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
UNUSUAL = {"ImageScaler", "ParametricSoftplus", "ScaledTanh", "GroupNormalization"}  # older or younger than onnx's


def gaps(tmp_path: Path, text: str, opset: int = 17, **weights: object) -> list[tuple[str, str, int]]:
    found = operator_gaps(make_graph(tmp_path, text, opset, **weights))
    return [(gap.op, gap.lacking, len(gap.nodes)) for gap in found]


def test_the_table_holds_operators_only() -> None:
    assert NEW_10 - UNUSUAL <= KNOWN
    assert len(OLD_8) < len(NEW_10) < len(KNOWN)


def test_a_common_network_has_no_gap(tmp_path: Path) -> None:
    text = "(float[1,2,4,4] x) => (float[1,2,3,3] y) { r = Relu(x)\n y = MaxPool <kernel_shape = [2,2]> (r) }"
    assert gaps(tmp_path, text) == []


def test_each_gap_is_told_once_with_all_its_nodes(tmp_path: Path) -> None:
    text = "(float[4] x) => (float[4] y) { a = acme.Warp(x)\n b = acme.Warp(a)\n c = Mish(b)\n y = Det(c) }"
    assert gaps(tmp_path, text, opset=18) == [
        ("acme::Warp", "TensorRT", 2), ("Mish", "TensorRT 8.6", 1), ("Det", "TensorRT", 1),
    ]  # fmt: skip


def test_an_operator_without_fp16(tmp_path: Path) -> None:
    text = "(float[1,8,1] x, int64 step, float[4] w) => (float[1,2,3,2] y) { y = STFT(x, step, w) }"
    assert gaps(tmp_path, text) == [("STFT", "TensorRT 8.6", 1), ("STFT", "fp16", 1)]


@pytest.mark.parametrize(
    ("node", "why"),
    [
        ('Resize <mode = "cubic"> (x, , two)', "cubic"),
        ("Resize <antialias = 1> (x, , two)", "antialiased"),
        ('Resize <keep_aspect_ratio_policy = "not_larger"> (x, , two)', "keep_aspect_ratio_policy"),
        ("ReduceMax (x, axes)", "axes that are computed"),
        ("LayerNormalization (x, scale)", None),
        ("AveragePool <kernel_shape = [1,1], dilations = [2,2]> (x)", "dilated"),
        ('Resize <mode = "linear"> (x, , two)', None),
        ("AveragePool <kernel_shape = [1,1], dilations = [1,1]> (x)", None),
    ],
)
def test_restrictions_that_the_graph_breaks(tmp_path: Path, node: str, why: str | None) -> None:
    text = f"(float[1,1,4,4] x, int64[1] axes) => (float[1,1,N,M] y) {{ y = {node} }}"
    found = operator_gaps(make_graph(tmp_path, text, 19, two=[1.0, 1, 2, 2], scale=[1.0] * 4))
    assert [why in gap.why for gap in found if why] == [True] * bool(why)
    assert bool(found) == bool(why)


def test_pooling_indices_matter_only_where_they_are_used(tmp_path: Path) -> None:
    pool = "y, i = MaxPool <kernel_shape = [2,2]> (x)"
    assert gaps(tmp_path, f"(float[1,1,4,4] x) => (float[1,1,3,3] y) {{ {pool} }}") == []
    assert gaps(tmp_path, f"(float[1,1,4,4] x) => (float[1,1,3,3] y, int64[1,1,3,3] i) {{ {pool} }}") == [
        ("MaxPool", "TensorRT", 1)
    ]


@pytest.mark.parametrize("how", ["tf_crop_and_resize", "half_pixel_symmetric"])
def test_coordinates_that_neither_tensorrt_nor_openvino_has(tmp_path: Path, how: str) -> None:
    node = f'y = Resize <coordinate_transformation_mode = "{how}"> (x, roi, two)'
    text = f"(float[1,1,4,4] x) => (float[1,1,N,M] y) {{ {node} }}"
    assert gaps(tmp_path, text, 19, two=[1.0, 1, 2, 2], roi=[0.0] * 4 + [1.0] * 4) == [
        ("Resize", "TensorRT", 1), ("Resize", "OpenVINO", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("opset", "node", "words"),
    [
        (17, "y = Relu(x)", ""),
        (18, "y = Relu(x)", "reads opset 17 and older"),
        (18, "y = ReduceMax(x, axes)", "does not see the axes of ReduceMax"),
        (18, "y = ReduceSum(x, axes)", "reads opset 17 and older"),
    ],
)
def test_an_opset_that_tensorrt_8_does_not_read(tmp_path: Path, opset: int, node: str, words: str) -> None:
    graph = make_graph(tmp_path, f"(float[2,2] x) => (float[N,2] y) {{ {node} }}", opset, axes=np.array([0], np.int64))
    assert (words in opset_gap(graph)) if words else (opset_gap(graph) == "")
    assert ("does not see" in opset_gap(graph)) == ("axes of" in words)
