"""Autocast, TF32 and torch.compile: what each changes against torch-fp32, and what each needs."""

import pickle

import numpy as np
import pytest
import torch
from engine_models import inputs_of, overflowing_in_fp16

import engines
from engines.errors import EngineCrashed, EngineUnavailable
from engines.torch_engine import plain_numerics
from harness.run.rungs import build_tree

AUTOCAST = {"torch-autocast-fp16": torch.float16, "torch-autocast-bf16": torch.bfloat16}


@pytest.mark.parametrize(("name", "dtype"), AUTOCAST.items())
def test_autocast_reduces_products_and_keeps_the_module(shared_cards, name, dtype):
    source = shared_cards("Lanes")
    inputs = inputs_of(source)
    engine = engines.open(name, source)
    lines = engine.infer(inputs)["lines"]
    assert np.array_equal(torch.from_numpy(lines).to(dtype).float().numpy(), lines), "the head's product is not reduced"
    assert {p.dtype for p in engine._module.parameters()} == {torch.float32}
    whole = engines.open(name.replace("autocast-", ""), source).infer(inputs)["lines"]
    assert not np.array_equal(lines, whole), "the same as converting the whole module"
    assert engine.provenance["precision"] == "float32"
    assert engine.provenance["autocast"] == str(dtype).removeprefix("torch.")


def test_autocast_ends_with_the_call(shared_cards):
    source = shared_cards("Lanes")
    engines.open("torch-autocast-bf16", source).infer(inputs_of(source))
    assert not torch.is_autocast_enabled("cpu")


def test_autocast_keeps_in_fp32_what_fp16_cannot_hold(card):
    """`module.half()` overflows in the elementwise products; autocast leaves them in fp32."""
    source, inputs = overflowing_in_fp16(card())
    assert np.isinf(engines.open("torch-fp16", source).infer(inputs)["lines"]).all()
    np.testing.assert_allclose(engines.open("torch-autocast-fp16", source).infer(inputs)["lines"], 512, rtol=1e-6)


def test_tf32_needs_a_gpu_that_has_it(shared_cards, monkeypatch):
    source = shared_cards("Lanes")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (answer,) = engines.availability("torch-tf32")
    assert not answer.available
    assert "emulated-tf32" in answer.remedy
    with pytest.raises(EngineUnavailable, match="sees no CUDA GPU"):
        engines.open("torch-tf32", source)
    with pytest.raises(EngineUnavailable, match="TF32 exists on CUDA GPUs"):
        engines.open("torch-tf32@cpu", source)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    (turing,) = engines.availability("torch-tf32")
    assert "compute capability 8.0" in turing.detail


def test_tf32_is_allowed_only_where_asked_for():
    before = torch.backends.cuda.matmul.fp32_precision
    with plain_numerics(tf32=True):
        assert torch.backends.cuda.matmul.fp32_precision == torch.backends.cudnn.conv.fp32_precision == "tf32"
    with plain_numerics():
        assert torch.backends.cuda.matmul.fp32_precision == torch.backends.cudnn.conv.fp32_precision == "ieee"
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_torch_compile_names_the_compiler_it_lacks(shared_cards, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    (answer,) = engines.availability("torch-compile")
    assert not answer.available
    assert "'no-such-compiler'" in answer.detail
    assert "CXX" in answer.remedy
    with pytest.raises(EngineUnavailable, match="needs a C\\+\\+ compiler"):
        engines.open("torch-compile", shared_cards("Lanes"))
    assert engines.availability("torch-fp32")[0].available


def test_a_compiler_that_fails_is_a_crash_that_names_the_cause(shared_cards, monkeypatch):
    source = shared_cards("Lanes")
    engine = engines.open("torch-fp32", source)
    cause = ValueError("no kernel for that\nand more")

    def compiled(*_):
        raise torch._dynamo.exc.BackendCompilerFailed(lambda: None, cause, None)

    monkeypatch.setattr(engine, "_module", compiled)
    with pytest.raises(EngineCrashed, match="PyTorch failed: ValueError: no kernel for that") as caught:
        engine.infer(inputs_of(source))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_torch_compile_draws_what_pytorch_draws(shared_cards):
    (answer,) = engines.availability("torch-compile")
    if not answer.available:
        pytest.skip(answer.detail)
    source = shared_cards("Lanes")
    engine = engines.open("torch-compile", source)
    assert engine.provenance["compiled"] == "inductor"
    from torch._dynamo.utils import counters

    counters.clear()
    plain = engines.open("torch-fp32", source)
    for seed in range(2):
        got, want = (e.infer(inputs_of(source, seed))["lines"] for e in (engine, plain))
        assert np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)) < 1e-6
    assert counters["stats"]["unique_graphs"] == 1, "it ran uncompiled, or was compiled anew for the second frame"
    engine.close()


@pytest.mark.slow
def test_torch_compile_unpickles_nothing(shared_cards, monkeypatch):
    """PyTorch's caches of compiled graphs are pickles; a second compilation of the same graph would read them."""
    (answer,) = engines.availability("torch-compile")
    if not answer.available:
        pytest.skip(answer.detail)
    unpickled = []
    real = pickle.loads
    monkeypatch.setattr(pickle, "loads", lambda content, *a, **k: unpickled.append(len(content)) or real(content))
    source = shared_cards("Lanes")
    for _ in range(2):
        engine = engines.open("torch-compile", source)
        engine.infer(inputs_of(source))
        engine.close()
    assert unpickled == []


def test_the_ladder_hangs_every_variant_under_fp32():
    names = [*AUTOCAST, "torch-tf32", "torch-compile"]
    factors = {r.engine: r.factors for r in build_tree("train/torch-fp32", names, ["train"])[1:]}
    assert factors == {
        "torch-autocast-fp16": ("precision:autocast-fp16",),
        "torch-autocast-bf16": ("precision:autocast-bf16",),
        "torch-tf32": ("precision:tf32",),
        "torch-compile": ("runtime:compile",),
    }
