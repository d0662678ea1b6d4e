"""Inference through the adapter: addresses, shapes, copies, failures; on fakes that compute by ONNX Runtime."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import contract_models as models
import numpy as np
import onnxruntime
import pytest
from contract_machine import Machine

import engines
from engines.errors import EngineCrashed, EngineInputError, EngineUnavailable, ModelLoadError
from engines.protocol import CaseContext, Engine, ModelSource, TensorSpec
from engines.tensorrt.autocast import modelopt_version

Boot = Callable[..., Machine]


@pytest.fixture
def plain(place: Path, tmp_path: Path) -> ModelSource:
    """An fp32 convolution."""
    return models.source(models.conv(place / "conv.onnx"), tmp_path / "cache")


@pytest.fixture
def dynamic(place: Path, tmp_path: Path) -> ModelSource:
    """The same with a dynamic batch."""
    inputs = (TensorSpec("images", ("batch", 3, 8, 12)),)
    return models.source(models.conv(place / "dynamic.onnx", batch="n"), tmp_path / "cache", inputs)


def expected(source: ModelSource, inputs: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(source.onnx), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def test_the_engine_keeps_the_protocol_and_computes_what_the_graph_does(
    machine: Machine, plain: ModelSource, tmp_path: Path
) -> None:
    engine = machine.open("trt-fp32", plain)
    assert isinstance(engine, Engine)
    assert engine.name == "trt-fp32"
    assert not engine.uses_time
    engine.start_case(CaseContext("case", tmp_path))
    engine.seek(1)
    first = engine.infer(models.images(1))
    kept = first["lines"].copy()
    second = engine.infer(models.images(2))
    np.testing.assert_array_equal(first["lines"], kept, "the next call overwrote the outputs of the last")
    np.testing.assert_array_equal(kept, expected(plain, models.images(1)))
    np.testing.assert_array_equal(second["lines"], expected(plain, models.images(2)))
    assert len(machine.record.of("IExecutionContext.set_tensor_address")) == 2  # bound once, for one shape
    assert machine.record.of("IExecutionContext.execute_async_v3") == [(4711,), (4711,)]  # the device's stream
    assert machine.device.depth == 0
    engine.close()
    engine.close()
    with pytest.raises(EngineCrashed, match="the engine is closed"):
        engine.infer(models.images(1))


def test_strided_and_read_only_inputs_are_read_as_they_are(boot: Boot, plain: ModelSource) -> None:
    engine = boot("10.13.3.9").open("trt-fp32", plain)
    images = models.images()["images"]
    strided = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    strided.flags.writeable = False
    np.testing.assert_array_equal(engine.infer({"images": strided})["lines"], engine.infer({"images": images})["lines"])


def test_shapes_change_within_the_profile_and_not_beyond(machine: Machine, dynamic: ModelSource) -> None:
    engine = machine.open("trt-fp32", dynamic, profiles={"batch": (1, 2, 4)})
    for batch in (1, 4, 4, 2):
        inputs = models.images(batch, batch)
        np.testing.assert_array_equal(engine.infer(inputs)["lines"], expected(dynamic, inputs))
    assert len(machine.record.of("IExecutionContext.set_tensor_address")) == 3 * 2
    with pytest.raises(EngineInputError) as caught:
        engine.infer(models.images(0, 5))
    assert "input 'images' is [5, 3, 8, 12], and the plan takes [1, 3, 8, 12] to [4, 3, 8, 12]" in caught.value.what
    assert "is out of range" in caught.value.what
    np.testing.assert_array_equal(engine.infer(models.images(3))["lines"], expected(dynamic, models.images(3)))


def test_inputs_that_do_not_fit_are_named(machine: Machine, plain: ModelSource) -> None:
    engine = machine.open("trt-fp32", plain)
    images = models.images()["images"]
    for text, inputs in {
        "missing inputs ['images']": {},
        "unknown inputs ['more']": {"images": images, "more": images},
        "input 'images' is float64 [1, 3, 8, 12]": {"images": images.astype(np.float64)},
        "input 'images' is float32 [1, 3, 8, 11]": {"images": images[..., :11]},
    }.items():
        with pytest.raises(EngineInputError) as caught:
            engine.infer(inputs)
        assert text in caught.value.what
        assert "trt-fp32" in caught.value.where


def test_int64_stays_int64_where_8_6_computes_int32(machine: Machine, place: Path, tmp_path: Path) -> None:
    source = models.source(
        models.counting(place / "count.onnx"), tmp_path / "cache", (TensorSpec("x", (1, 4), "int64"),), ("y",)
    )
    engine = machine.open("trt-fp32", source)
    y = engine.infer({"x": np.array([[1, -2, 3, 40]])})["y"]
    assert y.dtype == np.int64
    assert y.tolist() == [[2, -4, 6, 80]]


def test_a_failing_execution_is_a_crash_with_its_reason(machine: Machine, plain: ModelSource) -> None:
    engine = machine.open("trt-fp32", plain)
    machine.world.context_lost = True
    with pytest.raises(EngineCrashed, match="an illegal memory access was encountered") as caught:
        engine.infer(models.images())
    assert "\n" not in str(caught.value)
    assert "trtexec --loadEngine" in caught.value.remedy


def test_an_error_of_cuda_is_a_crash_too(boot: Boot, plain: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = boot("10.13.3.9")
    engine = machine.open("trt-fp32", plain)

    def lost() -> None:
        raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be ...")

    monkeypatch.setattr(machine.device, "synchronize", lost)
    with pytest.raises(EngineCrashed, match="CUDA error: unspecified launch failure") as caught:
        engine.infer(models.images())
    assert "\n" not in str(caught.value)


def test_a_context_that_cannot_be_made_is_told(boot: Boot, plain: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = boot("10.13.3.9")
    monkeypatch.setattr(machine.world, "ICudaEngine_create_execution_context", lambda engine: None)
    with pytest.raises(ModelLoadError, match="creates no execution context: is the GPU out of memory"):
        machine.open("trt-fp32", plain)


def test_a_shape_that_depends_on_data_is_told(boot: Boot, plain: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = boot("10.13.3.9")
    engine = machine.open("trt-fp32", plain)
    monkeypatch.setattr(machine.world, "IExecutionContext_get_tensor_shape", lambda context, name: (1, -1))
    with pytest.raises(ModelLoadError, match=r"depends on the data: \[1, -1\]"):
        engine.infer(models.images())


def test_a_card_that_contradicts_the_graph_is_told_before_the_build(machine: Machine, plain: ModelSource) -> None:
    with pytest.raises(ModelLoadError, match=r"\[1, 3, 8, 13\] in the card"):
        machine.open("trt-fp32", replace(plain, inputs=(TensorSpec("images", (1, 3, 8, 13)),)))
    assert "Builder.create_network" not in machine.record.names


def test_availability_names_version_and_gpu(boot: Boot, version: str) -> None:
    boot(version, (8, 7), "Orin")
    (answer,) = engines.availability("trt-fp16")
    assert answer.available
    assert answer.detail.startswith(f"TensorRT {version} on Orin, compute capability 8.7")
    assert answer.detail.endswith("with nvidia-modelopt") == (modelopt_version() is None)
    boot(version, (7, 2), "Xavier")
    assert not engines.availability("trt-tf32")[0].available
    (answer,) = engines.availability("trt-bf16")
    assert not answer.available
    assert answer.remedy


def test_a_gpu_is_chosen_by_the_name_and_must_be_one() -> None:
    from engines.tensorrt.device import _index

    assert [_index(name) for name in ("trt-fp16", "trt-fp16@cuda", "trt-fp16@cuda:3")] == [0, 0, 3]
    with pytest.raises(engines.registry.EngineOptionError, match="no device 'cpu'"):
        _index("trt-fp16@cpu")


LIBRARIES = {
    "creators": "int getCreators(void) { return 0; }",
    "self_registering": "static int here = 1;",
    "onnx_runtime": "int RegisterCustomOps(void) { return 0; }",
}


@pytest.fixture
def libraries(tmp_path: Path) -> dict[str, Path]:
    made = {}
    for name, code in LIBRARIES.items():
        made[name] = tmp_path / f"lib{name}.so"
        (tmp_path / f"{name}.c").write_text(code)
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", made[name], tmp_path / f"{name}.c"], check=True)
    return made


def test_plugin_libraries_of_the_card_are_registered_and_recorded(
    boot: Boot, plain: ModelSource, libraries: dict[str, Path], tmp_path: Path
) -> None:
    machine = boot("10.13.3.9")
    engine = machine.open("trt-fp32", replace(plain, plugins=tuple(libraries.values())))
    assert machine.record.of("IPluginRegistry.load_library") == [(str(libraries["creators"]),)]
    assert sorted(engine.provenance["plugins"]) == ["libcreators.so", "libself_registering.so"]
    assert [given[1:] for given in machine.record.of("init_libnvinfer_plugins") if given] == [("",)]
    machine.open("trt-tf32", replace(plain, plugins=tuple(libraries.values())))
    assert len(machine.record.of("IPluginRegistry.load_library")) == 1  # once per process
    for broken in (tmp_path / "absent.so", tmp_path / "creators.c"):
        with pytest.raises(ModelLoadError, match="a plugin library does not load") as caught:
            machine.open("trt-fp32", replace(plain, plugins=(broken,)))
        assert str(broken) in caught.value.where


def test_a_plugin_library_that_is_refused_is_told(boot: Boot, plain: ModelSource, libraries: dict[str, Path]) -> None:
    machine = boot("10.13.3.9")
    machine.world.registers = False
    with pytest.raises(ModelLoadError, match="does not register its plugins"):
        machine.open("trt-fp32", replace(plain, plugins=(libraries["creators"],)))


def test_the_fakes_refuse_what_the_real_bindings_refuse(machine: Machine) -> None:
    trt = machine.trt
    with pytest.raises(TypeError, match="incompatible function arguments"):
        trt.Builder()
    with pytest.raises(TypeError, match="No constructor defined"):
        trt.IBuilderConfig()
    with pytest.raises(AttributeError):
        trt.BuilderFlag.TF64  # noqa: B018  # asking is the test

    class Uninitialised(trt.ILogger):  # type: ignore[misc,name-defined]  # a generated class
        def __init__(self) -> None:
            """Forgets the base's own."""

    with pytest.raises(TypeError, match="logger must be ILogger"):
        trt.Builder(Uninitialised())


def test_an_engine_that_cannot_be_had_says_so_to_the_replay(machine: Machine, plain: ModelSource) -> None:
    with pytest.raises(EngineUnavailable):
        machine.open("trt-int8", plain)
