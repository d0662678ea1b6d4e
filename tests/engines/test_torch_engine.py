from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_models import inputs_of, overflowing_in_fp16

import engines
from engines.denormals import supported
from engines.errors import EngineCrashed, EngineOptionError, EngineOutputMissing, EngineUnavailable
from engines.torch_engine import plain_numerics, zero_denormals


def test_reduced_precision_is_that_of_the_converted_module(shared_cards):
    source = shared_cards("Lanes")
    inputs = inputs_of(source)
    for name, dtype in (("torch-fp16", torch.float16), ("torch-bf16", torch.bfloat16)):
        engine = engines.open(name, source)
        lines = engine.infer(inputs)["lines"]
        assert lines.dtype == np.float32
        assert np.array_equal(torch.from_numpy(lines).to(dtype).float().numpy(), lines), "not values of that precision"
        assert engine.provenance["precision"] == str(dtype).removeprefix("torch.")


def test_fp16_overflows_as_fp16_does(card):
    source, inputs = overflowing_in_fp16(card())
    assert np.isinf(engines.open("torch-fp16", source).infer(inputs)["lines"]).all()
    np.testing.assert_allclose(engines.open("torch-fp32", source).infer(inputs)["lines"], 512, rtol=1e-6)


def test_outputs_do_not_share_memory_with_inputs_or_the_module(card):
    source = card()
    (source.root / "alias.py").write_text(
        "import torch\n"
        "class Alias(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.register_buffer('count', torch.zeros(1))\n"
        "    def forward(self, images):\n"
        "        self.count += 1\n        images *= 2\n        return images, self.count\n"
    )
    source = replace(source, factory="alias:Alias", weights=None, outputs=("echo", "count"))
    engine = engines.open("torch-fp32", source)
    images = np.ones((1, 3, 16, 24), np.float32)
    first = engine.infer({"images": images})
    engine.infer({"images": images})
    assert (images == 1).all(), "the module wrote into the caller's array"
    assert (first["echo"] == 2).all()
    assert first["count"] == 1


def test_the_callers_settings_come_back():
    def settings():
        return (
            torch.backends.mkldnn.matmul.fp32_precision,
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark,
        )

    before = settings()
    with plain_numerics():
        assert settings() == ("ieee", True, False)
    assert settings() == before


def test_oneDNN_shortcuts_are_off_whatever_the_caller_set(shared_cards):  # noqa: N802  # its name
    source = shared_cards("Lanes")
    plain = engines.open("torch-fp32", source).infer(inputs_of(source))["lines"]
    torch.set_float32_matmul_precision("medium")  # bf16 products on processors that have them
    torch.backends.mkldnn.conv.fp32_precision = "bf16"
    try:
        again = engines.open("torch-fp32", source).infer(inputs_of(source))["lines"]
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.mkldnn.conv.fp32_precision = "none"
    np.testing.assert_array_equal(plain, again)


def test_a_failing_forward_is_a_crash_with_one_line(card):
    source = card()
    (source.root / "bad.py").write_text(
        "import torch\nclass Bad(torch.nn.Module):\n    def forward(self, images): return images @ images\n"
    )
    engine = engines.open("torch-fp32", replace(source, factory="bad:Bad", weights=None))
    with pytest.raises(EngineCrashed, match="PyTorch failed: RuntimeError") as caught:
        engine.infer(inputs_of(source))
    assert "\n" not in str(caught.value)


def test_a_closed_engine_says_so(shared_cards):
    source = shared_cards("Lanes")
    engine = engines.open("torch-fp32", source)
    engine.close()
    with pytest.raises(EngineCrashed, match="closed"):
        engine.infer(inputs_of(source))


def test_another_number_of_outputs_than_the_card_names(shared_cards):
    source = replace(shared_cards("Paired"), outputs=("lines",))
    with pytest.raises(EngineOutputMissing, match="gives 2 outputs, the card names 1"):
        engines.open("torch-fp32", source).infer(inputs_of(source))


def test_devices_are_asked_for_by_suffix_or_option(shared_cards, monkeypatch):
    source = shared_cards("Lanes")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for request in ({"name": "torch-fp32@cuda"}, {"name": "torch-fp32", "device": "cuda"}):
        with pytest.raises(EngineUnavailable, match="sees no CUDA GPU"):
            engines.open(source=source, **request)
    (answer,) = engines.availability("torch-fp32@cuda")
    assert not answer.available
    with pytest.raises(EngineOptionError, match="no device 'tpu'"):
        engines.open("torch-fp32@tpu", source)
    with pytest.raises(EngineOptionError):
        engines.open("torch-fp32@cuda", source, device="cpu")
    with pytest.raises(EngineOptionError, match="denormals"):
        engines.open("torch-fp32", source, denormals="maybe")
    assert engines.open("torch-fp32@cpu", source).provenance["device"] == "cpu"


@pytest.mark.skipif(not supported(), reason="the calling thread's flag cannot be set here")
def test_denormals_are_flushed_unless_they_are_to_be_kept(card):
    """A denormal weight, and a denormal product of two normal numbers."""
    source = card()
    (source.root / "tiny.py").write_text(
        "import torch\nclass Tiny(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.weight = torch.nn.Parameter(torch.tensor([1e-40, 1e-20]))\n"
        "    def forward(self, images):\n"
        "        small, half = images[:, :1] * self.weight[0], images[:, :1] * 1e-20 * self.weight[1]\n"
        "        return small * 1e30 * 1e10, half * 1e30 * 1e10\n"
    )
    source = replace(source, factory="tiny:Tiny", weights=None, outputs=("weight", "product"))
    inputs = {"images": np.ones((1, 3, 16, 24), np.float32)}
    kept = engines.open("torch-fp32", source, denormals="keep").infer(inputs)
    flushed = engines.open("torch-fp32", source).infer(inputs)
    for output in source.outputs:
        np.testing.assert_allclose(kept[output], 1, rtol=1e-3)
        np.testing.assert_array_equal(flushed[output], 0)


def test_denormal_weights_are_zero_for_threads_that_cannot_be_told():
    module = torch.nn.Linear(3, 1, bias=False)
    tiny = torch.finfo(torch.float32).tiny
    module.weight.data = torch.tensor([[-tiny / 2, tiny, 1.0]])
    zero_denormals(module)
    assert module.weight.tolist() == [[0, tiny, 1]]
