"""CUDA and TensorRT providers of ONNX Runtime: what is asked, what is refused; no GPU is needed, none is used."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from engine_models import inputs_of

import engines
from engines.errors import EngineUnavailable
from engines.ort_providers import CPU, CUDA, KINDS, TENSORRT, available, granted, precision_facts, requests
from engines.table import TABLE
from harness.run.rungs import build_tree

GPU_NAMES = {"ort-cuda-fp32": CUDA, "ort-cuda-tf32": CUDA, "ort-trt-fp32": TENSORRT, "ort-trt-fp16": TENSORRT}
BUILT = onnxruntime.get_available_providers()


def session_on(*got, **options):
    """What a session would answer; `calls` notes whether its fallback was switched off."""
    calls = []
    return SimpleNamespace(
        get_providers=lambda: list(got),
        get_provider_options=lambda: options,
        disable_fallback=lambda: calls.append("disabled"),
        calls=calls,
    )


@pytest.mark.parametrize("level", ["basic", "extended"])
def test_fewer_optimisations_draw_the_same_lines(shared_cards, level):
    source = shared_cards("Paired")
    engine = engines.open(f"ort-fp32-{level}", source, threads=1)
    full = engines.open("ort-fp32", source, threads=1)
    assert engine.provenance["graph_optimisation"] == level
    assert engine.provenance["model_sha256"] == full.provenance["model_sha256"]
    got, want = engine.infer(inputs_of(source)), full.infer(inputs_of(source))
    for output in source.outputs:
        np.testing.assert_allclose(got[output], want[output], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "provider"), GPU_NAMES.items())
def test_a_provider_that_is_not_built_in_is_named_with_its_package(shared_cards, name, provider):
    if provider in BUILT:
        pytest.skip(f"this ONNX Runtime has {provider}")
    (answer,) = engines.availability(name)
    assert not answer.available
    assert provider in answer.detail
    assert "trueline[gpu]" in answer.remedy
    with pytest.raises(EngineUnavailable, match=f"has no {provider}"):
        engines.open(name, shared_cards("Lanes"))


@pytest.mark.parametrize(("name", "provider"), GPU_NAMES.items())
def test_availability_follows_the_build(monkeypatch, name, provider):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    (answer,) = engines.availability(name)
    assert answer.available
    assert provider in answer.detail


def test_a_build_that_has_the_provider_but_cannot_start_it_is_refused(shared_cards, monkeypatch):
    """ONNX Runtime itself would go on with the CPU; here the real session does exactly that."""
    if CUDA in BUILT:
        pytest.skip("this ONNX Runtime has the CUDA provider")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(EngineUnavailable, match="could not start CUDAExecutionProvider and would run on CPU") as caught,
    ):
        engines.open("ort-cuda-fp32", shared_cards("Lanes"))
    assert "never falls back" in caught.value.remedy


@pytest.mark.parametrize("kind", KINDS)
def test_the_session_must_run_where_the_name_says(kind):
    asked = [entry if isinstance(entry, str) else entry[0] for entry in requests(kind, Path("cache"))]
    assert asked[0] == KINDS[kind]
    session = session_on(*asked)
    granted("engine", kind, session)
    assert session.calls == ["disabled"], "a failing run would be repeated on the CPU"
    if kind != "cpu":
        with pytest.raises(EngineUnavailable, match="would run on"):
            granted("engine", kind, session_on(*asked[1:]))


def test_the_options_that_the_session_took_are_recorded():
    session = session_on(CUDA, CPU, **{CUDA: {"use_tf32": "0", "device_id": "0", "gpu_mem_limit": "1"}})
    assert granted("engine", "cuda-fp32", session) == {"use_tf32": "0", "device_id": "0"}


def test_tf32_and_fp16_are_asked_for_by_name_and_by_no_other(tmp_path):
    options = {kind: dict(r for r in requests(kind, tmp_path) if isinstance(r, tuple)) for kind in KINDS}
    assert {kind: o[CUDA]["use_tf32"] for kind, o in options.items() if o} == {
        "cuda-fp32": "0",
        "cuda-tf32": "1",
        "trt-fp32": "0",
        "trt-fp16": "0",
    }
    assert [options[kind][TENSORRT]["trt_fp16_enable"] for kind in ("trt-fp32", "trt-fp16")] == ["False", "True"]
    assert options["trt-fp16"][TENSORRT]["trt_engine_cache_path"] == str(tmp_path)
    assert options["cpu"] == {}


def test_tensorrt_s_tf32_is_told_from_the_environment(monkeypatch):
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    assert precision_facts("trt-fp32")["tf32"] is True
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert precision_facts("trt-fp32")["tf32"] is False
    assert precision_facts("cuda-tf32")["tf32"] is True
    assert precision_facts("cpu") == {"precision": "float32"}


def test_every_provider_of_the_table_is_known():
    asked = {entry.options.get("provider", "cpu") for entry in TABLE.values() if entry.family == "ort"}
    assert asked == set(KINDS)
    for kind in KINDS:
        available("engine", kind, [KINDS[kind]])


def test_the_ladder_separates_provider_level_and_precision():
    names = ["ort-fp32-none", "ort-fp32", "ort-fp32-extended", *GPU_NAMES]
    parents = {r.engine: (r.parent, r.factors) for r in build_tree("deploy/ort-fp32-none", names, ["deploy"])[1:]}
    assert parents["ort-fp32-extended"] == ("deploy/ort-fp32-none", ("graph-optimisation:extended",))
    assert parents["ort-cuda-fp32"] == ("deploy/ort-fp32", ("runtime:cuda",))
    assert parents["ort-cuda-tf32"] == ("deploy/ort-cuda-fp32", ("precision:tf32",))
    assert parents["ort-trt-fp16"] == ("deploy/ort-trt-fp32", ("precision:fp16",))


def test_the_tensorrt_provider_is_told_of_tensorrts_libraries_only(tmp_path):
    theirs, ours = tmp_path / "trt.so", tmp_path / "ort.so"
    theirs.write_bytes(b"\x7fELF ... getCreators\0")
    ours.write_bytes(b"\x7fELF ... RegisterCustomOps\0")
    options = {
        kind: dict(r for r in requests(kind, tmp_path, [theirs, ours, theirs]) if isinstance(r, tuple))
        for kind in KINDS
    }
    assert options["trt-fp32"][TENSORRT]["trt_extra_plugin_lib_paths"] == f"{theirs};{theirs}"
    assert not any("trt_extra_plugin_lib_paths" in o[CUDA] for o in options.values() if o)
    alone = dict(r for r in requests("trt-fp16", tmp_path, [ours]) if isinstance(r, tuple))
    assert "trt_extra_plugin_lib_paths" not in alone[TENSORRT]
