"""Gaussian noise: raw units, the raw range, domain inputs only, one sigma for each example."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tasks import MEAN, STD, classes_task, polylines_task
from whole_runs import assert_same, resumed, trained

from techniques.errors import TechniqueOptionError
from techniques.gaussian import Gaussian, noisy
from techniques.registry import build
from techniques.task import Batch, Domain
from techniques.training import Loop, Settings


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noise_has_the_asked_deviation_in_raw_units_on_every_channel() -> None:
    domain = Domain(-1000, 1000, MEAN, STD)
    x = torch.zeros(64, 3, 20, 20)
    (found,) = noisy((x,), (domain,), 7.0, _generator(), random=False)
    deviation = (domain.raw(found) - domain.raw(x)).transpose(0, 1).flatten(1).std(1)
    torch.testing.assert_close(deviation, torch.full((3,), 7.0), rtol=0.02, atol=0)


def test_each_example_has_a_strength_of_its_own_spread_evenly_up_to_sigma() -> None:
    x, y = torch.zeros(400, 1, 20, 20), torch.zeros(400, 1, 20, 20)
    wide = Domain(-1e4, 1e4)
    first, second = noisy((x, y), (wide, wide), 3.0, _generator())
    strength = first.flatten(1).std(1)
    assert float(strength.max()) < 3.4
    assert float(strength.min()) < 0.1
    assert float(strength.mean()) == pytest.approx(1.5, abs=0.15)
    torch.testing.assert_close(strength, second.flatten(1).std(1), rtol=0.3, atol=0.02)  # both inputs of an example


@given(st.integers(0, 10**6), st.floats(0.01, 1.0))
@settings(max_examples=20, deadline=None)
def test_noisy_pictures_stay_pictures_and_a_pose_stays_as_it_is(seed: int, sigma: float) -> None:
    domain = Domain(0, 1, MEAN, STD)
    x, pose = domain.normalised(torch.rand(4, 3, 5, 5, generator=_generator(seed))), torch.randn(4, 2)
    found, same = noisy((x, pose), (domain, None), sigma, _generator(seed))
    raw = domain.raw(found)
    assert same is pose
    assert not torch.equal(found, x)
    assert float(raw.min()) >= -1e-6
    assert float(raw.max()) <= 1 + 1e-6


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_dtype_of_inputs_is_kept(dtype: torch.dtype) -> None:
    (found,) = noisy((torch.zeros(2, 1, 4, 4, dtype=dtype),), (Domain(-1, 1),), 0.1, _generator())
    assert found.dtype == dtype


def test_labels_and_variants_stay_and_the_original_batch_is_untouched() -> None:
    task = polylines_task(16)
    loop = Loop(task, [], Settings(budget_passes=1))
    batch = task.train.batch(torch.arange(8), _generator())
    before = [x.clone() for x in batch.inputs]
    found = Gaussian().before_step(loop, batch)
    assert found.targets is batch.targets
    assert found.variants is batch.variants
    assert all(torch.equal(a, b) for a, b in zip(batch.inputs, before, strict=True))
    assert not torch.equal(found.inputs[0], batch.inputs[0])
    assert isinstance(found, Batch)
    assert loop.passes.total == 0


@pytest.mark.parametrize("task", [classes_task(64), polylines_task(64)], ids=["classes", "polylines"])
def test_a_resumed_run_equals_an_uninterrupted_one(task, tmp_path: Path) -> None:
    one = trained(task, Gaussian(sigma=0.1))
    assert_same(one, resumed(task, lambda: Gaussian(sigma=0.1), tmp_path, 0.5))
    assert one.passes.total == 60
    assert one.steps == 30


def test_it_is_refused_what_makes_no_sense() -> None:
    with pytest.raises(TechniqueOptionError, match="sigma"):
        build("gaussian", sigma=-1)
    with pytest.raises(TechniqueOptionError, match="raw range of 1") as caught:
        noisy((torch.zeros(1, 1),), (Domain(),), 13.0, _generator())
    assert "raw units" in caught.value.remedy
    with pytest.raises(TechniqueOptionError, match="1 inputs, 1 domains of which 0"):
        noisy((torch.zeros(1, 1),), (None,), 0.1, _generator())
