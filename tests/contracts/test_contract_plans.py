"""Plans: cached, prebuilt, damaged, of another version or GPU; timing caches; on generated fakes of each version."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import contract_models as models
import numpy as np
import pytest
from contract_machine import Machine
from contract_world import MAGIC

from engines.errors import EngineOptionError, EngineOutputMissing, ModelLoadError
from engines.protocol import ModelSource

Boot = Callable[..., Machine]


@pytest.fixture
def plain(place: Path, tmp_path: Path) -> ModelSource:
    """An fp32 convolution."""
    return models.source(models.conv(place / "conv.onnx"), tmp_path / "cache")


def builds(machine: Machine) -> int:
    return len(machine.record.of("Builder.build_serialized_network"))


def plan_file(source: ModelSource) -> Path:
    """The one plan in a card's cache."""
    (found,) = (source.cache / "tensorrt").glob("*/model.plan")
    return found


def why_not(machine: Machine, source: ModelSource, plan: Path, **options: Any) -> ModelLoadError:
    with pytest.raises(ModelLoadError) as caught:
        machine.open("trt-fp32", source, plan=plan, **options)
    assert "\n" not in str(caught.value)
    assert str(plan) in caught.value.where
    return caught.value


def test_a_plan_is_built_once_and_says_the_same_of_itself_ever_after(machine: Machine, plain: ModelSource) -> None:
    first = machine.open("trt-fp32", plain)
    again = machine.open("trt-fp32", plain)
    assert builds(machine) == 1
    assert dict(first.provenance) == dict(again.provenance)
    assert json.loads(json.dumps(dict(first.provenance))) == first.provenance
    assert first.provenance["build_warnings"] == ["Detected layernorm nodes in FP16."]
    info = first.provenance["engine_information"]
    assert info["layer_count"] == 2
    assert info["layers"][0] == {
        "name": "first_conv",
        "type": "Conv",
        "tactic": "generic",
        "outputs": ["Row major linear FP32"],
    }
    assert info["layer_formats"] == {"Row major linear FP32": 2}


def test_whatever_decides_a_plan_makes_another_one(boot: Boot, version: str, plain: ModelSource, place: Path) -> None:
    machine = boot(version)
    machine.open("trt-fp32", plain)
    for number, (name, source, options) in enumerate(
        [
            ("trt-tf32", plain, {}),
            ("trt-fp32", plain, {"workspace_mib": 1}),
            ("trt-fp32", plain, {"optimization_level": 1}),
            ("trt-fp32", plain, {"builder_flags": ["DEBUG"]}),
            ("trt-fp32", plain, {"rebuild": 1}),
            ("trt-fp32", replace(plain, onnx=models.conv(place / "other.onnx", seed=1)), {}),
        ],
        start=2,
    ):
        machine.open(name, source, **options)
        assert builds(machine) == number, (name, options)
    another = "10.16.1.11" if version != "10.16.1.11" else "10.13.3.9"
    for arguments in ((version, (8, 6), "Another GPU"), (version, (9, 0)), (another,)):
        other = boot(*arguments)
        other.open("trt-fp32", plain)
        assert builds(other) == 1, arguments


def test_a_cached_plan_that_was_damaged_is_built_again(machine: Machine, plain: ModelSource) -> None:
    machine.open("trt-fp32", plain)
    path = plan_file(plain)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    machine.open("trt-fp32", plain)
    assert builds(machine) == 2
    assert plan_file(plain).read_bytes() == whole
    (path.parent / "plan.json").write_text("{")
    machine.open("trt-fp32", plain)
    assert builds(machine) == 3


def test_a_prebuilt_plan_runs_without_a_build(machine: Machine, plain: ModelSource, tmp_path: Path) -> None:
    built = machine.open("trt-fp32", plain)
    plan = tmp_path / "car.engine"
    plan.write_bytes(plan_file(plain).read_bytes())
    engine = machine.open("trt-fp16", plain, plan=str(plan))
    assert builds(machine) == 1
    assert engine.provenance["plan_sha256"] == built.provenance["plan_sha256"]
    assert engine.provenance["precision"] == "as the plan was built"
    np.testing.assert_array_equal(engine.infer(models.images())["lines"], built.infer(models.images())["lines"])


def test_a_prebuilt_plan_may_have_names_of_its_own(machine: Machine, plain: ModelSource, tmp_path: Path) -> None:
    built = machine.open("trt-fp32", plain)
    plan = plan_file(plain)
    renamed = replace(plain, inputs=(replace(models.IMAGES, name="camera"),), outputs=("lanes",))
    names = {"camera": "images", "lanes": "lines"}
    engine = machine.open("trt-fp32", renamed, plan=plan, names=names)
    images = models.images()["images"]
    found = engine.infer({"camera": images})
    assert list(found) == ["lanes"]
    np.testing.assert_array_equal(found["lanes"], built.infer({"images": images})["lines"])
    with pytest.raises(ModelLoadError, match="feeds input 'camera', which the model lacks"):
        machine.open("trt-fp32", renamed, plan=plan)
    with pytest.raises(EngineOutputMissing, match="no output 'lanes'"):
        machine.open("trt-fp32", renamed, plan=plan, names={"camera": "images"})
    with pytest.raises(EngineOptionError, match="'lanes' = 'line' joins no tensor"):
        machine.open("trt-fp32", renamed, plan=plan, names={**names, "lanes": "line"})
    with pytest.raises(EngineOptionError, match="'workspace_mib' says how to build"):
        machine.open("trt-fp32", plain, plan=plan, workspace_mib=1)


def test_a_plan_of_another_tensorrt_says_both_versions(boot: Boot, plain: ModelSource, version: str) -> None:
    old = boot("8.6.1" if version != "8.6.1" else "10.0.1")
    old.open("trt-fp32", plain)
    error = why_not(boot(version), plain, plan_file(plain))
    assert error.what == f"the plan was built by TensorRT {old.version}, and this is TensorRT {version}"
    assert "build the plan anew" in error.remedy


def test_a_plan_of_another_gpu_says_both(boot: Boot, plain: ModelSource, version: str) -> None:
    boot(version, (7, 2), "Xavier").open("trt-fp32", plain)
    error = why_not(boot(version, (8, 7), "Orin"), plain, plan_file(plain))
    assert error.what == ("the plan was built for a GPU of compute capability 7.2, and this one has 8.7 (Orin)")


def test_damaged_and_mistaken_plans_are_told_apart_from_foreign_ones(
    machine: Machine, plain: ModelSource, tmp_path: Path
) -> None:
    machine.open("trt-fp32", plain)
    whole = plan_file(plain).read_bytes()
    plan = tmp_path / "some.plan"
    for content in (whole[: len(whole) // 2], b"\0" * 64, whole[10:]):
        plan.write_bytes(content)
        error = why_not(machine, plain, plan)
        assert error.what.startswith(
            f"no plan that TensorRT {machine.version} can read, or a damaged one: Error Code 1"
        )
    plan.write_bytes(b"")
    assert why_not(machine, plain, plan).what == "the plan is empty"
    assert plain.onnx is not None
    assert why_not(machine, plain, plain.onnx).what == "an ONNX file is no plan"
    with pytest.raises(EngineOptionError, match=r"names no file: .*absent\.plan"):
        machine.open("trt-fp32", plain, plan=tmp_path / "absent.plan")


LOGGED = {
    "The engine plan file is not compatible with this version of TensorRT, expecting library version 8.5.1.7 got "
    "8.5.3.1, please rebuild.": "built by TensorRT 8.5.3.1",
    "IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine plan file is not compatible with this "
    "version of TensorRT, expecting library version 10.12.0.36 got .)": "or a damaged one",
    "expecting library version 5.1.5 got 0.0.0, please rebuild.": "or a damaged one",
    "Error Code 1: Serialization (Serialization assertion stdVersionRead == serializationVersion failed.Version tag "
    "does not match. Note: Current Version: 213, Serialized Engine Version: 205)": "by another TensorRT than this",
    "6: The engine plan file is generated on an incompatible device, expecting compute 6.1 got compute 8.6, please "
    "rebuild.": "compute capability 8.6, and this one has 6.1",
    "3: getPluginCreator could not find plugin: EfficientNMS_TRT version: 1": "needs a plugin that is not loaded",
}


@pytest.mark.parametrize("logged", LOGGED, ids=range(len(LOGGED)))
def test_texts_that_tensorrt_has_been_seen_to_log_are_understood(
    boot: Boot, plain: ModelSource, tmp_path: Path, monkeypatch: Any, logged: str
) -> None:
    machine = boot("10.13.3.9")
    monkeypatch.setattr(machine.world, "_not_loading", lambda content: logged)
    (tmp_path / "a.plan").write_bytes(b"x")
    assert LOGGED[logged] in why_not(machine, plain, tmp_path / "a.plan").what


def test_a_plan_of_vectorised_shape_or_unknown_tensors_is_refused(
    boot: Boot, plain: ModelSource, tmp_path: Path, monkeypatch: Any
) -> None:
    machine = boot("10.13.3.9")
    machine.open("trt-fp32", plain)
    plan = json.loads(plan_file(plain).read_bytes().removeprefix(MAGIC))
    path = tmp_path / "chw32.plan"
    path.write_bytes(MAGIC + json.dumps({**plan, "format": "CHW32"}).encode())
    error = why_not(machine, plain, path)
    assert error.what == "'images' has the layout CHW32"
    path.write_bytes(MAGIC + json.dumps(plan).encode())
    host = machine.trt.TensorLocation.__members__["HOST"]
    with monkeypatch.context() as patch:
        patch.setattr(machine.world, "ICudaEngine_get_tensor_location", lambda engine, name: host)
        assert "'images' is a shape tensor" in why_not(machine, plain, path).what
    fp8 = machine.trt.DataType.__members__["FP8"]
    monkeypatch.setattr(machine.world, "ICudaEngine_get_tensor_dtype", lambda engine, name: fp8)
    assert why_not(machine, plain, path).what == "'images' has the type FP8"


def test_each_gpu_keeps_its_timings_for_the_next_build(boot: Boot, version: str, plain: ModelSource) -> None:
    machine = boot(version)
    machine.open("trt-fp32", plain)
    (own,) = (plain.cache / "tensorrt").glob("timing-*")
    assert version in own.name
    assert own.read_bytes() == b"timings of 8.6"
    machine.open("trt-tf32", plain)
    assert machine.record.of("IBuilderConfig.create_timing_cache") == [(b"",), (b"timings of 8.6",)]
    machine.open("trt-tf32", plain, rebuild=2)  # times afresh
    assert machine.record.of("IBuilderConfig.create_timing_cache")[2:] == [(b"",)]
    own.write_bytes(b"rubbish")
    machine.open("trt-fp32", plain, workspace_mib=3)
    assert machine.record.of("IBuilderConfig.create_timing_cache")[3:] == [(b"rubbish",), (b"",)]
    boot(version, (9, 0)).open("trt-fp32", plain)
    assert len(list((plain.cache / "tensorrt").glob("timing-*"))) == 2


def test_a_timing_cache_that_is_named_decides(boot: Boot, version: str, plain: ModelSource, tmp_path: Path) -> None:
    machine = boot(version)
    named = tmp_path / "named.cache"
    named.write_bytes(b"timings of 8.6")
    machine.open("trt-fp32", plain, timing_cache=named)
    on = {flag.name for (flag,) in machine.record.of("IBuilderConfig.set_flag")}
    assert on == (set() if machine.major == 8 else {"ERROR_ON_TIMING_CACHE_MISS"})
    assert not list((plain.cache / "tensorrt").glob("timing-*"))
    named.write_bytes(b"rubbish")
    with pytest.raises(ModelLoadError, match="refuses the timing cache: Error Code 1: Serialization") as caught:
        machine.open("trt-fp32", plain, timing_cache=named)
    assert str(named) in caught.value.where
    named.write_bytes(b"timings of 7.2")
    with pytest.raises(ModelLoadError, match="it is damaged, or of another GPU"):
        machine.open("trt-fp32", plain, timing_cache=named)


def test_a_card_gives_a_prebuilt_plan_with_names_of_its_own(machine: Machine, plain: ModelSource) -> None:
    """`[engines."trt-fp16:car"]`: the car's plan beside the engine that is built here."""
    built = machine.open("trt-fp32", plain)
    (plain.root / "car.engine").write_bytes(plan_file(plain).read_bytes())
    inputs, outputs = (replace(models.IMAGES, name="camera"),), ("lanes",)
    of_car = {"plan": "car.engine", "names": {"camera": "images", "lanes": "lines"}}
    card = replace(plain, inputs=inputs, outputs=outputs, options={"trt-fp16:car": of_car})
    engine = machine.open("trt-fp16:car", card)
    assert builds(machine) == 1
    assert engine.name == "trt-fp16:car"
    images = models.images()["images"]
    np.testing.assert_array_equal(engine.infer({"camera": images})["lanes"], built.infer({"images": images})["lines"])


def test_a_card_gives_profiles_and_caches(boot: Boot, place: Path, tmp_path: Path) -> None:
    machine = boot("10.13.3.9")
    dynamic = models.conv(place / "dynamic.onnx", batch="batch")
    models.calibration_cache(place / "scales.cache", "10.13.3")
    inputs = (replace(models.IMAGES, shape=("batch", 3, 8, 12)),)
    options = {
        "trt-fp32": {"profiles": {"batch": [1, 2, 4]}, "optimization_level": 2},
        "trt-int8": {"profiles": {"batch": [1, 1, 2]}, "calibration_cache": "scales.cache", "rest": "fp16"},
    }
    source = models.source(dynamic, tmp_path / "cache", inputs=inputs, options=options)
    assert machine.open("trt-fp32", source).infer(models.images(0, 4))["lines"].shape == (4, 4, 8, 12)
    quantised = machine.open("trt-int8", source)
    assert quantised.provenance["profiles"] == {"batch": [1, 1, 2]}
    assert quantised.provenance["calibration_cache"]["scales"] == 2
    for options, what in (
        ({"plam": "x"}, "has no option 'plam'"),
        ({"timing_cache": "absent"}, "'timing_cache' names no file"),
    ):
        with pytest.raises(EngineOptionError, match=what) as caught:
            machine.open("trt-tf32", replace(source, options={"trt-tf32": options}))
        assert "[engines] of its model card" in caught.value.where


def test_weights_outside_the_models_folder_are_refused(boot: Boot, place: Path, tmp_path: Path) -> None:
    import onnx

    path = models.conv(place / "conv.onnx")
    model = onnx.load(path)
    (tensor,) = model.graph.initializer
    onnx.external_data_helper.set_external_data(tensor, "../secret.bin")
    tensor.ClearField("raw_data")
    onnx.save(model, path)
    (tmp_path / "secret.bin").write_bytes(bytes(432))
    machine = boot("10.13.3.9")
    with pytest.raises(ModelLoadError, match=r"weight 'weights' lies in '\.\./secret\.bin', outside"):
        machine.open("trt-fp32", models.source(path, tmp_path / "cache"))
    assert builds(machine) == 0
