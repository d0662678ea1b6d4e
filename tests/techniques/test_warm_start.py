"""Warm starts: the file's weights, to the bit, or one clear error; and what fine-tuning techniques make of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_tasks import LinesNetwork, polylines_task
from stopped import run, same
from torch import nn

from techniques.errors import CheckpointError, ModelMismatch, TaskError, TechniqueError, TechniqueOptionError
from techniques.registry import build
from techniques.soups import UniformSoup
from techniques.training import Loop, Settings
from techniques.uat import UATFT
from techniques.weights import interpolate
from techniques.wiseft import WiSEFT

TASK = polylines_task(48)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A trained network's."""
    path = tmp_path_factory.mktemp("weights") / "first.safetensors"
    save_file(run(TASK, [], passes=20, seed=7).model.state_dict(), path)
    return path


def _settings(weights: Path, passes: int = 24, **options: object) -> Settings:
    return Settings(budget_passes=passes, batch=16, initial=str(weights), **options)  # type: ignore[arg-type]  # tests


def _stored(weights: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(weights)


def test_a_run_begins_with_the_files_weights_and_buffers_to_the_bit(weights: Path) -> None:
    for seed in (0, 1):
        loop = Loop(TASK, [], _settings(weights, seed=seed))
        assert same(loop.model.state_dict(), _stored(weights))
        assert loop.model.training
    assert not same(loop.run().model.state_dict(), _stored(weights))


def test_without_a_file_the_seed_decides_as_before(weights: Path) -> None:
    one = Loop(TASK, [], Settings(batch=16)).model.state_dict()
    assert same(one, Loop(TASK, [], Settings(batch=16)).model.state_dict())
    assert not same(one, _stored(weights))


def test_a_checkpoint_belongs_to_the_weights_it_began_with_wherever_they_lie(weights: Path, tmp_path: Path) -> None:
    copied, other = tmp_path / "copy.safetensors", tmp_path / "other.safetensors"
    copied.write_bytes(weights.read_bytes())
    save_file({k: v + 1 for k, v in _stored(weights).items()}, other)
    whole = Loop(TASK, [], _settings(weights)).run()
    first = Loop(TASK, [], _settings(weights), tmp_path / "run")
    for _ in range(5):
        first.one_step()
    first.save()
    for begun in (other, None):
        again = _settings(begun) if begun else Settings(budget_passes=24, batch=16)
        with pytest.raises(CheckpointError, match="other settings"):
            Loop(TASK, [], again, tmp_path / "run").run()
    resumed = Loop(TASK, [], _settings(copied), tmp_path / "run").run()
    assert same(resumed.model.state_dict(), whole.model.state_dict())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: {k: v for k, v in w.items() if k != "head.bias"}, "it lacks 'head.bias' and has none besides"),
        (lambda w: {**w, "neck.bias": torch.zeros(1)}, "it lacks none and has 'neck.bias' besides"),
        (lambda w: {f"module.{k}": v for k, v in w.items()}, r"and 7 more\) and has 'module.body"),
        (lambda w: {**w, "head.bias": torch.zeros(13)}, r"'head.bias' is \[13\] there and \[12\] in the network"),
        (lambda w: {**w, "head.bias": torch.full((12,), torch.nan)}, "'head.bias' has values that are not finite"),
    ],
)
def test_weights_of_another_network_are_one_clear_line(weights: Path, tmp_path: Path, change, said: str) -> None:
    path = tmp_path / "w.safetensors"
    save_file(change(_stored(weights)), path)
    with pytest.raises(ModelMismatch, match=said) as caught:
        Loop(TASK, [], _settings(path))
    assert str(path) in caught.value.where
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("no weights")
    for name, said in (("missing.safetensors", "cannot read weights"), ("text.safetensors", "not a safetensors file")):
        with pytest.raises(TaskError, match=said) as caught:
            Loop(TASK, [], _settings(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_half_precision_weights_begin_a_full_precision_run(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_file({k: v.half() if v.is_floating_point() else v for k, v in _stored(weights).items()}, path)
    model = Loop(TASK, [], _settings(path)).model
    assert all(p.dtype == torch.float32 for p in model.parameters())
    torch.testing.assert_close(model.head.weight, _stored(weights)["head.weight"], atol=1e-3, rtol=1e-3)


def test_wise_ft_interpolates_between_the_weights_it_began_with_and_the_fine_tuned_ones(weights: Path) -> None:
    ends = {a: Loop(TASK, [WiSEFT(alpha=a, broad=0, points=2)], _settings(weights)).run() for a in (0.0, 0.5, 1.0)}
    assert same(ends[0.0].model.state_dict(), _stored(weights))
    fine = ends[1.0].model.state_dict()
    assert not same(fine, _stored(weights))
    middle = interpolate(_stored(weights), fine, 0.5)
    assert all(torch.equal(p, middle[k]) for k, p in ends[0.5].model.named_parameters())


def test_branches_of_a_soup_begin_at_the_weights_it_began_with(weights: Path) -> None:
    trained = Loop(TASK, [UniformSoup(branches=2, trunk=0)], _settings(weights)).run()
    (soup,) = trained.techniques
    assert same(soup._trunk["model"], _stored(weights))
    assert len(soup.ingredients) == 2
    assert trained.steps == 12  # the whole budget is the branches'


def test_a_fixed_teacher_is_the_network_it_began_with(weights: Path) -> None:
    loop = Loop(TASK, [UATFT(teacher_share=0, ramp_start=0, ramp_stop=0, steps=1)], _settings(weights))
    loop.one_step()
    assert same(loop.techniques[0].teacher.state_dict(), _stored(weights))


@pytest.mark.parametrize(
    ("name", "option"),
    [("wise-ft", "broad"), ("uniform-soup", "trunk"), ("greedy-soup", "trunk"), ("learned-soup", "trunk"),
     ("uat-ft", "teacher_share"), ("uat++", "teacher_share")],
)  # fmt: skip
def test_a_zero_share_asks_for_a_warm_start(name: str, option: str) -> None:
    with pytest.raises(TechniqueOptionError, match="those are random") as caught:
        Loop(TASK, [build(name, **{option: 0})], Settings(budget_passes=24, batch=16)).run()
    assert option in caught.value.where
    assert "initial" in caught.value.remedy


def test_another_architecture_of_the_same_names_is_refused(weights: Path) -> None:
    class Wider(LinesNetwork):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(10, 20)

    with pytest.raises(TechniqueError, match=r"and so with 1 more"):
        Loop(replace(TASK, network=Wider), [], _settings(weights))
