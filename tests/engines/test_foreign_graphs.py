"""ONNX files as other tools write them: names that a runtime joins, local functions, graphs an optimiser breaks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import engines
from engines.errors import ModelLoadError
from engines.protocol import ModelSource, TensorSpec

ENGINES = ("ort-fp32-none", "ort-fp32", "openvino-fp32", "emulated-fp16", "emulated-reorder")
SHAPES = {"left": (1, 2, 8), "right": (1, 8, 2)}
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
X = {
    "left": np.random.default_rng(0).integers(-4, 5, SHAPES["left"]).astype(np.float32),
    "right": np.random.default_rng(1).integers(-4, 5, SHAPES["right"]).astype(np.float32),
}
PRODUCT = X["left"] @ X["right"]


def source_of(
    folder: Path, nodes: Sequence[Any], functions: Sequence[Any] = (), domains: Sequence[str] = ()
) -> ModelSource:
    """A graph from `left` and `right` to `product`."""
    ends = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in SHAPES.items()]
    out = helper.make_tensor_value_info("product", FLOAT, (1, 2, 2))
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    graph = helper.make_graph(list(nodes), "graph", ends, [out])
    model = helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=9)
    onnx.save(model, folder / "model.onnx")
    inputs = tuple(TensorSpec(name, shape) for name, shape in SHAPES.items())
    return ModelSource("g", folder, inputs, ("product",), onnx=folder / "model.onnx", cache=folder / "cache")


def opened(name: str, source: ModelSource) -> Any:
    (answer,) = engines.availability(name)
    if not answer.available:
        pytest.skip(answer.detail)
    return engines.open(name, source)


def in_half(order: Sequence[str]) -> list[Any]:
    """left @ right in fp16 between fp32 borders, the casts in this order."""
    casts = [helper.make_node("Cast", [name], [f"half_{name}"], to=HALF) for name in order]
    product = helper.make_node("MatMul", ["half_left", "half_right"], ["half_product"])
    return [*casts, product, helper.make_node("Cast", ["half_product"], ["product"], to=FLOAT)]


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
@pytest.mark.parametrize("name", ENGINES)
def test_inputs_keep_their_names_where_a_runtime_joins_them_with_others(
    tmp_path: Path, name: str, order: tuple[str, ...]
) -> None:
    assert (opened(name, source_of(tmp_path, in_half(order))).infer(X)["product"] == PRODUCT).all()


@pytest.mark.parametrize("name", ENGINES)
def test_local_functions_run_in_every_engine(tmp_path: Path, name: str) -> None:
    inner = helper.make_function(
        "mine",
        "Inner",
        ["a", "b"],
        ["c"],
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        [helper.make_opsetid("", 17)],
    )
    outer = helper.make_function(
        "mine",
        "Outer",
        ["a", "b"],
        ["c"],
        [helper.make_node("Inner", ["a", "b"], ["c"], domain="mine")],
        [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)],
    )
    call = helper.make_node("Outer", ["left", "right"], ["product"], domain="mine")
    source = source_of(tmp_path, [call], [inner, outer], ["mine"])
    engine = opened(name, source)
    assert (engine.infer(X)["product"] == PRODUCT).all()


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_that_cannot_load_a_model_names_itself_and_the_cause(tmp_path: Path, name: str) -> None:
    source = source_of(
        tmp_path, [helper.make_node("Blub", ["left", "right"], ["product"], domain="acme")], [], ["acme"]
    )
    with pytest.raises(ModelLoadError) as caught:
        opened(name, source)
    assert "Blub" in caught.value.what
    assert name in caught.value.where
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "level"), [("ort-fp32", "all"), ("ort-fp32-basic", "basic")])
def test_a_graph_that_the_optimiser_breaks_is_told_from_a_broken_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, level: str
) -> None:
    import onnxruntime as ort

    sound, session = (
        source_of(tmp_path, [helper.make_node("MatMul", ["left", "right"], ["product"])]),
        ort.InferenceSession,
    )

    def optimiser_fails(path: str, options: Any, **rest: Any) -> Any:
        if options.graph_optimization_level != ort.GraphOptimizationLevel.ORT_DISABLE_ALL:
            raise RuntimeError("Invalid model. Node input 'mid' is not\na graph input")
        return session(path, options, **rest)

    monkeypatch.setattr(ort, "InferenceSession", optimiser_fails)
    with pytest.raises(ModelLoadError) as caught:
        engines.open(name, sound)
    assert f"graph optimisation {level!r}" in caught.value.what
    assert "Invalid model. Node input 'mid' is not; a graph input" in caught.value.what
    assert "without optimisation it loads" in caught.value.what
    assert name in caught.value.where
    assert (engines.open("ort-fp32-none", sound).infer(X)["product"] == PRODUCT).all()

    (tmp_path / "broken").mkdir()
    broken = source_of(
        tmp_path / "broken", [helper.make_node("Blub", ["left"], ["product"], domain="acme")], [], ["acme"]
    )
    with pytest.raises(ModelLoadError) as caught:
        engines.open(name, broken)
    assert "without optimisation" not in caught.value.what
