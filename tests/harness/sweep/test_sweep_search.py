"""The search for the worst bend, on a model that bends by the brightness of the picture and by nothing else."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from cases.case import open_case
from harness.lines.table import LineTable
from harness.model.card import load_card
from harness.model.grid import vehicle_grid
from harness.replay.hooks import Hooks
from harness.replay.open import open_engine
from harness.sweep.cell import OneCase
from harness.sweep.measuring import follow
from harness.sweep.running import Model
from harness.sweep.search import Worst, find_worst
from harness.sweep.table import chosen
from tests.harness.sweep.readers import write_reader, write_stripes

NAMES = ("brighter", "gamma-bright", "range-dull", "chroma", "shift-right")


def _found(folder: Path, *, tries: int, seed: int, names: tuple[str, ...] = NAMES, **card: float) -> Worst | None:
    model = load_card(write_reader(folder / "model", **card))  # type: ignore[arg-type]  # keywords of the test
    if not (folder / "cases").exists():
        write_stripes(folder / "cases", frames=6)
    case = open_case(folder / "cases" / "stripes")
    with ExitStack() as stack:
        engine = open_engine("torch-fp32", model, [case], Hooks(), folder / "cache", stack)
        ready = Model(model, engine, "torch-fp32")
        return find_worst(ready, [OneCase.of(ready, case)], chosen(names), tries=tries, seed=seed)


@pytest.mark.parametrize("seed", [0, 5])
def test_several_small_causes_together_bend_more_than_the_worst_alone(tmp_path: Path, seed: int) -> None:
    found = _found(tmp_path, tries=45, seed=seed, bow=10.0)
    assert found is not None
    assert found.alone == "brighter"
    assert found.times > 1.2 * found.alone_times
    assert found.amounts["brighter"] > 40
    assert len({"gamma-bright", "range-dull"} & set(found.amounts)) >= 1
    limits = {p.name: abs(p.severities[-1]) for p in chosen(NAMES)}
    assert all(abs(amount) <= limits[name] + 1e-9 for name, amount in found.amounts.items())
    assert found.tried == 45


def test_the_same_seed_finds_the_same_and_few_tries_are_kept(tmp_path: Path) -> None:
    first, again = (_found(tmp_path, tries=6, seed=3, bow=10.0) for _ in range(2))
    assert first == again
    assert first is not None
    assert first.tried == 6


def test_a_blind_model_never_bends(tmp_path: Path) -> None:
    assert _found(tmp_path, tries=12, seed=0, sight=0.0) is None


def test_lines_that_moved_farther_than_the_match_gate_are_seen_to_follow() -> None:
    def lines(aside_m: float) -> LineTable:
        x = np.arange(0, 81, 2.5)
        points = [np.stack([x, np.full_like(x, y + aside_m)], axis=1) for y in (6.0, 0.0, -6.0)]
        return LineTable.from_points([0, 0, 0], points)

    clean, moved = lines(0.0), lines(2.5)  # the gate is 1.5 m
    assert follow(clean, moved, moved, vehicle_grid()) == pytest.approx(1)
    assert follow(clean, moved, clean, vehicle_grid()) == pytest.approx(0)
