"""Spelled out, a composite operator computes what its node computes; nothing of it stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from inspect_graphs import write_graph

from engines.denormals import DenormalMode
from engines.emulated.graph import load, save
from engines.inspect.composites import has_composites, spell_out
from engines.inspect.definitions import COMPOSITES
from engines.ort_engine import open_session

MAP, ROWS, QKV = "float[2,4,6,8]", "float[3,4,8]", "float[1,2,4,8]"
CASES = [
    (18, MAP, "Softmax <axis = 1> (x)"),
    (18, MAP, "LogSoftmax (x)"),
    (20, ROWS, "Gelu (x)"),
    (20, ROWS, 'Gelu <approximate = "tanh"> (x)'),
    (18, ROWS, "Mish (x)"),
    (18, ROWS, "HardSwish (x)"),
    (24, ROWS, "Swish <alpha = 1.5> (x)"),
    (24, ROWS, "Swish (x)"),
    (18, ROWS, "Softplus (x)"),
    (18, ROWS, "Celu <alpha = 2.0> (x)"),
    (18, ROWS, "LayerNormalization (x, w8)"),
    (18, ROWS, "LayerNormalization <axis = 1, epsilon = 0.1> (x, w48, b48)"),
    (23, ROWS, "RMSNormalization (x, w8)"),
    (18, MAP, "InstanceNormalization (x, w4, b4)"),
    (21, MAP, "GroupNormalization <num_groups = 2> (x, w4, b4)"),
    (18, MAP, "GroupNormalization <num_groups = 2> (x, w2, b2)"),
    (18, MAP, "MeanVarianceNormalization <axes = [0, 2, 3]> (x)"),
    (18, MAP, "LpNormalization <axis = 1> (x)"),
    (18, MAP, "LpNormalization <p = 1> (x)"),
    (18, MAP, "LRN <size = 3, alpha = 0.5, beta = 0.6, bias = 2.0> (x)"),
    (18, ROWS, "ReduceL1 (x, last)"),
    (18, ROWS, "ReduceL2 <keepdims = 0> (x, last)"),
    (18, ROWS, "ReduceL2 (x)"),
    (18, ROWS, "ReduceSumSquare (x, last)"),
    (18, ROWS, "ReduceLogSumExp <keepdims = 0> (x, last)"),
    (18, ROWS, "ReduceLogSum (size, last)"),
    (23, QKV, "Attention (x, x, x)"),
    (23, "float[1,4,16]", "Attention <q_num_heads = 2, kv_num_heads = 2, is_causal = 1> (x, x, x)"),
    (18, MAP, "BatchNormalization <training_mode = 1> (x, w4, b4, m4, v4)"),
]


def written(folder: Path, opset: int, shape: str, node: str) -> Path:
    random = np.random.default_rng(0)
    weights = {name: (random.random(size) + 0.5).astype(np.float32) for name, size in SIZES.items() if name in node}
    weights |= {"last": np.array([-1], np.int64)} if "last" in node else {}
    outputs = "y, m, v" if "training_mode" in node else "y"
    before = "size = Abs (x)\n" if "size, last" in node else ""
    return write_graph(folder, f"({shape} x) => (float[] y) {{ {before}{outputs} = {node} }}", opset, **weights)


SIZES = {"w8": 8, "w48": (4, 8), "b48": (4, 8), "w4": 4, "b4": 4, "w2": 2, "b2": 2, "m4": 4, "v4": 4}


def run(path: Path, x: np.ndarray, outputs: list[str]) -> list[np.ndarray]:
    session = open_session(path, level="none", threads=1, mode=DenormalMode(flush=False))
    return session.run(outputs, {"x": x})


@pytest.mark.parametrize(("opset", "shape", "node"), CASES)
def test_the_steps_compute_what_the_node_computes(tmp_path: Path, opset: int, shape: str, node: str) -> None:
    path = written(tmp_path, opset, shape, node)
    sizes = [d.dim_value for d in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(1).standard_normal(sizes).astype(np.float32) * 3
    model = load(path)
    assert has_composites(model)
    done = spell_out(model)
    assert len(done) >= 1
    assert len([step for spelled in done for step in spelled.steps]) >= 2
    assert not has_composites(model)
    save(model, tmp_path / "spelled.onnx")
    (got,), (want,) = run(tmp_path / "spelled.onnx", x, ["y"]), run(path, x, ["y"])
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


def test_every_composite_operator_has_a_case() -> None:
    assert {node.partition(" ")[0] for _, _, node in CASES} | {"LSTM", "GRU", "RNN"} == set(COMPOSITES)


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(folder: Path, op: str, directions: int, given: tuple[str, ...], attributes: str = "") -> Path:
    """Five moments of two sequences of three numbers, a state of four."""
    random = np.random.default_rng(4)
    gates, d = GATES[op], directions
    sizes = {"w": (d, gates * 4, 3), "r": (d, gates * 4, 4), "b": (d, gates * 8), "h": (d, 2, 4), "c": (d, 2, 4)}
    weights = {k: random.standard_normal(sizes[k]).astype(np.float32) for k in ("w", "r", *given)}
    names = ", ".join(["x", "w", "r", "b" if "b" in given else "", "", *(k for k in ("h", "c") if k in given)])
    way = {1: "forward", 2: "bidirectional"}[directions]
    outputs = "y, last, cell" if op == "LSTM" else "y, last"
    text = f'{outputs} = {op} <hidden_size = 4, direction = "{way}"{attributes}> ({names})'
    more = ", float[] last" + (", float[] cell" if op == "LSTM" else "")
    return write_graph(folder, f"(float[5,2,3] x) => (float[] y{more}) {{ {text} }}", 18, **weights)


@pytest.mark.parametrize(
    ("op", "given", "attributes"),
    [
        ("LSTM", ("b", "h", "c"), ""),
        ("LSTM", (), ""),
        ("GRU", ("b", "h"), ", linear_before_reset = 1"),
        ("GRU", ("b",), ", linear_before_reset = 1"),
        ("GRU", ("b", "h"), ""),
        ("GRU", ("b",), ""),
        ("GRU", (), ""),
        ("RNN", ("b", "h"), ""),
        ("RNN", (), ""),
    ],
)
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent_operators_are_spelled_out_moment_by_moment(
    tmp_path: Path, op: str, given: tuple[str, ...], attributes: str, directions: int
) -> None:
    path = recurrent(tmp_path, op, directions, given, attributes)
    x = np.random.default_rng(5).standard_normal((5, 2, 3)).astype(np.float32)
    model = load(path)
    assert len(spell_out(model)) == 1
    assert not has_composites(model)
    save(model, tmp_path / "spelled.onnx")
    outputs = ["y", "last", *(["cell"] if op == "LSTM" else [])]
    for got, want in zip(run(tmp_path / "spelled.onnx", x, outputs), run(path, x, outputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "attributes", [", clip = 3.0", ', activations = ["Relu", "Tanh", "Tanh"]', ", input_forget = 1"]
)
def test_an_unusual_recurrent_operator_stays(tmp_path: Path, attributes: str) -> None:
    model = load(recurrent(tmp_path, "LSTM", 1, ("b",), attributes))
    assert spell_out(model) == []
    assert has_composites(model)


def test_a_batchnorm_of_stored_statistics_is_no_composite(tmp_path: Path) -> None:
    path = written(tmp_path, 18, MAP, "BatchNormalization (x, w4, b4, m4, v4)")
    assert not has_composites(load(path))


def test_what_cannot_be_spelled_out_stays(tmp_path: Path) -> None:
    """A rank that nobody knows, and a second output that is read."""
    text = "(float[] x) => (float[] y) { y = LayerNormalization (x, w8) }"
    assert spell_out(load(write_graph(tmp_path, text, 18, w8=[1.0] * 8))) == []
    text = f"({ROWS} x) => ({ROWS} y, float[3,4,1] m) {{ y, m = LayerNormalization (x, w8) }}"
    assert spell_out(load(write_graph(tmp_path, text, 18, w8=[1.0] * 8))) == []


def test_steps_are_named_after_their_node_and_keep_its_module(tmp_path: Path) -> None:
    path = written(tmp_path, 18, ROWS, "LayerNormalization (x, w8)")
    model = load(path)
    (node,) = model.graph
    node.name, node.metadata_props["module"] = "norm_3", "encoder.norm"
    (spelled,) = spell_out(model)
    assert [step.name for step in spelled.steps][:3] == ["norm_3/ReduceMean", "norm_3/Sub", "norm_3/Mul"]
    assert {step.metadata_props["module"] for step in spelled.steps} == {"encoder.norm"}
    assert [value.name for value in model.graph.outputs] == ["y"]
