"""Preprocessing randomisation: whole rows from a variant, at the asked share, and a clear refusal without variants."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_tasks import classes_task, polylines_task
from whole_runs import assert_same, resumed, trained

from techniques.errors import TaskError, TechniqueOptionError
from techniques.preprocessing import Preprocessing, varied
from techniques.registry import build
from techniques.task import Batch


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batch(size: int = 900) -> Batch:
    """Every value says which row and which variant it is of: row + 1000 * variant."""
    rows = torch.arange(size, dtype=torch.float64)
    inputs = [(rows.view(-1, 1, 1) + 1000 * k + torch.zeros(1, 2, 3), rows + 1000 * k) for k in range(3)]
    return Batch(inputs[0], (rows.long(),), tuple(inputs[1:]))


def test_a_row_comes_whole_from_its_own_place_in_one_variant() -> None:
    batch = _batch()
    found = varied(batch, 0.5, _generator())
    picture, pose = found.inputs
    assert torch.equal(picture.flatten(1).amin(1), picture.flatten(1).amax(1))
    assert torch.equal(picture[:, 0, 0], pose)  # all inputs of a row together
    assert torch.equal(pose % 1000, torch.arange(900, dtype=torch.float64))
    assert found.targets is batch.targets
    assert torch.equal(batch.inputs[0], _batch().inputs[0])


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_the_share_is_met_and_every_variant_has_its_part(share: float) -> None:
    which = (varied(_batch(), share, _generator()).inputs[1] // 1000).long()
    counts = torch.bincount(which, minlength=3) / 900
    assert counts.tolist() == pytest.approx([1 - share, share / 2, share / 2], abs=0.06)


def test_a_task_without_variants_is_refused_before_training() -> None:
    with pytest.raises(TaskError, match="this task has none") as caught:
        trained(classes_task(32), Preprocessing())
    assert caught.value.where == "Batch.variants"
    assert "variants" in caught.value.remedy


def test_variants_of_other_shapes_are_refused() -> None:
    batch = Batch((torch.zeros(2, 3),), (), ((torch.zeros(2, 4),),))
    with pytest.raises(TaskError, match=r"variant 0 has shapes \[\(2, 4\)\], the inputs have \[\(2, 3\)\]"):
        varied(batch, 0.5, _generator())
    short = Batch((torch.zeros(2, 3), torch.zeros(2)), (), ((torch.zeros(2, 3),),))
    with pytest.raises(TaskError, match="variant 0"):
        varied(short, 0.5, _generator())


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    task = polylines_task(64)
    one = trained(task, Preprocessing())
    assert_same(one, resumed(task, Preprocessing, tmp_path, 0.5))
    assert one.passes.total == 60
    assert one.steps == 30


@pytest.mark.parametrize("share", [0, 1.1, -0.5])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(TechniqueOptionError, match="above 0 and at most 1"):
        build("preprocessing", share=share)
