"""The adapter's own way from a card to a plan, by NVIDIA's real compiler and AutoCast, without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import contract_models as models
import onnx
import pytest
from contract_bindings import ROOT
from contract_machine import rtx, rtx_here, run_with_library
from contract_rtx import NEWEST, OLDEST
from contract_zoo import dynamic, external, typed_deconvolution
from onnx import TensorProto

import engines
from engines.errors import EngineCrashed, EngineOptionError, EngineUnavailable, ModelLoadError
from engines.protocol import ModelSource, TensorSpec
from engines.registry import compile_plan
from engines.tensorrt.api import load
from engines.tensorrt.device import missing_gpu
from engines.tensorrt.kernels import read_plan_text
from engines.tensorrt.product import RTX
from engines.tensorrt.runtime import _diagnosed, load_plan
from tests.engines.test_silent import WATCH

Y = ("y",)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """TensorRT for RTX can be imported here, and in the child that builds."""
    with rtx_here(monkeypatch, NEWEST) as folder:
        yield folder


def of_graph(model: onnx.ModelProto, folder: Path, *shape: int | str, **more: Any) -> ModelSource:
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    return models.source(folder / "model.onnx", folder / "cache", (TensorSpec("x", shape),), Y, "strong", **more)


@pytest.fixture
def plain(place: Path, tmp_path: Path) -> ModelSource:
    return models.source(models.conv(place / "conv.onnx"), tmp_path / "cache")


def test_a_plan_is_built_and_found_again(library: Path, plain: ModelSource) -> None:
    made = compile_plan("trtrtx-fp32", plain, target="sm86")
    assert made.facts["target"] == "sm86"
    assert made.facts["builder_flags_cleared"] == ["TF32"]
    assert made.facts["typing"] == "strong"
    plan = read_plan_text(made.plan.layers)
    assert {"first_conv", "last_relu"} <= {node for kernel in plan.kernels for node in kernel.nodes}
    again = compile_plan("trtrtx-fp32", plain, target="sm86")
    assert again.plan == made.plan
    assert compile_plan("trtrtx-fp32", plain, target="sm89").plan.path != made.plan.path
    assert compile_plan("trtrtx-tf32", plain, target="sm86").plan.path != made.plan.path


def test_a_failed_build_names_its_nodes_and_leaves_nothing_behind(library: Path, place: Path, tmp_path: Path) -> None:
    strange = models.source(models.unheard(place / "strange.onnx"), tmp_path / "cache")
    with pytest.raises(ModelLoadError) as caught:
        compile_plan("trtrtx-fp32", strange)
    for told in ("node 'strange_1' (Unheard): ", "node 'strange_2' (Unseen): ", "Plugin not found"):
        assert told in caught.value.what
    assert "plain" not in caught.value.what
    assert "plugin library under plugins" in caught.value.remedy
    assert list((strange.cache / "tensorrt").iterdir()) == []


def test_without_a_gpu_it_builds_here_and_does_not_run(library: Path, plain: ModelSource) -> None:
    if missing_gpu() is None:
        pytest.skip("there is a GPU here")
    (answer,) = engines.availability("trtrtx-fp16")
    assert not answer.available
    assert f"TensorRT for RTX {NEWEST} builds here" in answer.detail
    assert "does not run" in answer.detail
    assert "trueline model export CARD --engine trtrtx-fp16" in answer.remedy
    with pytest.raises(EngineUnavailable, match="PyTorch"):
        engines.open("trtrtx-fp32", plain)


@pytest.mark.parametrize("target", ["sm75", "sm86", "sm120", "portable"])
def test_bf16_transposed_convolutions_are_refused_on_every_target(library: Path, tmp_path: Path, target: str) -> None:
    source = of_graph(typed_deconvolution(TensorProto.BFLOAT16), tmp_path / "card", 1, 4, 8, 12)
    expected = EngineUnavailable if target == "sm75" else ModelLoadError
    with pytest.raises(expected) as caught:
        compile_plan("trtrtx-bf16", source, target=target)
    said = "no bf16" if target == "sm75" else "cannot build it: node 'up' (ConvTranspose): "
    assert said in caught.value.what
    assert "\n" not in caught.value.what
    assert compile_plan(
        "trtrtx-fp16", of_graph(typed_deconvolution(TensorProto.FLOAT16), tmp_path / "half", 1, 4, 8, 12)
    )


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"target": "sm87"}, "has no target 'sm87'"),
        ({"timing_cache": "x"}, "has no option 'timing_cache'"),
        ({"builder_flags": ["NO_SUCH"]}, "has no builder flag 'NO_SUCH'"),
        ({"target": 86}, "'target' must be a name"),
    ],
)
def test_what_this_library_lacks_is_named(library: Path, plain: ModelSource, given: dict[str, Any], text: str) -> None:
    with pytest.raises(EngineOptionError) as caught:
        compile_plan("trtrtx-fp32", plain, **given)
    assert text in caught.value.what


def test_a_weakly_typed_card_is_refused_and_says_why(library: Path, plain: ModelSource) -> None:
    with pytest.raises(EngineUnavailable, match=r'has no FP16, which TensorRT 8 to 10 has.*fp16 = "strong"'):
        compile_plan("trtrtx-fp16", replace(plain, fp16="weak"))


def test_tensorrt_itself_builds_on_its_gpu_only(plain: ModelSource) -> None:
    with pytest.raises(EngineUnavailable, match="builds on the GPU that runs it"):
        compile_plan("trt-fp32", plain)
    with pytest.raises(EngineUnavailable, match="has no plan that is built ahead"):
        compile_plan("ort-fp32", plain)


def test_dynamic_sizes_and_weights_in_files_build(library: Path, tmp_path: Path) -> None:
    source = of_graph(dynamic(), tmp_path / "dynamic", "batch", 3, 8, 12)
    made = compile_plan("trtrtx-fp32", source, profiles={"batch": [1, 2, 4]})
    assert any(tensor.shape[0] == -1 for kernel in read_plan_text(made.plan.layers).kernels for tensor in kernel.inputs)
    outside = tmp_path / "outside"
    outside.mkdir()
    onnx.save_model(
        external(4096), outside / "model.onnx", save_as_external_data=True, location="weights", size_threshold=0
    )
    inputs = (TensorSpec("x", (1, 4096)),)
    made = compile_plan("trtrtx-fp32", models.source(outside / "model.onnx", outside / "cache", inputs, Y))
    assert read_plan_text(made.plan.layers).kernels


def test_a_build_that_is_killed_is_an_error_of_its_own(
    library: Path, plain: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr("engines.tensorrt.apart._START", killed)
    with pytest.raises(EngineCrashed, match="did not finish the build") as caught:
        compile_plan("trtrtx-fp32", plain)
    assert "signal 9 (SIGKILL), as when memory runs out" in caught.value.what


def test_no_memory_for_a_build_is_told(library: Path, plain: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    import engines.tensorrt.apart as apart

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (450 << 20,) * 2)\n"
    monkeypatch.setattr(apart, "_START", limit + apart._START)
    with pytest.raises(EngineCrashed, match=r"ran out of memory|did not finish the build"):
        compile_plan("trtrtx-fp32", plain)


BEHIND = """
import os, sys
from pathlib import Path
import contract_models as models
from engines.registry import compile_plan
folder = Path(sys.argv[1])
compile_plan("trtrtx-fp32", models.source(models.conv(folder / "conv.onnx"), folder / "cache"), target="sm86")
"""


def test_nothing_is_printed(place: Path) -> None:
    here = str(Path(__file__).parent)
    assert run_with_library(NEWEST, ["-c", f"import sys; sys.path.append({here!r})\n{BEHIND}", str(place)]) == ""


def test_nothing_is_reported_to_anybody(place: Path, tmp_path: Path) -> None:
    """Every connection and every name that is asked for would be written down, in the building child too."""
    log, home = tmp_path / "log", tmp_path / "home"
    (tmp_path / "watch.c").write_text(WATCH)
    log.touch()
    home.mkdir()
    command = ["gcc", "-shared", "-fPIC", "-o", tmp_path / "watch.so", tmp_path / "watch.c", "-ldl"]
    subprocess.run(command, check=True)
    here = str(Path(__file__).parent)
    watched = {"LD_PRELOAD": str(tmp_path / "watch.so"), "WATCH_LOG": str(log), "HOME": str(home)}
    code = f"import sys; sys.path.append({here!r})\n{BEHIND}"
    run_with_library(NEWEST, ["-c", code, str(place)], **watched)
    assert log.read_text() == ""
    assert list(home.iterdir()) == []
    run_with_library(NEWEST, ["-c", "import socket; socket.getaddrinfo('localhost', 1)"], **watched)
    assert "localhost" in log.read_text(), "the watch sees"


DIAGNOSED = {
    "VERSION_MISMATCH": f"another version than this, TensorRT for RTX {NEWEST}",
    "UNSUPPORTED_CC": "for other GPUs than this one (RTX 4090)",
    "OLD_CUDA_DRIVER": "needs a newer driver",
    "OLD_CUDA_RUNTIME": "needs a newer CUDA",
    "INSUFFICIENT_GPU_MEMORY": "needs more memory than the GPU has (RTX 4090)",
    "MALFORMED_ENGINE": f"no plan that TensorRT for RTX {NEWEST} can read, or a damaged one",
}


def test_a_plan_that_does_not_fit_is_told_by_what_the_runtime_says(library: Path) -> None:
    api = load(RTX)
    with pytest.raises(ModelLoadError, match="or a damaged one"):  # by the real runtime
        load_plan(api, b"no plan at all" * 9, "a.plan", "RTX 4090")
    bits = api.trt.EngineInvalidityDiagnostics.__members__
    assert set(DIAGNOSED) == set(bits) - {"CUDA_ERROR"}  # that one, the log tells
    for name, text in DIAGNOSED.items():
        runtime = SimpleNamespace(get_engine_validity=lambda content, bit=bits[name]: (2, int(bit)))
        error = _diagnosed(runtime, api, b"", "a.plan", "RTX 4090")
        assert error is not None
        assert text in error.what
    assert _diagnosed(SimpleNamespace(get_engine_validity=lambda content: (2, 0)), api, b"", "", "") is None


@pytest.fixture(scope="module")
def missing_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bindings alone, without what they load."""
    folder = tmp_path_factory.mktemp("bindings")
    (folder / "tensorrt_rtx_bindings").symlink_to(rtx(NEWEST) / "tensorrt_rtx_bindings")
    return folder


LOADS = """
import engines
for name in ("trtrtx-fp32", "trtrtx-bf16"):
    (answer,) = engines.availability(name)
    print(answer.available, answer.detail, answer.remedy, sep="|")
"""


def told(*places: Path) -> list[list[str]]:
    """What `trueline engines` says where Python finds these folders first."""
    found = os.pathsep.join(map(str, (*places, ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", LOADS],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": found},
    )
    return [line.split("|") for line in done.stdout.splitlines()]


def test_a_library_that_does_not_load_is_told(missing_library: Path) -> None:
    for available, detail, remedy in told(missing_library):
        assert available == "False"
        assert detail.startswith("the bindings of TensorRT for RTX do not import: libtensorrt_")
        assert "cannot open shared object file" in detail
        assert "LD_LIBRARY_PATH" in remedy


def test_bindings_of_another_python_are_told(tmp_path: Path) -> None:
    package = tmp_path / "tensorrt_rtx_bindings"
    package.mkdir()
    (package / "tensorrt_rtx.cpython-37m-x86_64-linux-gnu.so").write_bytes(b"\x7fELF")  # no suffix of this Python
    (package / "__init__.py").write_text("from .tensorrt_rtx import *\n")
    for available, detail, remedy in told(tmp_path):
        assert available == "False"
        assert "do not import: No module named 'tensorrt_rtx_bindings.tensorrt_rtx'" in detail
        assert "for this Python" in remedy


def test_bindings_of_another_version_than_the_library_are_told(tmp_path: Path) -> None:
    (tmp_path / "tensorrt_rtx_bindings").symlink_to(rtx(OLDEST) / "tensorrt_rtx_bindings")
    (tmp_path / "tensorrt_rtx_libs").symlink_to(rtx(NEWEST) / "tensorrt_rtx_libs")
    for available, detail, remedy in told(tmp_path):
        assert available == "False"
        assert detail == f"the bindings are TensorRT for RTX {OLDEST}, and the library is {NEWEST}, which crashes"
        assert "of one version" in remedy
