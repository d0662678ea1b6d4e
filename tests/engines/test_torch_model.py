from dataclasses import replace

import pytest
import torch
from engine_models import save_weights
from safetensors.torch import save_file

import engines
from engines.errors import EngineOutputMissing, EngineUnavailable, ModelLoadError
from engines.torch_model import build_module, name_outputs


def test_safetensors_and_torch_files_fill_alike(card):
    source = card()
    state = save_weights(source.weights, 3)
    torch.save(state, source.root / "weights.pth")
    one, two = build_module(source), build_module(replace(source, weights=source.root / "weights.pth"))
    assert not one.training
    for key, value in state.items():
        assert torch.equal(one.state_dict()[key], value)
        assert torch.equal(two.state_dict()[key], value)


def test_without_weights_the_network_is_the_same_every_time(card):
    source = card(weights=None)
    torch.manual_seed(1)
    one = build_module(source).state_dict()
    drawn = torch.rand(1)
    two = build_module(source).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1)), "building a network moved the caller's random numbers"


def test_factory_arguments_reach_the_factory(card):
    assert build_module(card(weights=None, factory_args={"width": 4})).conv.weight.shape[0] == 4


def bad_weights(source, name):
    state = save_weights(source.root / "good.safetensors", 0)
    path = source.root / f"{name}.pth"
    renamed = {f"module.{key}": value for key, value in state.items()}
    if name == "prefixed":
        torch.save(renamed, path)
    elif name == "short":
        torch.save({key: value for key, value in state.items() if "norm" not in key and "head" not in key}, path)
    elif name == "long":
        torch.save({**state, "extra.bias": torch.zeros(1)}, path)
    elif name == "reshaped":
        torch.save({**state, "head.weight": torch.zeros(5, 8)}, path)
    elif name == "checkpoint":
        torch.save({"epoch": 3, "state_dict": state}, path)
    elif name == "pickled":
        torch.save(torch.nn.Linear(1, 1), path)
    elif name == "list":
        torch.save([1, 2], path)
    elif name == "truncated":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:900])
    elif name == "torn":
        path = path.with_suffix(".safetensors")
        save_file(state, path)
        path.write_bytes(path.read_bytes()[:-40])
    return path


@pytest.mark.parametrize(
    ("name", "what", "remedy"),
    [
        ("prefixed", "missing, 8 ('module.conv.weight'", "the file's keys begin with 'module.'"),
        ("short", "6 ('norm.weight', 'norm.bias', 'norm.running_mean', 'norm.running_var', ...) missing", "weights"),
        ("long", "1 ('extra.bias') unexpected", "weights"),
        ("reshaped", "1 weights of another shape: size mismatch for head.weight", "[torch] args"),
        ("checkpoint", "2 ('epoch', 'state_dict') of its 2 entries hold no tensor", "checkpoint['state_dict']"),
        ("pickled", "do not load: UnpicklingError", "state_dict()"),
        ("list", "a list instead of a state dict", "state_dict()"),
        ("truncated", "do not load", "state_dict()"),
        ("torn", "do not load: SafetensorError", "state_dict()"),
        ("absent", "no such weights file", "model.toml"),
    ],
)
def test_weights_that_do_not_fit_are_one_clear_line(card, name, what, remedy):
    source = card()
    path = bad_weights(source, name)
    with pytest.raises(ModelLoadError) as caught:
        build_module(replace(source, weights=path))
    assert what in caught.value.what
    assert remedy in caught.value.remedy
    assert caught.value.where == str(path)
    assert "\n" not in str(caught.value)


def test_a_factory_that_fails_or_gives_no_module_says_so(card):
    source = card()
    with pytest.raises(ModelLoadError, match="the factory failed: TypeError"):
        build_module(replace(source, factory_args={"depth": 3}))
    (source.root / "other.py").write_text("def build(): return int")
    with pytest.raises(ModelLoadError, match="the factory gave a type"):
        build_module(replace(source, factory="other:build"))
    with pytest.raises(EngineUnavailable, match="has no PyTorch network"):
        build_module(replace(source, factory=None))


def test_outputs_are_named_in_order_or_by_name():
    a, b = torch.zeros(1), torch.ones(1)
    for value in ((a, b), [a, b], {"q": b, "p": a, "other": a}):
        named = name_outputs(value, ["p", "q"], "here")
        assert named["p"] is a
        assert named["q"] is b
    assert name_outputs(a, ["p"], "here") == {"p": a}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.zeros(2), "gives 1 outputs, the card names 2"),
        ((torch.zeros(1),) * 3, "gives 3 outputs, the card names 2"),
        ({"p": torch.zeros(1)}, "has no output 'q'"),
        ((torch.zeros(1), None), "output 'q' is a NoneType"),
        ("text", "gives a str"),
    ],
)
def test_outputs_that_cannot_be_named_are_an_error(value, text):
    with pytest.raises(EngineOutputMissing, match=text):
        name_outputs(value, ["p", "q"], "here")


MODES = """
import torch
from torch import nn

class Own(nn.Module):
    def forward(self, images):
        return images * 2 if self.training else images

class Modes(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 3, 1), nn.ReLU()
        self.norm, self.drop, self.own = nn.BatchNorm2d(3), nn.Dropout(0.5), Own()

    def forward(self, images):
        return self.own(self.drop(self.act(self.norm(self.conv(images))))).mean((2, 3))

def forgotten():
    return Modes()

def settled():
    return Modes().eval()

def partly():
    network = Modes().eval()
    network.norm.train()
    return network
"""


@pytest.mark.parametrize(
    ("factory", "changed"),
    [
        ("forgotten", ["norm (BatchNorm2d)", "drop (Dropout)", "own (Own)"]),
        ("settled", []),
        ("partly", ["norm (BatchNorm2d)"]),
    ],
)
def test_parts_that_the_factory_left_in_training_mode_are_set_to_evaluation_and_told(card, factory, changed):
    source = card(weights=None)
    (source.root / "modes.py").write_text(MODES)
    source = replace(source, factory=f"modes:{factory}")
    assert not any(part.training for part in build_module(source).modules())
    assert list(engines.open("torch-fp32", source).provenance.get("set_to_eval", [])) == changed
