"""The engine computes the whole graph: every product by the chain, everything else as emulated-fp16-fused has it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import engines
from benchmarks.mma_reference import chain, element_pairs
from engines.errors import EngineOptionError, ExportError
from engines.ladder import parent_of
from engines.mma import engine as engine_module
from engines.mma.products import PRODUCTS
from engines.protocol import ModelSource, TensorSpec

pytest.importorskip("numba", reason="pip install 'trueline[mma]'")

node = helper.make_node


def source_of(
    folder: Path,
    nodes: list[onnx.NodeProto],
    outputs: list[str],
    weights: dict[str, np.ndarray],
    shape: tuple[int, ...] = (1, 4, 8, 10),
    opset: int = 18,
    dtype: str = "float32",
) -> ModelSource:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [
            numpy_helper.from_array(array.astype(dtype) if array.dtype.kind == "f" else array, name)
            for name, array in weights.items()
        ],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    path = folder / "graph.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    specs = (TensorSpec("x", shape, dtype),)
    return ModelSource("graph", folder, specs, tuple(outputs), onnx=path, cache=folder / "cache")


RNG = np.random.default_rng(0)
WEIGHTS = {
    "w1": RNG.normal(size=(8, 4, 3, 3)).astype(np.float32),
    "b1": RNG.normal(size=8).astype(np.float32),
    "dw": RNG.normal(size=(8, 1, 3, 3)).astype(np.float32),
    "w2": RNG.normal(size=(8, 3, 2, 2)).astype(np.float32),
    "m": RNG.normal(size=(20, 5)).astype(np.float32),
}
LAYERS = [
    node("Conv", ["x", "w1", "b1"], ["a"], name="first", pads=[1, 1, 1, 1]),
    node("Relu", ["a"], ["r"]),
    node("Conv", ["r", "dw"], ["d"], name="depthwise", pads=[1, 1, 1, 1], group=8),
    node("Add", ["d", "r"], ["s"]),
    node("ConvTranspose", ["s", "w2"], ["up"], name="up", strides=[2, 2]),
    node("MatMul", ["up", "m"], ["y"], name="last"),
]
FRAME = {"x": np.random.default_rng(1).normal(size=(1, 4, 8, 10)).astype(np.float32)}


@pytest.mark.parametrize("name", ["emulated-mma-fp16:hopper", "emulated-mma-bf16", "emulated-mma-tf32:ada"])
def test_random_elements_of_the_whole_network_are_scalar_chains(name, tmp_path, monkeypatch):
    seen = []

    def watched(op_type):
        def run(arithmetic, attributes, x, w, bias=None):
            out = PRODUCTS[op_type](arithmetic, attributes, x, w, *([] if bias is None else [bias]))
            seen.append((op_type, arithmetic, attributes, arithmetic.operand(x), arithmetic.operand(w), bias, out))
            return out

        return run

    monkeypatch.setattr(engine_module, "PRODUCTS", {op: watched(op) for op in PRODUCTS})
    engine = engines.open(name, source_of(tmp_path, LAYERS, ["y"], WEIGHTS))
    engine.infer(FRAME)
    assert engine.provenance["products"] == {"fp32": 1, name.split("-")[2].split(":")[0]: 3}
    assert engine.provenance["multiplications"]["fp32"] == 8 * 8 * 10 * 9
    rng = np.random.default_rng(2)
    for op_type, arithmetic, attributes, x, w, bias, out in seen:
        for _ in range(20 if arithmetic.step else 0):
            place = tuple(int(rng.integers(size)) for size in out.shape)
            want = chain(arithmetic.step, arithmetic.kind, list(element_pairs(op_type, attributes, x, w, place)))
            want = np.float32(want) + (0 if bias is None else np.float32(bias[place[1]]))
            assert out[place] == want


def test_only_the_accumulation_differs_from_the_parent(tmp_path):
    source = source_of(tmp_path, LAYERS, ["y"], WEIGHTS)
    for name in ("emulated-mma-fp16", "emulated-mma-bf16:hopper", "emulated-mma-tf32"):
        (parent, factors), engine = parent_of(name), engines.open(name, source)
        assert factors == (":".join([f"accumulation:mma-{name.split('-')[2].split(':')[0]}", *name.split(":")[1:]]),)
        got, want = engine.infer(FRAME)["y"], engines.open(parent, source).infer(FRAME)["y"]
        plain = engines.open("ort-fp32", source).infer(FRAME)["y"]
        assert np.abs(got - want).max() < np.abs(plain - want).max()


def test_results_are_those_of_its_kind_and_threads_change_none(tmp_path):
    source = source_of(tmp_path, LAYERS, ["y", "s"], WEIGHTS)
    first = engines.open("emulated-mma-fp16:turing", source, threads=1).infer(FRAME)
    second = engines.open("emulated-mma-fp16:turing", source, threads=3).infer(FRAME)
    for key, array in first.items():
        np.testing.assert_array_equal(array, second[key])
        np.testing.assert_array_equal(array, array.astype(np.float16).astype(np.float32))
    other = engines.open("emulated-mma-fp16:turing-order1-acc16", source).infer(FRAME)
    assert (other["y"] != first["y"]).any()


def test_a_typed_graph_multiplies_in_its_own_types(tmp_path):
    """Half the graph is fp16; the product behind the cast is fp32 and no tensor core's."""
    half = {key: array.astype(np.float16) for key, array in WEIGHTS.items() if key != "m"}
    nodes = [*LAYERS[:5], node("Cast", ["up"], ["wide"], to=1), node("MatMul", ["wide", "wide_m"], ["y"], name="last")]
    nodes[0] = node("Conv", ["h", "w1", "b1"], ["a"], name="first", pads=[1, 1, 1, 1])
    source = source_of(tmp_path, [node("Cast", ["x"], ["h"], to=10), *nodes], ["y"], {})
    model = onnx.load(source.onnx)
    model.graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in half.items())
    model.graph.initializer.append(numpy_helper.from_array(WEIGHTS["m"], "wide_m"))
    onnx.save(onnx.shape_inference.infer_shapes(model), source.onnx)
    engine = engines.open("emulated-mma-fp16", source)
    assert engine.provenance["products"] == {"fp16": 2, "fp32": 2}
    assert np.isfinite(engine.infer(FRAME)["y"]).all()


def test_products_inside_a_recurrent_operator_are_taken_out(tmp_path):
    weights = {"w": RNG.normal(size=(1, 12, 6)).astype(np.float32), "r": RNG.normal(size=(1, 12, 3)).astype(np.float32)}
    source = source_of(tmp_path, [node("LSTM", ["x", "w", "r"], ["y"], hidden_size=3)], ["y"], weights, (4, 1, 6))
    engine = engines.open("emulated-mma-tf32", source)
    frame = {"x": RNG.normal(size=(4, 1, 6)).astype(np.float32)}
    assert engine.provenance["products"] == {"tf32": 7}
    np.testing.assert_allclose(engine.infer(frame)["y"], engines.open("ort-fp32", source).infer(frame)["y"], atol=0.01)


def branch(name: str, nodes: list[onnx.NodeProto], output: str) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(output, 1, None)])


def test_a_product_in_a_subgraph_is_refused_by_name(tmp_path):
    inside = branch("yes", [node("MatMul", ["x", "m"], ["p"], name="hidden")], "p")
    other = branch("no", [node("MatMul", ["x", "m"], ["q"], name="hidden")], "q")
    choose = [
        node("ReduceMax", ["x"], ["top"], keepdims=0),
        node("Greater", ["top", "zero"], ["large"]),
        node("If", ["large"], ["y"], then_branch=inside, else_branch=other),
    ]
    weights = {"m": RNG.normal(size=(10, 2)).astype(np.float32), "zero": np.float32(0).reshape(())}
    with pytest.raises(ExportError, match="MatMul 'hidden' lies in a subgraph"):
        engines.open("emulated-mma-fp16", source_of(tmp_path, choose, ["y"], weights))


def test_a_subgraph_without_products_reads_what_lies_outside_of_it(tmp_path):
    choose = [
        node("MatMul", ["x", "m"], ["p"]),
        node("ReduceMax", ["p"], ["top"], keepdims=0),
        node("Greater", ["top", "zero"], ["large"]),
        node("If", ["large"], ["s"], then_branch=branch("yes", [node("Neg", ["p"], ["less"])], "less"),
             else_branch=branch("no", [node("Abs", ["p"], ["more"])], "more")),
        node("MatMul", ["s", "n"], ["y"]),
    ]  # fmt: skip
    weights = {"m": np.eye(10, dtype=np.float32), "n": np.eye(10, dtype=np.float32), "zero": np.float32(0).reshape(())}
    source = source_of(tmp_path, choose, ["y", "p"], weights)
    outputs = engines.open("emulated-mma-fp16", source).infer(FRAME)
    np.testing.assert_array_equal(outputs["y"], -outputs["p"])


@pytest.mark.parametrize(
    "made",
    [
        node("Einsum", ["x", "e"], ["y"], equation="nchw,wk->nchk"),
        node("FusedMatMul", ["x", "e"], ["y"], domain="com.microsoft"),
    ],
)
def test_an_operator_that_may_multiply_inside_is_refused(made, tmp_path):
    source = source_of(tmp_path, [made], ["y"], {"e": np.ones((10, 2), np.float32)})
    with pytest.raises(ExportError, match="may multiply inside"):
        engines.open("emulated-mma-fp16", source)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("emulated-mma-bf16:volta", {}, "volta do not multiply bf16"),
        ("emulated-mma-tf32:turing", {}, "turing do not multiply tf32"),
        ("emulated-mma-bf16:hopper-acc16", {}, "no fp16 accumulator"),
        ("emulated-mma-fp16:pascal", {}, "no variant 'pascal'"),
        ("emulated-mma-fp16:ada-hopper", {}, "'ada' and 'hopper'"),
        ("emulated-mma-fp16:ada", {"architecture": "hopper"}, "'hopper' and 'ada'"),
        ("emulated-mma-fp16:rna", {}, "no option 'operands'"),
        ("emulated-mma-tf32:every", {}, "no option 'placement'"),
        ("emulated-mma-fp16", {"order": -1}, "order -1"),
        ("emulated-mma-fp16", {"only": ["first"]}, "no option 'only'"),
    ],
)
def test_variants_that_do_not_exist_are_refused(name, options, message, tmp_path):
    with pytest.raises(EngineOptionError, match=message) as caught:
        engines.open(name, source_of(tmp_path, LAYERS, ["y"], WEIGHTS), **options)
    assert name in caught.value.where or name in str(caught.value)


def test_without_numba_the_engine_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    (answer,) = engines.availability("emulated-mma-fp16")
    assert not answer.available
    assert "trueline[mma]" in answer.remedy
