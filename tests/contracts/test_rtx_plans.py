"""Plans of real models, by NVIDIA's real compiler and AutoCast: read, named, mapped, and emulated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract_bindings import ROOT
from contract_machine import modelopt_folder, rtx_here, run_with_library
from contract_rtx import NEWEST, OLDEST

import engines
from cases.synth import synth_cases
from engines.emulated.graph import load
from engines.plan.mapping import PlanMap, Written, map_plan
from engines.plan.owners import owners_of
from engines.protocol import ModelSource
from engines.registry import compile_plan
from engines.tensorrt.kernels import KernelPlan, read_plan_text
from harness.checks.check import check_model
from harness.checks.plan import plan_of_card
from harness.model.card import Card, load_card

TWINLITENET = ROOT / "examples" / "twinlitenet" / "model.toml"
ROADLINES = ROOT / "examples" / "roadlines" / "robust.toml"
SIZE = (1, 3, 360, 640)


@pytest.fixture(scope="module", autouse=True)
def tools() -> Iterator[None]:
    """The compiler and AutoCast, here and in children."""
    with pytest.MonkeyPatch.context() as patch, rtx_here(patch, NEWEST):
        patch.syspath_prepend(modelopt_folder())
        patch.setenv("PYTHONPATH", str(modelopt_folder()))
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def twinlitenet(shared_data: Path, cache: Path) -> ModelSource:
    return load_card(TWINLITENET).source(cache)


@pytest.fixture(scope="module")
def frames(cache: Path) -> Path:
    """One frame for AutoCast."""
    path = cache / "frames.npz"
    np.savez(path, images=np.random.default_rng(0).random((1, *SIZE), dtype=np.float32))
    return path


@pytest.fixture(scope="module")
def half(twinlitenet: ModelSource, frames: Path) -> tuple[KernelPlan, PlanMap]:
    """The plan of TwinLiteNet in fp16, and what it maps to."""
    made = compile_plan("trtrtx-fp16", twinlitenet, target="sm86", calibration=str(frames))
    plan, model = read_plan_text(made.plan.layers), load(made.model)
    return plan, map_plan(plan, owners_of(plan, model), model)


def named(plan: KernelPlan) -> set[str]:
    return {node for kernel in plan.kernels for node in kernel.nodes}


def test_twinlitenets_plan_names_its_nodes(twinlitenet: ModelSource, half: tuple[KernelPlan, PlanMap]) -> None:
    assert twinlitenet.onnx is not None
    nodes = {node.name for node in onnx_nodes(twinlitenet.onnx)}
    assert len(nodes) == 163
    full = read_plan_text(compile_plan("trtrtx-fp32", twinlitenet, target="sm86").plan.layers)
    for plan in (full, half[0]):
        assert plan.unread == ()
        assert len(plan.kernels) >= 90
        assert len(named(plan) & nodes) >= 145
    types = {tensor.dtype for kernel in half[0].kernels for tensor in kernel.outputs}
    assert {t.dtype for kernel in full.kernels for t in kernel.outputs} == {"Float"}
    assert types == {"Half", "Float"}


OLDER = """
import json, sys
from pathlib import Path
from engines.registry import compile_plan
from harness.model.card import load_card
made = compile_plan("trtrtx-fp32", load_card(Path(sys.argv[1])).source(Path(sys.argv[2])), target="sm86")
print(json.dumps([made.compiler, list(made.plan.layers)]))
"""


def test_an_older_librarys_plan_is_read_too(twinlitenet: ModelSource, tmp_path: Path) -> None:
    compiler, layers = json.loads(run_with_library(OLDEST, ["-c", OLDER, str(TWINLITENET), str(tmp_path)]))
    assert compiler == f"TensorRT for RTX {OLDEST}"
    plan = read_plan_text(layers)
    assert plan.unread == ()
    assert len(plan.kernels) >= 90
    assert twinlitenet.onnx is not None
    assert len(named(plan) & {node.name for node in onnx_nodes(twinlitenet.onnx)}) >= 145


def test_every_written_tensor_has_a_value_or_is_listed(half: tuple[KernelPlan, PlanMap]) -> None:
    plan, found = half
    assert len(found.written) == sum(len({t.name for t in kernel.outputs}) for kernel in plan.kernels)
    assert len(found.unmapped) <= 6
    assert {written.how for written in found.written if written.value is not None} == {"made", "copied"}


# (nodes of the kernel, shape written) -> (value, how), read off the printed plan and the graph by hand
BY_HAND = {
    ("/encoder/sample1/pool.0/Pad", (1, 4, 360, 640)): ("images_cast_to_fp16", "made"),  # 3 channels padded to 4
    ("/encoder/sample1/pool.0/Pad", (1, 3, 362, 642)): ("/encoder/sample1/pool.0/Pad_output_0", "made"),
    ("/encoder/Concat", (1, 20, 180, 320)): ("/encoder/Concat_output_0", "made"),  # 16 + 3 padded to 20
    ("/encoder/b1/act/PRelu", (1, 20, 180, 320)): ("/encoder/b1/act/PRelu_output_0", "made"),
    ("/encoder/level2_0/Add", (1, 12, 90, 160)): ("/encoder/level2_0/Add_output_0", "made"),  # with its convolution
    ("/encoder/level2_0/act/PRelu", (1, 64, 90, 160)): ("/encoder/level2_0/act/PRelu_output_0", "made"),
    ("/encoder/sc/Transpose", (1, 3600, 32)): ("/encoder/sc/Transpose_output_0", "made"),
    ("/encoder/sc/Transpose", (1, 32, 3600)): ("/encoder/sc/Reshape_output_0", "made"),
    ("/encoder/sc/Transpose", (1, 32, 45, 80)): ("/encoder/b3/act/PRelu_output_0", "made"),
    ("/encoder/sa/softmax/Softmax", (1, 3600, 3600)): ("/encoder/sa/softmax/Softmax_output_0", "made"),
    ("/encoder/sc/ReduceMax", (1, 32, 1)): ("/encoder/sc/ReduceMax_output_0", "made"),
    ("/encoder/conv_sa/act/PRelu", (1, 32, 45, 80)): ("/encoder/Add_output_0", "made"),
    ("ll_cast_to_fp32", (1, 2, 360, 640)): ("ll", "made"),
}


def test_tensors_read_off_by_hand_are_mapped_so(half: tuple[KernelPlan, PlanMap]) -> None:
    plan, found = half

    def of(node: str, shape: tuple[int, ...]) -> list[Written]:
        return [w for w in found.written if node in plan.kernels[w.kernel].nodes and w.tensor.shape == shape]

    for (node, shape), (value, how) in BY_HAND.items():
        (written,) = of(node, shape)
        assert written.value is not None, node
        assert (written.value.name, written.how) == (value, how)
    padding = [w for w in found.written if plan.kernels[w.kernel].kind == "runtime_function"]
    assert padding
    assert {w.how for w in padding} == {"copied"}


def test_names_of_tensors_would_mislead(half: tuple[KernelPlan, PlanMap]) -> None:
    _, found = half
    names = [w for w in found.written if "_output_0" in w.tensor.name]
    wrong = [w for w in names if w.value is not None and not w.tensor.name.startswith(str(w.value.name))]
    assert len(wrong) > len(names) / 2


def test_the_emulation_rounds_what_the_plan_writes(twinlitenet: ModelSource, half: Any, frames: Path) -> None:
    images = {"images": np.random.default_rng(1).random(SIZE, dtype=np.float32)}
    given = {"target": "sm86", "calibration": str(frames)}
    outputs, provenance = {}, {}
    for name, options in (
        ("ort-fp32", {}),
        ("emulated-fp16", {}),
        ("emulated-fp16:plan", given),
        ("emulated-fp16:plan-half", given),
        ("emulated-mma-fp16-plan:ampere", given),
    ):
        engine = engines.open(name, twinlitenet, **options)
        outputs[name], provenance[name] = engine.infer(images)["ll"], engine.provenance
        engine.close()
    plan = provenance["emulated-fp16:plan"]
    assert len(plan["tensors_unmapped"]) <= 6
    assert plan["placed_by_plan"] >= 80
    assert plan["placed_by_inference"] <= 6
    assert plan["values_rounded"] < provenance["emulated-fp16:plan-half"]["values_rounded"]
    cores = provenance["emulated-mma-fp16-plan:ampere"]
    assert {key: cores[key] for key in ("placed_by_plan", "values_rounded")} == {
        key: plan[key] for key in ("placed_by_plan", "values_rounded")
    }
    assert cores["products"]["fp16"] >= 50
    exact, by_cores = (outputs.pop(name) for name in ("ort-fp32", "emulated-mma-fp16-plan:ampere"))
    stored = outputs["emulated-fp16:plan"]
    assert 0 < np.sqrt(np.mean((by_cores - stored) ** 2)) < np.sqrt(np.mean((stored - exact) ** 2))
    moved = {name: float(np.sqrt(np.mean((lines - exact) ** 2))) for name, lines in outputs.items()}
    assert 0 < moved["emulated-fp16:plan"] < moved["emulated-fp16"]  # fewer roundings, and not none
    assert len(set(moved.values())) == 3


def test_bf16_builds_with_its_transposed_convolutions_in_fp32(twinlitenet: ModelSource, frames: Path) -> None:
    given = {"target": "sm86", "calibration": str(frames)}
    made = compile_plan("trtrtx-bf16", twinlitenet, keep_fp32=["ConvTranspose"], **given)
    plan = read_plan_text(made.plan.layers)
    reads = [{t.dtype for t in kernel.inputs} for kernel in plan.kernels if kernel.kind == "deconv"]
    assert len(reads) == 6
    assert {"Float"} in reads
    # the builder takes the casts around a node into its kernel: these read bf16, whatever the graph says
    assert {"BFloat16"} in reads


def onnx_nodes(path: Path) -> Any:
    import onnx

    return onnx.load(path, load_external_data=False).graph.node


@pytest.fixture(scope="module")
def roadlines(cache: Path) -> Card:
    return load_card(ROADLINES)


def test_the_demo_model_is_planned_in_fp16_on_its_own_frames(roadlines: Card, cache: Path) -> None:
    cases = synth_cases(9000, 1, 0.3, cache / "cases")
    plan = plan_of_card(roadlines, "trtrtx-fp16", target="sm86", cases=cases, cache=cache)
    assert plan["compiler"] == f"TensorRT for RTX {NEWEST}"
    assert plan["unread"] == []
    assert plan["named"] >= 0.9 * plan["nodes"]
    assert {"Half"} <= set(plan["types"].values())
    assert any(kernel["modules"] for kernel in plan["kernels"]), "the exporter's module paths"
    assert any("padded 3 to 4" in kernel["did"] for kernel in plan["kernels"])


def test_model_check_asks_the_compiler(roadlines: Card, cache: Path) -> None:
    (finding,) = [f for f in check_model(roadlines, cache) if "TensorRT for RTX" in f.what]
    assert finding.level == "ok"
    assert "builds a plan of" in finding.what
