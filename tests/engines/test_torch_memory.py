"""Networks that remember frames: found when they are opened, made anew for every case."""

from dataclasses import replace

import numpy as np
import pytest
from engine_models import inputs_of

import engines
from engines.protocol import CaseContext

HEAD = """import torch
from collections import deque
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 6))
        self.norm = torch.nn.BatchNorm2d(3)
        self.grid, self.past, self.waiting, self.count, self.table = None, None, deque(maxlen=2), 0, {}
    def forward(self, images):
        y = images.mean((2, 3)).repeat(1, 2)
"""
REMEMBER = {
    "a buffer written to": ["self.mean.mul_(0.9).add_(0.1 * y)", "return y + self.mean"],
    "a buffer replaced": ["self.mean = 0.9 * self.mean + 0.1 * y", "return y + self.mean"],
    "the frame before": ["y, self.past = y + (0 if self.past is None else self.past), y", "return y"],
    "a queue": ["self.waiting.append(y)", "return self.waiting[0]"],
    "a counter": ["self.count += 1", "return y * (self.count % 3)"],
    "a table": ["self.table['y'] = y + self.table.get('y', 0)", "return self.table['y']"],
    "a dropped frame": ["self.count += 1", "return y if self.count % 2 else y * 0"],
}
FORGET = {
    "nothing": ["return y"],
    "a grid made once": ["if self.grid is None: self.grid = torch.arange(6.0)", "return y + self.grid"],
    "BatchNorm": ["return self.norm(images).mean((2, 3)).repeat(1, 2)"],
    "not a number": ["return y / 0 * 0"],
}


def source_of(card, lines):
    source = replace(card(), factory="net:Net", weights=None)
    (source.root / "net.py").write_text(HEAD + "".join(f"        {line}\n" for line in lines))
    return source


@pytest.mark.parametrize("kind", REMEMBER)
def test_a_network_that_remembers_says_so_and_forgets_between_cases(card, kind):
    source = source_of(card, REMEMBER[kind])
    engine = engines.open("torch-fp32", source)
    assert engine.keeps_state
    assert engine.provenance["keeps_state"] is True
    runs = []
    for case in ("a", "b"):
        engine.start_case(CaseContext(case, source.root))
        runs.append([engine.infer(inputs_of(source, seed))["lines"] for seed in range(4)])
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)
    fresh = engines.open("torch-fp32", source)
    np.testing.assert_array_equal(fresh.infer(inputs_of(source, 0))["lines"], runs[0][0])


@pytest.mark.parametrize("kind", FORGET)
def test_a_network_that_remembers_nothing_is_shared(card, kind):
    engine = engines.open("torch-fp32", source_of(card, FORGET[kind]))
    assert not engine.keeps_state
    assert "keeps_state" not in engine.provenance


def test_whether_zeros_suit_it_is_not_the_question(card):
    source = source_of(card, ["assert images.any()", "return y"])
    assert engines.open("torch-fp32", source).keeps_state, "nobody knows, so nobody shares it"


@pytest.mark.parametrize("model", ["Lanes", "Paired", "Calibrated", "Recurrent"])
@pytest.mark.parametrize("name", ["torch-fp32", "torch-bf16", "ort-fp32", "emulated-fp16"])
def test_the_cards_own_state_is_no_memory_of_the_engine(shared_cards, name, model):
    assert not engines.open(name, shared_cards(model)).keeps_state
