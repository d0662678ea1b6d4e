"""Composite operators have two placements: rounded once at the end, or at every step, as when they are spelled out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

import engines
from engines.protocol import ModelSource, TensorSpec

ROWS, MAP = (4, 6, 64), (2, 4, 6, 8)


@dataclass(frozen=True)
class Pair:
    """One operator, and what an exporter without it writes instead; both give y from x, at an opset that has it."""

    one: str
    spelled: str
    shape: tuple[int, ...] = ROWS
    opset: int = 18


NORM = """
    mean = ReduceMean (x, axes)
    centred = Sub (x, mean)
    square = {square}
    variance = ReduceMean (square, axes)
    guarded = Add (variance, epsilon)
    deviation = Sqrt (guarded)
    normal = Div (centred, deviation)
    scaled = Mul (normal, w)
    y = Add (scaled, b)
"""
PAIRS = {
    "layer norm": Pair("y = LayerNormalization (x, w, b)", NORM.format(square="Mul (centred, centred)")),
    "layer norm by Pow": Pair("y = LayerNormalization (x, w, b)", NORM.format(square="Pow (centred, two)")),
    "instance norm": Pair(
        "y = InstanceNormalization (x, w, b)",
        NORM.format(square="Mul (centred, centred)")
        .replace("axes", "area")
        .replace("w)", "wc)")
        .replace(", b)", ", bc)"),
        MAP,
    ),
    "L2": Pair(
        "n = ReduceL2 (x, axes)\n y = Div (x, n)",
        "s = Mul (x, x)\n t = ReduceSum (s, axes)\n n = Sqrt (t)\n y = Div (x, n)",
    ),
    "sum of squares": Pair("y = ReduceSumSquare (x, axes)", "s = Mul (x, x)\n y = ReduceSum (s, axes)"),
    "log of sum of exponents": Pair(
        "y = ReduceLogSumExp (x, axes)", "e = Exp (x)\n s = ReduceSum (e, axes)\n y = Log (s)"
    ),
    "softmax": Pair(
        "y = Softmax (x)",
        "m = ReduceMax (x, axes)\n d = Sub (x, m)\n e = Exp (d)\n s = ReduceSum (e, axes)\n y = Div (e, s)",
    ),
    "RMS norm": Pair(
        "y = RMSNormalization (x, w)",
        "s = Mul (x, x)\n t = ReduceMean (s, axes)\n u = Add (t, epsilon)\n r = Sqrt (u)\n"
        "n = Div (x, r)\n y = Mul (n, w)",
        opset=23,
    ),
    "softplus": Pair("y = Softplus (x)", "e = Exp (x)\n m = Add (e, one)\n y = Log (m)"),
}  # fmt: skip
WEIGHTS = {
    "axes": np.array([-1], np.int64), "area": np.array([2, 3], np.int64), "epsilon": np.float32(1e-5),
    "one": np.float32(1), "two": np.float32(2),
}  # fmt: skip


def source_of(folder: Path, body: str, shape: tuple[int, ...], opset: int) -> ModelSource:
    """Both graphs of a pair have the same weights."""
    folder.mkdir()
    random = np.random.default_rng(3)
    channels = shape[1] if shape == MAP else shape[-1]
    weights = {name: (random.random(channels) + 0.5).astype(np.float32) for name in ("w", "b")}
    weights |= {f"{name}c": weights[name].reshape(-1, 1, 1) for name in ("w", "b")} | WEIGHTS
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    sizes = ",".join(map(str, shape))
    text = f'<ir_version: 10, opset_import: ["": {opset}]> g (float[{sizes}] x) => (float[] y) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    used = {name: array for name, array in weights.items() if name in words}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in used.items())
    path = folder / "graph.onnx"
    onnx.save(model, path)
    return ModelSource("graph", folder, (TensorSpec("x", shape),), ("y",), onnx=path, cache=folder / "cache")


def run(name: str, source: ModelSource, x: np.ndarray, **options: object) -> np.ndarray:
    return engines.open(name, source, threads=1, **options).infer({"x": x})["y"]


def halves(shape: tuple[int, ...], size: float) -> np.ndarray:
    x = np.random.default_rng(7).standard_normal(shape) * size
    return x.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("size", [3.0, 300.0])
@pytest.mark.parametrize("name", ["emulated-fp16", "emulated-fp16-fused", "emulated-bf16"])
def test_inside_the_node_is_the_graph_that_spells_it_out(tmp_path: Path, pair: str, size: float, name: str) -> None:
    made = PAIRS[pair]
    one = source_of(tmp_path / "one", made.one, made.shape, made.opset)
    spelled = source_of(tmp_path / "spelled", made.spelled, made.shape, made.opset)
    x = halves(made.shape, size)
    got, want = run(f"{name}:inside", one, x), run(name, spelled, x)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(run(f"{name}:inside", spelled, x), want)


@pytest.mark.parametrize("pair", ["layer norm", "instance norm", "L2", "RMS norm"])
def test_a_square_overflows_inside_and_not_at_the_end(tmp_path: Path, pair: str) -> None:
    """Values of a few hundred: every square is beyond 65504, the result is not."""
    made = PAIRS[pair]
    source = source_of(tmp_path / "one", made.one, made.shape, made.opset)
    x = halves(made.shape, 300) + 1000 * (np.arange(made.shape[-1], dtype=np.float32) % 2)
    exact = run("ort-fp32", source, x)
    np.testing.assert_allclose(run("emulated-fp16", source, x), exact, rtol=2e-3, atol=2e-3)
    inside = run("emulated-fp16:inside", source, x)
    assert np.abs(inside - exact).max() > 0.3 * np.abs(exact).max()


@pytest.mark.parametrize("opset", [17, 18, 20, 21])
def test_what_a_graph_spells_out_is_rounded_as_it_is_written(tmp_path: Path, opset: int) -> None:
    """ONNX Runtime makes one operator of it when it optimises, from opset 17 or 20 on."""
    body = PAIRS["layer norm by Pow"].spelled
    if opset == 17:
        body = body.replace("(x, axes)", "<axes = [-1]> (x)").replace("(square, axes)", "<axes = [-1]> (square)")
    body = body.replace("y = Add (scaled, b)", "z = Add (scaled, b)") + GELU
    source = source_of(tmp_path / "spelled", body, ROWS, opset)
    x = halves(ROWS, 300)
    assert engines.open("emulated-fp16", source).provenance["values_rounded"] >= 14
    np.testing.assert_array_equal(run("emulated-fp16", source, x), run("emulated-fp16:inside", source, x))
    assert np.abs(run("emulated-fp16", source, x) - run("ort-fp32", source, x)).max() > 0.3


GELU = """
    root = Constant <value = float {1.4142135}> ()
    half = Constant <value = float {0.5}> ()
    d = Div (z, root)
    e = Erf (d)
    f = Add (e, one)
    g = Mul (z, f)
    y = Mul (g, half)
"""


def test_a_typed_graph_may_be_looked_into_too(tmp_path: Path) -> None:
    """A norm of fp16 tensors computes in fp32 inside, by its stash type; spelled out it does not."""
    half = onnx.TensorProto.FLOAT16
    body = f"h = Cast <to = {half}> (x)\n n = LayerNormalization (h, w16)\n y = Cast <to = 1> (n)"
    source = source_of(tmp_path / "typed", body, ROWS, 18)
    model = onnx.load(source.onnx)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(ROWS[-1], np.float16), "w16"))
    onnx.save(model, source.onnx)
    plain = source_of(tmp_path / "plain", "y = LayerNormalization (x, w1)", ROWS, 18)
    model = onnx.load(plain.onnx)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(ROWS[-1], np.float32), "w1"))
    onnx.save(model, plain.onnx)
    for size in (3.0, 300.0):
        x = halves(ROWS, size)
        for name in ("emulated-fp16", "emulated-fp16:inside"):
            np.testing.assert_array_equal(run(name, source, x), run(name, plain, x))


def test_only_the_chosen_node_is_looked_into(tmp_path: Path) -> None:
    body = "a = Softplus (x)\n y = Softplus (a)"
    source = source_of(tmp_path / "two", body, ROWS, 18)
    model = onnx.load(source.onnx)
    for number, made in enumerate(model.graph.node):
        made.name = f"plus{number}"
    onnx.save(model, source.onnx)
    x = halves(ROWS, 8)
    first = run("emulated-fp16:inside", source, x, only=["plus0"])
    both = run("emulated-fp16:inside", source, x)
    assert np.isinf(both).any()
    np.testing.assert_array_equal(np.isinf(first), np.isinf(both) & (x > 11))
    assert np.isfinite(run("emulated-fp16:inside", source, x, only=["x"])).all()


@pytest.mark.parametrize("name", ["emulated-tf32", "emulated-reorder"])
def test_the_products_inside_attention_are_reached(tmp_path: Path, name: str) -> None:
    source = source_of(tmp_path / "one", "y = Attention (x, x, x)", (1, 2, 6, 16), 23)
    x = np.random.default_rng(8).standard_normal((1, 2, 6, 16)).astype(np.float32)
    exact, got = run("ort-fp32", source, x), run(name, source, x)
    assert engines.open(name, source).provenance["spelled_out"] == 1
    error = np.abs(got - exact).max()
    assert (1e-5 < error < 5e-3) if name == "emulated-tf32" else (0 < error < 1e-5)


@pytest.mark.parametrize("opset", [14, 22])
def test_a_recurrent_operator_is_rounded_once_or_at_every_moment(tmp_path: Path, opset: int) -> None:
    """And TF32 and another order of additions reach its products."""
    random = np.random.default_rng(9)
    source = source_of(tmp_path / "one", "h, y = LSTM <hidden_size = 8> (x, lw, lr)", (6, 1, 16), opset)
    model = onnx.load(source.onnx)
    for name, shape in (("lw", (1, 32, 16)), ("lr", (1, 32, 8))):
        array = random.standard_normal(shape).astype(np.float16).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, source.onnx)
    x = halves((6, 1, 16), 1)
    exact = run("ort-fp32", source, x)
    errors = {
        name: np.abs(run(name, source, x) - exact).max()
        for name in ("emulated-fp16", "emulated-fp16:inside", "emulated-tf32", "emulated-reorder")
    }
    assert errors["emulated-fp16"] <= 2.0**-12, "one rounding of a number below 1"
    assert errors["emulated-fp16"] < errors["emulated-fp16:inside"] < 0.05
    assert 1e-6 < errors["emulated-tf32"] < 0.01
    assert 0 < errors["emulated-reorder"] < 1e-5


def test_inside_is_a_variant_with_a_name_and_an_option(tmp_path: Path) -> None:
    source = source_of(tmp_path / "one", PAIRS["softmax"].one, ROWS, 18)
    facts = engines.open("emulated-fp16:inside", source).provenance
    assert (facts["inside"], facts["spelled_out"], facts["precision"]) == (True, 1, "emulated fp16")
    assert engines.open("emulated-fp16-fused", source, inside=True).provenance["inside"] is True
    assert engines.open("emulated-fp16", source).provenance["inside"] is False
    both = engines.open("emulated-fp16:chunk16", source, inside=True).provenance
    assert (both["chunk"], both["inside"]) == (16, True)


def test_an_older_opset_is_brought_up_for_it(tmp_path: Path) -> None:
    source = source_of(tmp_path / "one", "n = ReduceL2 <axes = [-1]> (x)\n y = Div (x, n)", ROWS, 13)
    spelled = source_of(tmp_path / "spelled", PAIRS["L2"].spelled, ROWS, 18)
    x = halves(ROWS, 300)
    np.testing.assert_array_equal(run("emulated-fp16:inside", source, x), run("emulated-fp16", spelled, x))


REAL = {
    "layer norm": ("y = LayerNormalization (x, w, b)", lambda f, x, w, b: f.layer_norm(x, w.shape, w, b)),
    "softmax": ("y = Softmax (x)", lambda f, x, w, b: f.softmax(x, -1)),
    "log softmax": ("y = LogSoftmax (x)", lambda f, x, w, b: f.log_softmax(x, -1)),
    "gelu": ("y = Gelu (x)", lambda f, x, w, b: f.gelu(x)),
}


@pytest.mark.parametrize("kernel", REAL)
def test_pytorchs_own_half_computes_in_fp32_inside(tmp_path: Path, kernel: str) -> None:
    import torch

    body, real = REAL[kernel]
    source = source_of(tmp_path / "one", body, ROWS, 20)
    x = halves(ROWS, 200 if kernel == "layer norm" else 2)
    weights = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(source.onnx).graph.initializer}
    w, b = (torch.tensor(weights.get(name, np.ones(ROWS[-1], np.float32))).half() for name in "wb")
    with np.errstate(all="ignore"):
        want = real(torch.nn.functional, torch.tensor(x).half(), w, b).float().numpy()
    whole, inside = ((run(name, source, x) == want).mean() for name in ("emulated-fp16", "emulated-fp16:inside"))
    assert whole > 0.9
    assert inside < whole - 0.05
