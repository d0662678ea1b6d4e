"""How each version of TensorRT is told to build, on fakes generated from NVIDIA's bindings of that version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import contract_models as models
import pytest
from contract_machine import Machine
from onnx import TensorProto

from engines.errors import EngineError, EngineOptionError, EngineUnavailable, ModelLoadError
from engines.protocol import ModelSource, TensorSpec

Boot = Callable[..., Machine]
OLD = ["8.6.1", "10.0.1", "10.13.3.9", "10.16.1.11"]  # weakly typed
NEW = ["10.0.1", "10.13.3.9", "10.16.1.11", "11.4.0.106"]  # strongly typed


@pytest.fixture
def plain(place: Path, tmp_path: Path) -> ModelSource:
    """An fp32 convolution."""
    return models.source(models.conv(place / "conv.onnx"), tmp_path / "cache")


def flags(machine: Machine) -> tuple[set[str], set[str]]:
    """Builder flags that were set, and that were cleared."""
    on = {flag.name for (flag,) in machine.record.of("IBuilderConfig.set_flag")}
    return on, {flag.name for (flag,) in machine.record.of("IBuilderConfig.clear_flag")}


def network_flags(machine: Machine) -> set[str]:
    ((bits,),) = machine.record.of("Builder.create_network")
    return {name for name, bit in machine.trt.NetworkDefinitionCreationFlag.__members__.items() if bits >> int(bit) & 1}


def refused(machine: Machine, name: str, source: ModelSource, error: type[EngineError], **options: Any) -> EngineError:
    with pytest.raises(error) as caught:
        machine.open(name, source, **options)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    assert "Builder.build_serialized_network" not in machine.record.names
    return caught.value


def test_fp32_clears_tf32_and_sets_nothing(machine: Machine, plain: ModelSource) -> None:
    engine = machine.open("trt-fp32", plain)
    assert flags(machine) == (set(), {"TF32"})
    assert engine.provenance["builder_flags_cleared"] == ["TF32"]
    assert engine.provenance["typing"] == ("weak" if machine.major <= 10 else "strong")
    assert network_flags(machine) == ({"EXPLICIT_BATCH"} if machine.major == 8 else set())


def test_tf32_says_so_and_needs_a_gpu_that_has_it(boot: Boot, plain: ModelSource, version: str) -> None:
    machine = boot(version)
    machine.open("trt-tf32", plain)
    assert flags(machine) == ({"TF32"}, set())
    error = refused(boot(version, (7, 5)), "trt-tf32", plain, EngineUnavailable)
    assert error.what == "a GPU of compute capability 7.5 has no tf32"


@pytest.mark.parametrize("version", OLD)
def test_weak_fp16_is_a_builder_flag_and_leaves_tf32_as_trtexec_does(machine: Machine, plain: ModelSource) -> None:
    engine = machine.open("trt-fp16", plain)
    assert flags(machine) == ({"FP16", "TF32"}, set())
    assert engine.provenance["typing"] == "weak"
    assert "STRONGLY_TYPED" not in network_flags(machine)


@pytest.mark.parametrize("version", OLD)
def test_tf32_can_be_taken_from_an_fp16_build(machine: Machine, plain: ModelSource) -> None:
    machine.open("trt-fp16", plain, tf32=False)
    assert flags(machine) == ({"FP16"}, {"TF32"})


@pytest.mark.parametrize("version", ["11.4.0.106"])
def test_weak_fp16_is_refused_where_it_is_gone(machine: Machine, plain: ModelSource) -> None:
    error = refused(machine, "trt-fp16", plain, EngineUnavailable)
    assert error.what == "TensorRT 11.4.0.106 has no FP16, which TensorRT 8 to 10 has"
    assert error.remedy == 'set fp16 = "strong" in model.toml, if the car runs it so'


@pytest.mark.parametrize("version", NEW)
def test_strong_fp16_takes_the_types_of_the_graph(machine: Machine, place: Path, tmp_path: Path) -> None:
    typed = models.source(models.typed_conv(place / "typed.onnx"), tmp_path / "cache", fp16="strong")
    engine = machine.open("trt-fp16", typed)
    assert flags(machine) == ({"TF32"}, set())
    assert network_flags(machine) == ({"STRONGLY_TYPED"} if machine.major == 10 else set())
    assert engine.provenance["typing"] == "strong"
    assert "autocast" not in engine.provenance


@pytest.mark.parametrize("version", NEW)
def test_strong_fp16_of_an_fp32_graph_needs_calibration_data(machine: Machine, plain: ModelSource) -> None:
    error = refused(machine, "trt-fp16", replace(plain, fp16="strong"), EngineUnavailable)
    assert "no calibration data" in error.what
    assert "calibration = FILE.npz" in error.remedy


@pytest.mark.parametrize("version", ["8.6.1"])
def test_strong_fp16_is_refused_where_it_is_not_yet(machine: Machine, plain: ModelSource) -> None:
    error = refused(machine, "trt-fp16", replace(plain, fp16="strong"), EngineUnavailable)
    assert error.what == "TensorRT 8.6.1 has no STRONGLY_TYPED, which TensorRT 10 and newer has"
    assert 'fp16 = "weak"' in error.remedy


def test_bf16_is_a_flag_a_type_or_refused(machine: Machine, plain: ModelSource, place: Path, tmp_path: Path) -> None:
    typed = models.source(
        models.typed_conv(place / "typed.onnx", TensorProto.BFLOAT16), tmp_path / "cache", fp16="strong"
    )
    if machine.major == 8:
        assert refused(machine, "trt-bf16", plain, EngineUnavailable).what == "TensorRT 8.6.1 has no bf16"
    elif machine.major == 10:
        machine.open("trt-bf16", plain)
        assert flags(machine) == ({"BF16", "TF32"}, set())
    else:
        assert "has no BF16" in refused(machine, "trt-bf16", plain, EngineUnavailable).what
    if machine.major >= 10:
        assert "BFLOAT16 tensors and no FLOAT16" in refused_later(machine, "trt-fp16", typed).what


def refused_later(machine: Machine, name: str, source: ModelSource) -> EngineError:
    with pytest.raises(EngineUnavailable) as caught:
        machine.open(name, source)
    return caught.value


def test_fp32_of_a_graph_with_narrow_types_or_q_dq_is_refused(machine: Machine, place: Path, tmp_path: Path) -> None:
    typed = models.source(models.typed_conv(place / "typed.onnx"), tmp_path / "cache")
    assert "the graph holds FLOAT16 tensors" in refused(machine, "trt-fp32", typed, EngineUnavailable).what
    quantised = models.source(models.quantised_conv(place / "q.onnx"), tmp_path / "cache")
    for name in ("trt-fp32", "trt-fp16"):
        assert "the graph is quantised" in refused(machine, name, quantised, EngineUnavailable).what


def test_int8_by_q_dq_sets_int8_only_where_typing_is_weak(machine: Machine, place: Path, tmp_path: Path) -> None:
    quantised = models.source(models.quantised_conv(place / "q.onnx"), tmp_path / "cache")
    engine = machine.open("trt-int8", quantised)
    assert flags(machine)[0] == ({"INT8", "TF32"} if machine.major <= 10 else {"TF32"})
    assert engine.provenance["typing"] == ("weak" if machine.major <= 10 else "strong")
    if machine.major == 11:
        with pytest.raises(EngineOptionError, match="the graph's own types decide"):
            machine.open("trt-int8", quantised, rest="fp16")


@pytest.mark.parametrize("version", OLD)
def test_int8_by_a_cache_gives_it_to_a_calibrator(machine: Machine, plain: ModelSource, tmp_path: Path) -> None:
    cache = models.calibration_cache(tmp_path / "int8.cache", machine.version)
    engine = machine.open("trt-int8", plain, calibration_cache=cache, rest="fp16")
    assert flags(machine)[0] == {"INT8", "FP16", "TF32"}
    ((calibrator,),) = machine.record.of("IBuilderConfig.int8_calibrator")
    assert isinstance(calibrator, machine.trt.IInt8EntropyCalibrator2)
    assert engine.provenance["calibration_cache"]["scales"] == 2
    minmax = models.calibration_cache(tmp_path / "minmax.cache", machine.version, "MinMaxCalibration")
    machine.open("trt-int8", plain, calibration_cache=minmax)
    assert isinstance(machine.record.of("IBuilderConfig.int8_calibrator")[-1][0], machine.trt.IInt8MinMaxCalibrator)


@pytest.mark.parametrize("version", OLD)
def test_a_cache_that_tensorrt_passes_over_is_an_error(machine: Machine, plain: ModelSource, tmp_path: Path) -> None:
    cache = models.calibration_cache(tmp_path / "int8.cache", "7.2.3")
    with pytest.raises(ModelLoadError, match="does not use the calibration cache, written by version 723") as caught:
        machine.open("trt-int8", plain, calibration_cache=str(cache))
    assert str(cache) in caught.value.where


@pytest.mark.parametrize("version", ["11.4.0.106"])
def test_a_cache_is_refused_where_calibrators_are_gone(machine: Machine, plain: ModelSource, tmp_path: Path) -> None:
    cache = models.calibration_cache(tmp_path / "int8.cache", "10.0.1")
    error = refused(machine, "trt-int8", plain, EngineUnavailable, calibration_cache=cache)
    assert error.what == "TensorRT 11.4.0.106 has no IInt8EntropyCalibrator2, which TensorRT 8 to 10 has"
    assert "Q/DQ" in error.remedy


def test_int8_without_scales_or_with_two_kinds_is_refused(machine: Machine, place: Path, tmp_path: Path) -> None:
    plain = models.source(models.conv(place / "conv.onnx"), tmp_path / "cache")
    assert "no int8 scales" in refused(machine, "trt-int8", plain, EngineUnavailable).what
    cache = models.calibration_cache(tmp_path / "int8.cache", machine.version)
    quantised = models.source(models.quantised_conv(place / "q.onnx"), tmp_path / "cache")
    error = refused(machine, "trt-int8", quantised, EngineOptionError, calibration_cache=cache)
    assert "Q/DQ nodes, which carry their own scales" in error.what
    error = refused(machine, "trt-int8", plain, EngineOptionError, calibration_cache=tmp_path / "none.cache")
    assert "names no file" in error.what


def test_only_8_6_refuses_opsets_above_17(machine: Machine, place: Path, tmp_path: Path) -> None:
    newer = models.source(models.conv(place / "newer.onnx", opset=18), tmp_path / "cache")
    if machine.major > 8:
        machine.open("trt-fp32", newer)
        return
    error = refused(machine, "trt-fp32", newer, EngineUnavailable)
    assert error.what == "TensorRT 8.6.1 reads opset 17 or less, and the model has opset 18"
    assert '[export.targets."trt-8.6"] with opset = 17' in error.remedy


def test_8_6_tells_nodes_by_number_and_they_are_named(boot: Boot, place: Path, tmp_path: Path) -> None:
    machine = boot("8.6.1")  # what newer parsers say, the real one of TensorRT for RTX shows
    strange = models.source(models.unheard(place / "strange.onnx"), tmp_path / "cache")
    error = refused(machine, "trt-fp32", strange, ModelLoadError)
    for node, name in (("strange_1", "Unheard"), ("strange_2", "Unseen")):
        assert f"node '{node}': No importer registered for op: {name}. Attempted" in error.what
    assert "'plain'" not in error.what


def test_dynamic_dimensions_become_one_profile(machine: Machine, place: Path, tmp_path: Path) -> None:
    inputs = (TensorSpec("images", ("batch", 3, 8, 12)),)
    dynamic = models.source(models.conv(place / "dynamic.onnx", batch="n"), tmp_path / "cache", inputs)
    engine = machine.open("trt-fp32", dynamic, profiles={"batch": [1, 2, 4]})
    shapes = ((1, 3, 8, 12), (2, 3, 8, 12), (4, 3, 8, 12))
    assert machine.record.of("IOptimizationProfile.set_shape") == [("images", *shapes)]
    assert len(machine.record.of("IBuilderConfig.add_optimization_profile")) == 1
    assert engine.provenance["profiles"] == {"batch": [1, 2, 4]}
    machine.open("trt-fp32", replace(dynamic, inputs=(models.IMAGES,)))  # numbers in the card
    assert machine.record.of("IOptimizationProfile.set_shape")[-1] == ("images", *[(1, 3, 8, 12)] * 3)
    error = refused_option(machine, dynamic, profiles={"bach": [1, 2, 4]})
    assert error.what == "no input has a dimension 'bach'"


def refused_option(machine: Machine, source: ModelSource, **options: Any) -> EngineError:
    with pytest.raises(EngineOptionError) as caught:
        machine.open("trt-fp32", source, **options)
    return caught.value


@pytest.mark.parametrize("version", OLD)
def test_a_cache_with_dynamic_shapes_gets_a_calibration_profile(machine: Machine, place: Path, tmp_path: Path) -> None:
    inputs = (TensorSpec("images", ("batch", 3, 8, 12)),)
    dynamic = models.source(models.conv(place / "dynamic.onnx", batch="n"), tmp_path / "cache", inputs)
    machine.open("trt-int8", dynamic, calibration_cache=models.calibration_cache(tmp_path / "c", machine.version))
    assert len(machine.record.of("IBuilderConfig.set_calibration_profile")) == 1


def test_builder_flags_are_those_of_the_version(machine: Machine, plain: ModelSource) -> None:
    if "STRICT_NANS" in machine.trt.BuilderFlag.__members__:
        engine = machine.open("trt-fp32", plain, builder_flags=["STRICT_NANS"])
        assert "STRICT_NANS" in flags(machine)[0]
        assert engine.provenance["builder_flags_set"] == ["STRICT_NANS"]
    else:
        assert machine.version in ("8.6.1", "10.0.1")
        error = refused(machine, "trt-fp32", plain, EngineOptionError, builder_flags=["STRICT_NANS"])
        assert f"TensorRT {machine.version} has no builder flag 'STRICT_NANS'" in error.what
    error = refused_option(machine, plain, builder_flags=["TF32"])
    assert "decided by the engine's name" in error.what


def test_limits_levels_and_tactic_sources_reach_the_builder(machine: Machine, plain: ModelSource) -> None:
    engine = machine.open(
        "trt-fp32", plain, workspace_mib=64, optimization_level=5, tactic_sources=["JIT_CONVOLUTIONS"]
    )
    ((pool, size),) = machine.record.of("IBuilderConfig.set_memory_pool_limit")
    assert (pool.name, size) == ("WORKSPACE", 64 << 20)
    assert machine.record.of("IBuilderConfig.builder_optimization_level") == [(5,)]
    bit = int(machine.trt.TacticSource.__members__["JIT_CONVOLUTIONS"])
    assert machine.record.of("IBuilderConfig.set_tactic_sources") == [(1 << bit,)]
    assert engine.provenance["engine_information"]["tactic_sources"] == ["JIT_CONVOLUTIONS"]
    error = refused_option(machine, plain, tactic_sources=["JIT"])
    assert "no tactic source 'JIT'" in error.what


def test_an_unknown_option_lists_those_there_are(machine: Machine, plain: ModelSource) -> None:
    error = refused(machine, "trt-fp32", plain, EngineOptionError, profile={})
    assert error.what == "engine 'trt-fp32' has no option 'profile'"
    assert "'profiles'" in error.remedy
