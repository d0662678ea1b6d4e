"""Roundings by a compiled plan: on what it writes in a reduced type, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import engines
from engines.emulated.graph import save
from engines.emulated.pair import Watch
from engines.emulated.recipe import Recipe, read_recipe, rewrite_by_plan
from engines.errors import EngineOptionError, EngineUnavailable
from engines.ladder import parent_of
from engines.protocol import ModelSource, TensorSpec
from engines.tensorrt import wants_calibration
from tests.engines.plan.plans import layers, line, tensor

HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT
RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.standard_normal((4, 3, 1, 1)).astype(np.float16)
NORM = [
    np.float16([1.5, 0.3, 2, 1]),
    np.float16([0.1, 0, -1, 0.7]),
    np.float16([0.2, 0.3, 0, 1]),
    np.float16([1, 0.01, 3, 0.5]),
]
X, Y = "1,3,4,4", "1,4,4,4"


def half(values: Any) -> Any:
    return np.asarray(values, np.float32).astype(np.float16).astype(np.float32)


def typed(folder: Path, *, norm: bool = False) -> Path:
    """What AutoCast writes: cast, convolution (and BatchNorm), sin + exp, cast back."""
    nodes = [
        helper.make_node("Cast", ["x"], ["low"], name="down", to=HALF),
        helper.make_node("Conv", ["low", "w"], ["conv"], name="conv"),
        *([helper.make_node("BatchNormalization", ["conv", *"bcde"], ["n"], name="norm")] if norm else []),
        helper.make_node("Relu", ["n" if norm else "conv"], ["h"], name="act"),
        helper.make_node("Sin", ["h"], ["s"], name="sin"),
        helper.make_node("Tanh", ["h"], ["t"], name="tanh"),
        helper.make_node("Add", ["s", "t"], ["sum"], name="add"),
        helper.make_node("Cast", ["sum"], ["y"], name="up", to=FLOAT),
    ]
    io = (
        helper.make_tensor_value_info("x", FLOAT, [1, 3, 4, 4]),
        helper.make_tensor_value_info("y", FLOAT, [1, 4, 4, 4]),
    )
    weights = [numpy_helper.from_array(WEIGHTS, "w")]
    weights += [numpy_helper.from_array(array, name) for name, array in zip("bcde", NORM, strict=True)] if norm else []
    graph = helper.make_graph(nodes, "typed", io[:1], io[1:], weights)
    path = folder / "typed.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def plan(stored: str = "Half", *, norm: str = "") -> list[str]:
    """Three kernels; `norm`: whether BatchNorm is in the convolution's kernel or in the last one's."""
    first = ["conv", "norm", "act"] if norm == "folded" else ["conv"] if norm else ["conv", "act"]
    last = [*(["norm", "act"] if norm == "apart" else []), "sin", "tanh", "add", "up"]
    return layers(
        line("k0", "kgen", [tensor("x", X, "Float")], [tensor("p", X)], ["down"], "__myl_Cast_0x1"),
        line(
            "k1", "correlation", [tensor("p", X)], [tensor("q", Y, stored)], first, constants=[tensor("w", "4,3,1,1")]
        ),
        line(
            "k2",
            "kgen",
            [tensor("q", Y, stored)],
            [tensor("y", Y, "Float")],
            last,
            "__myl_SinTanhAddCast_0x2",
            [tensor("c", "1,4,1,1")] if norm == "apart" else [],
        ),
    )


def run(path: Path, lines: list[str], variant: str, images: Any) -> tuple[Any, dict[str, Any]]:
    model, facts = rewrite_by_plan(path, Recipe("fp16", plan=variant), lines)
    save(model, path.with_name("rewritten.onnx"))
    session = onnxruntime.InferenceSession(path.with_name("rewritten.onnx"), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": images})[0]), facts


@pytest.fixture
def images() -> Any:
    return RANDOM.standard_normal((1, 3, 4, 4)).astype(np.float32)


def convolved(images: Any) -> Any:
    """In fp32, from rounded operands; four products a sum, so the order is not seen."""
    return np.einsum("oc,bchw->bohw", WEIGHTS[:, :, 0, 0].astype(np.float32), half(images))


def test_what_a_kernel_writes_is_rounded_and_nothing_inside_it(tmp_path: Path, images: Any) -> None:
    got, facts = run(typed(tmp_path), plan(), "plan", images)
    h = half(np.maximum(convolved(images), 0))
    np.testing.assert_allclose(got, np.sin(h) + np.tanh(h), rtol=2e-6, atol=1e-6)
    assert np.abs(got - half(got)).max() > 1e-4, "the result itself is not rounded"
    assert (facts["placed_by_plan"], facts["placed_by_inference"]) == (2, 0)
    assert facts["tensors_unmapped"] == []
    assert (facts["tensors_written"], facts["tensors_made"]) == (3, 3)


def test_plan_half_rounds_inside_kernels_too(tmp_path: Path, images: Any) -> None:
    got, facts = run(typed(tmp_path), plan(), "plan-half", images)
    h = half(np.maximum(half(convolved(images)), 0))
    np.testing.assert_array_equal(got, half(half(np.sin(h)) + half(np.tanh(h))))
    assert facts["placed_by_plan"] == 2


def test_what_the_plan_writes_in_fp32_is_not_rounded(tmp_path: Path, images: Any) -> None:
    got, facts = run(typed(tmp_path), plan("Float"), "plan", images)
    h = np.maximum(convolved(images), 0)
    np.testing.assert_allclose(got, np.sin(h) + np.tanh(h), rtol=2e-6, atol=1e-6)
    assert facts["placed_by_plan"] == 1  # the input


def test_batchnorm_is_folded_where_one_kernel_has_both(tmp_path: Path, images: Any) -> None:
    got, _ = run(typed(tmp_path, norm=True), plan(norm="folded"), "plan", images)
    scale, shift, mean, variance = (array.astype(np.float64) for array in NORM)
    factor = scale / np.sqrt(variance + 1e-5)
    weights = half(WEIGHTS[:, :, 0, 0] * factor[:, None])
    bias = half(shift - mean * factor)
    h = half(np.maximum(np.einsum("oc,bchw->bohw", weights, half(images)) + bias[:, None, None], 0))
    np.testing.assert_allclose(
        got, np.sin(h) + np.tanh(h), rtol=1e-3, atol=2e-3
    )  # one unit where a tie falls otherwise
    assert np.median(np.abs(got - np.sin(h) - np.tanh(h))) < 1e-6


def test_batchnorm_apart_is_a_scale_and_a_shift_of_half_constants(tmp_path: Path, images: Any) -> None:
    got, _ = run(typed(tmp_path, norm=True), plan(norm="apart"), "plan", images)
    scale, shift, mean, variance = (array.astype(np.float64) for array in NORM)
    factor = scale / np.sqrt(variance + 1e-5)
    normed = half(convolved(images)) * half(factor)[:, None, None] + half(shift - mean * factor)[:, None, None]
    h = np.maximum(normed, 0)
    np.testing.assert_allclose(got, np.sin(h) + np.tanh(h), rtol=2e-5, atol=2e-5)


def test_a_product_that_no_kernel_names_is_placed_by_inference(tmp_path: Path, images: Any) -> None:
    lines = [text.replace("[ONNX Layer: conv]\x1f", "") for text in plan()]
    _, facts = run(typed(tmp_path), lines, "plan", images)
    assert facts["placed_by_inference"] == 1


@pytest.mark.parametrize("name", ["emulated-mma-fp16-plan", "emulated-mma-bf16-plan:hopper-order3"])
def test_tensor_cores_with_a_plans_storage(name: str, tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="pip install 'trueline[mma]'")
    source = ModelSource("m", tmp_path, (TensorSpec("x", (1, 3, 4, 4)),), ("y",), onnx=typed(tmp_path), cache=tmp_path)
    assert wants_calibration(name, source)
    parent = f"emulated-{name.split('-')[2]}:plan"
    assert parent_of(name) == (parent, (":".join([f"accumulation:mma-{name.split('-')[2]}", *name.split(":")[1:]]),))
    with pytest.raises(EngineOptionError, match="no option 'placement'"):
        engines.open(name.partition(":")[0] + ":every", source)
    (answer,) = engines.availability(name)
    if not answer.available:
        with pytest.raises(EngineUnavailable, match="TensorRT for RTX"):
            engines.open(name, source)


@pytest.mark.parametrize("name", ["emulated-fp16:plan", "emulated-bf16:plan", "emulated-fp16:plan-half"])
def test_a_plan_decides_every_placement(name: str, tmp_path: Path) -> None:
    method = "bf16" if "bf16" in name else "fp16"
    assert read_recipe(name, Recipe(method), {}).plan == name.partition(":")[2]
    for recipe, options in ((Recipe(method, fused=True), {}), (Recipe(method), {"inside": True})):
        with pytest.raises(EngineOptionError, match="takes every rounding from the plan"):
            read_recipe(name, recipe, options)
    source = ModelSource("m", tmp_path, (TensorSpec("x", (1, 3, 4, 4)),), ("y",), onnx=typed(tmp_path), cache=tmp_path)
    assert wants_calibration(name, source)
    (answer,) = engines.availability(name)
    if not answer.available:
        assert "trueline[trt-rtx]" in answer.remedy
        with pytest.raises(EngineUnavailable, match="TensorRT for RTX"):
            engines.open(name, source)


def test_tf32_leaves_no_trace_in_a_plan() -> None:
    with pytest.raises(EngineOptionError, match="has no variant 'plan'"):
        read_recipe("emulated-tf32:plan", Recipe("tf32"), {})


def test_options_of_a_plan_are_for_plans(tmp_path: Path) -> None:
    source = ModelSource("m", tmp_path, (TensorSpec("x", (1, 3, 4, 4)),), ("y",), onnx=typed(tmp_path), cache=tmp_path)
    with pytest.raises(EngineOptionError, match="has no option 'target'"):
        engines.open("emulated-fp16", source, target="sm86")


def test_by_plan_too_every_node_is_known_before_and_after_with_its_kernel_and_the_files_weights(tmp_path: Path) -> None:
    path, fp32 = typed(tmp_path), tmp_path / "fp32.onnx"
    whole = onnx.load(path)
    exact = WEIGHTS.astype(np.float32) * np.float32(1 + 1e-4)
    assert np.array_equal(half(exact), WEIGHTS.astype(np.float32))
    whole.graph.initializer[0].CopyFrom(numpy_helper.from_array(exact, "w"))
    onnx.save(whole, fp32)
    watch = Watch()
    model, facts = rewrite_by_plan(path, Recipe("fp16", plan="plan"), plan(), watch.before)
    assert watch.restore(fp32) == 1
    pair = watch.after(model, "fp16", fp32, facts)
    (weights,) = [numpy_helper.to_array(t) for t in pair.exact.graph.initializer if t.dims == [4, 3, 1, 1]]
    np.testing.assert_array_equal(weights, exact)
    assert {name: kernel[:3] for name, kernel in pair.kernels.items()}["conv"] == "001"
    assert pair.stands["h"] != "h", "written to memory in fp16"
    assert pair.stands["s"] == "s", "stays inside its kernel"
