"""Seasoned soups: the grid by counting, the best mix by brute force, branches that have their own strength."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run, same

from techniques.consistency import Consistency
from techniques.errors import NonFiniteLoss, TechniqueConflict, TechniqueOptionError
from techniques.registry import build
from techniques.seasoned_soup import SeasonedSoup, seasoned_soup, shares_on_a_grid
from techniques.training import Loop, Settings
from techniques.wiseft import AllVariants

TASK = polylines_task(48)


@pytest.mark.parametrize(("count", "parts"), [(1, 3), (2, 4), (3, 4), (4, 2)])
def test_the_grid_has_every_deal_once_and_whole_shares_first(count: int, parts: int) -> None:
    found = list(shares_on_a_grid(count, parts))
    assert len(found) == len(set(found)) == math.comb(parts + count - 1, count - 1)
    assert all(sum(shares) == pytest.approx(1) and min(shares) >= 0 for shares in found)
    assert all(max(shares) == 1 for shares in found[:count])


def test_the_best_mix_is_that_of_brute_force_and_a_single_one_stays_bit_for_bit() -> None:
    states = [{"w": torch.tensor([float(v)])} for v in (0, 1, 4)]
    mended = []

    def error(state) -> float:
        return abs(float(state["w"]) - 1.9)

    found = seasoned_soup(states, error, parts=4, repaired=lambda s: (mended.append(1), s)[1])
    values = {shares: abs(shares[1] + 4 * shares[2] - 1.9) for shares in shares_on_a_grid(3, 4)}
    assert found.error == pytest.approx(min(values.values()))
    assert values[found.shares] == pytest.approx(found.error)
    assert (found.tried, len(mended)) == (15, 12)
    single = seasoned_soup(states, lambda s: abs(float(s["w"]) - 4))
    assert same(single.state, states[2])
    assert single.shares == (0, 0, 1)


def test_of_equal_mixes_the_simplest_is_taken_and_nan_never() -> None:
    states = [{"w": torch.tensor([float(v)])} for v in (0, 1)]
    assert max(seasoned_soup(states, lambda s: 0.5).shares) == 1
    assert seasoned_soup(states, lambda s: math.nan if float(s["w"]) < 0.9 else 3.0).shares == (0, 1)
    with pytest.raises(NonFiniteLoss):
        seasoned_soup(states, lambda s: math.nan)


def test_each_branch_trains_with_its_own_strength_from_one_trunk() -> None:
    weights: list[float] = []

    class Watched(Consistency):
        def loss(self, loop, batch, outputs, loss):
            weights.append(self.weight)
            return super().loss(loop, batch, outputs, loss)

    loop = Loop(TASK, [SeasonedSoup(strengths=(0.0, 2.0, 5.0), trunk=0.25)], Settings(budget_passes=96, batch=16))
    (soup,) = loop.techniques
    soup._seasoning = [None, Watched(weight=2.0), Watched(weight=5.0)]
    trained = loop.run()
    assert weights == sorted(weights)
    assert set(weights) == {2.0, 5.0}
    report = trained.reports["seasoned-soup"]
    assert report["strengths"] == [0.0, 2.0, 5.0]
    assert report["rates"] == [loop.settings.rate * 0.5] * 3
    assert len(soup.ingredients) == 3
    assert report["soup_error"] <= min(report["ingredient_errors"])
    assert not same(soup.ingredients[1], soup.ingredients[2])


def test_the_error_that_chooses_is_of_plain_pictures_and_variants_alike() -> None:
    loop = Loop(TASK, [SeasonedSoup()], Settings(budget_passes=96, batch=16))
    state = loop.model.state_dict()
    plain = loop.mean_error(loop.model, TASK.selection)
    varied = loop.mean_error(loop.model, AllVariants(TASK.selection, TASK.domains))
    assert plain != varied
    assert loop.techniques[0].error(loop, state) == pytest.approx((plain + varied) / 2)
    classes = classes_task(32)
    other = Loop(classes, [SeasonedSoup(of="gaussian", option="sigma")], Settings(batch=16))
    alone = other.mean_error(other.model, classes.selection)
    assert other.techniques[0].error(other, other.model.state_dict()) == alone


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    assert_resumes(TASK, lambda: SeasonedSoup(strengths=(0, 1.0)), tmp_path, stops=(1, 9, 12), passes=60)


def test_an_attack_may_be_the_seasoning() -> None:
    technique = SeasonedSoup(of="fgsm", option="eps", strengths=(0, 0.02))
    assert run(TASK, [technique], passes=60).reports["seasoned-soup"]["tried"] == 5
    with pytest.raises(TechniqueConflict, match="both are the run's attack"):
        run(TASK, [build("pgd"), technique], passes=60)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strengths": (1.0,)}, "two strengths"),
        ({"parts": 0}, "one part"),
        ({"of": "ema"}, "no option 'weight'"),
        ({"of": "ema", "option": "decay", "strengths": (0, 0.5)}, "remembers something"),
        ({"of": "smart", "option": "weight"}, "remembers something"),
        ({"strengths": (0, -1.0)}, "zero or a positive number"),
        ({"branches": 3}, "no option"),
    ],
)
def test_what_makes_no_sense_is_one_clear_error(options: dict[str, object], said: str) -> None:
    with pytest.raises(TechniqueOptionError, match=said):
        build("seasoned-soup", **options)
