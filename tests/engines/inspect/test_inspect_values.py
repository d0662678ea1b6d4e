"""Integers beyond int32 are told where a node computes with them, not where they only bound a Slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from inspect_graphs import make_graph

from engines.inspect.values import nodes_of_type, wide_integers

END = np.iinfo(np.int64).max
NOUGHT = np.array([0], np.int64)
SLICE = "(float[4] x) => (float[M] y)"


def whole(value: int, dtype: type = np.int64) -> np.ndarray:
    return np.array([value], dtype)


@pytest.mark.parametrize(
    ("text", "value", "wide"),
    [
        ("(int64[1] x) => (int64[1] y) { y = Add(x, big) }", whole(3_000_000_000), True),
        ("(int64[1] x) => (int64[1] y) { y = Add(x, big) }", whole(-(2**31) - 1), True),
        ("(int64[1] x) => (int64[1] y) { y = Add(x, big) }", whole(2**31 - 1), False),
        ("(uint32[1] x) => (uint32[1] y) { y = Add(x, big) }", whole(2**31, np.uint32), True),
        (f"{SLICE} {{ y = Slice(x, nought, big) }}", whole(END), False),
        (f"{SLICE} {{ axis = Constant <value = int64[1] {{0}}> ()\n"
         "s = Squeeze(big)\n e = Unsqueeze(s, axis)\n y = Slice(x, nought, e) }", whole(END), False),
        ("(float[4] x, int64[4] i) => (float[M] y, int64[4] z) { y = Slice(x, nought, big)\n z = Add(i, big) }",
         whole(END), True),
        ("(int64[1] x) => (int64[1] y) { y = Clip(x, , limit)\n limit = Squeeze(big) }", whole(END), False),
        ("(int64[1] x) => (int64[1] y) { y = Identity(big) }", whole(END), True),
    ],
)  # fmt: skip
def test_a_constant_beyond_int32_is_told_unless_it_is_a_bound(
    tmp_path: Path, text: str, value: np.ndarray, wide: bool
) -> None:
    found = wide_integers(make_graph(tmp_path, text, 17, big=value, nought=NOUGHT))
    assert [(w.name, w.value) for w in found] == [("big", int(value[0]))] * wide


def test_float64_is_told_by_the_nodes_that_compute_in_it(tmp_path: Path) -> None:
    text = "(float[1] x) => (float[1] y) { d = Cast <to = 11> (x)\n s = Add(d, c)\n y = Cast <to = 1> (s) }"
    assert nodes_of_type(make_graph(tmp_path, text, 17, c=np.array([1.0])), "float64") == ["Cast #0", "Add #1"]
    plain = "(float[1] x) => (float[1] y) { y = Add(x, c) }"
    assert nodes_of_type(make_graph(tmp_path, plain, 17, c=[1.0]), "float64", "float16", "bfloat16") == []


@pytest.mark.parametrize(("name", "code"), [("float16", 10), ("bfloat16", 16)])
def test_half_types_are_told_by_casts_and_constants(tmp_path: Path, name: str, code: int) -> None:
    text = f"(float[1] x) => (float[1] y) {{ d = Cast <to = {code}> (x)\n s = Add(d, c)\n y = Cast <to = 1> (s) }}"
    constant = np.array([1.0]).astype(onnx.helper.tensor_dtype_to_np_dtype(code))
    graph = make_graph(tmp_path, text, 17, c=constant)
    assert nodes_of_type(graph, "float16", "bfloat16") == ["Cast #0", "Add #1"]
    assert nodes_of_type(graph, name) == ["Cast #0", "Add #1"]
