"""Every built-in engine that runs here, through the whole protocol: the registry's table takes in new names."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from engine_models import MODELS, inputs_of

import engines
from engines.denormals import flushed
from engines.errors import EngineInputError, EngineOptionError
from engines.protocol import CaseContext, DumpSpec, Engine, ModelSource
from engines.registry import family
from engines.table import TABLE

# `command` needs a program, which tests/engines/command brings; `torch-compile` compiles C++ for every model, and
# test_torch_variants.py takes one through
ELSEWHERE = ("command", "torch-compile")
HERE = [name for name in TABLE if name not in ELSEWHERE and engines.availability(name)[0].available]
FED = [name for name in HERE if name != "recorded"]  # engines whose outputs depend on their inputs
Cards = Callable[[str], ModelSource]

# RMS of the difference to torch-fp32, relative to the outputs' RMS: what the precision allows
# (TF32 operands cut instead of rounded err up to twice as far)
RELATIVE_RMS = {"mma-tf32": 4e-3, "fp32": 1e-6, "fp16": 2e-3, "bf16": 2e-2, "tf32": 2e-3, "reorder": 1e-6}


def opened(name: str, source: ModelSource) -> Engine:
    """One thread where the engine has its own: pools of several tests at once would only wait for each other."""
    options = {"threads": 1} if family(name) in ("ort", "emulated", "openvino") else {}
    return engines.open(name, source, **options)


def allowed(name: str) -> float:
    return next(value for key, value in RELATIVE_RMS.items() if key in name)


def outputs_on(name: str, source: ModelSource, frames: int = 3) -> list[dict[str, np.ndarray]]:
    engine = opened(name, source)
    found = [engine.infer(inputs_of(source, seed)) for seed in range(frames)]
    engine.close()
    return found


@pytest.fixture
def context(shared_cards: Cards, tmp_path: Path) -> CaseContext:
    """A case with one dump: PyTorch's outputs for ten moments."""
    source = shared_cards("Lanes")
    outputs = outputs_on("torch-fp32", source, 10)
    stacked = {name: np.stack([o[name] for o in outputs]) for name in source.outputs}
    np.savez(tmp_path / "all.npz", timestamp_ns=np.arange(10) * 100, **stacked)
    return CaseContext("case", tmp_path, {"car": DumpSpec(tmp_path, 10)})


@pytest.mark.parametrize("name", HERE)
def test_an_engine_keeps_the_protocol(name: str, shared_cards: Cards, context: CaseContext) -> None:
    source = shared_cards("Lanes")
    engine = opened(name, source)
    assert isinstance(engine, Engine)
    assert engine.name == name
    assert json.loads(json.dumps(dict(engine.provenance))) == engine.provenance
    assert engine.provenance["engine"] == name
    engine.start_case(context)
    engine.seek(200)
    first = engine.infer(inputs_of(source, 2))
    kept = {key: value.copy() for key, value in first.items()}
    engine.seek(300)
    other = engine.infer(inputs_of(source, 3))
    assert list(first) == list(source.outputs)
    assert first["lines"].dtype == np.float32
    assert first["lines"].shape == (1, 6)
    assert not np.array_equal(first["lines"], other["lines"])
    np.testing.assert_array_equal(first["lines"], kept["lines"], "the next call overwrote the outputs of the last")
    engine.seek(200)
    np.testing.assert_array_equal(engine.infer(inputs_of(source, 2))["lines"], kept["lines"], "not repeatable")
    assert not flushed(), "the engine left the calling thread flushing denormals"
    engine.close()
    engine.close()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", FED)
def test_every_engine_draws_what_pytorch_draws(name: str, model: str, shared_cards: Cards) -> None:
    source = shared_cards(model)
    for got, want in zip(outputs_on(name, source), outputs_on("torch-fp32", source), strict=True):
        assert set(got) == set(source.outputs)
        for output in source.outputs:
            error = np.sqrt(np.mean((got[output] - want[output]) ** 2) / np.mean(want[output] ** 2))
            assert error <= allowed(name), output


@pytest.mark.parametrize("name", FED)
def test_inputs_that_do_not_fit_are_named(name: str, shared_cards: Cards) -> None:
    source = shared_cards("Calibrated")
    engine = opened(name, source)
    with pytest.raises(EngineInputError, match=r"missing inputs \['images', 'intrinsics'\]"):
        engine.infer({})  # before any other
    good = inputs_of(source)
    engine.infer(good)
    wrong = {
        "missing inputs ['intrinsics']": {"images": good["images"]},
        "unknown inputs ['extra']": {**good, "extra": good["images"]},
        "input 'images' is float64 [1, 3, 16, 24]": {**good, "images": good["images"].astype(np.float64)},
        "input 'intrinsics' is float32 [1, 2, 3]": {**good, "intrinsics": good["intrinsics"][:, :2]},
    }
    for text, inputs in wrong.items():
        with pytest.raises(EngineInputError) as caught:
            engine.infer(inputs)
        assert text in caught.value.what
        assert name in caught.value.where
    engine.infer(good)
    engine.close()


@pytest.mark.parametrize("name", FED)
def test_strided_inputs_are_read_as_they_are(name: str, shared_cards: Cards) -> None:
    source = shared_cards("Lanes")
    engine = opened(name, source)
    images = inputs_of(source)["images"]
    strided = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not strided.flags.c_contiguous
    np.testing.assert_array_equal(engine.infer({"images": strided})["lines"], engine.infer({"images": images})["lines"])
    engine.close()


@pytest.mark.parametrize("name", HERE)
def test_an_unknown_option_is_refused(name: str, shared_cards: Cards) -> None:
    with pytest.raises(EngineOptionError, match="has no option 'tread'"):
        engines.open(name, shared_cards("Lanes"), tread=2)


@pytest.mark.parametrize("name", TABLE)
def test_availability_answers_for_every_name(name: str) -> None:
    (answer,) = engines.availability(name)
    assert answer.name == name
    assert answer.detail
    assert answer.available or answer.remedy
