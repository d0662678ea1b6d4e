from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from averages_runs import TASKS, run, same_weights, settings, stopped_run
from hypothesis import given
from hypothesis import strategies as st

from techniques.errors import TechniqueOptionError
from techniques.swa_detection import SWADetection, cycle_of
from techniques.training import Loop


class Watched(SWADetection):
    """Remembers rates and weights, and at which progress a rate was used."""

    def start(self, loop: Loop) -> None:
        super().start(loop)
        self.rates: list[tuple[float, float]] = []
        self.weights: list[torch.Tensor] = []
        self._before = 0.0

    def after_step(self, loop: Loop) -> None:
        super().after_step(loop)
        self.rates.append((self._before, loop.optimiser.param_groups[0]["lr"]))
        self.weights.append(loop.model[4].weight.detach().clone())
        self._before = loop.progress


def test_the_ends_of_the_cycles_are_averaged() -> None:
    trained = run(TASKS["classes"](), Watched(cycles=3, share=0.4), 120)  # 60 steps: 36 before, cycles of 8
    (technique,) = trained.techniques
    ends = [technique.weights[i - 1] for i in (44, 52, 60)]
    torch.testing.assert_close(trained.model[4].weight, torch.stack(ends).mean(0))
    assert trained.reports["swa-detection"] == {"averaged": 3}


def test_rates_are_the_schedule_in_less_time_and_then_cosine_cycles() -> None:
    loop = Loop(TASKS["classes"](), [Watched(cycles=3, share=0.4)], settings(120, schedule="cosine"))
    (technique,) = loop.run().techniques
    for progress, rate in technique.rates:
        if progress < 0.6 - 1e-9:
            assert rate == pytest.approx(loop.scheduled_rate(progress / 0.6))
        else:
            within = ((progress - 0.6) / 0.4 * 3 + 1e-9) % 1
            expected = 0.02 * (0.01 + 0.99 * (1 + math.cos(math.pi * within)) / 2)
            assert rate == pytest.approx(expected, rel=1e-4)
    before = [rate for progress, rate in technique.rates if progress < 0.6 - 1e-9]
    assert before[-1] < 0.01 * max(before)  # trained to its end before the cycles


@given(cycles=st.integers(1, 20), share=st.floats(0.05, 0.95), steps=st.integers(40, 400))
def test_every_cycle_ends_once_and_the_last_with_the_budget(cycles: int, share: float, steps: int) -> None:
    ended = [cycle_of(step / steps, cycles, share)[0] for step in range(steps + 1)]
    assert ended == sorted(ended)
    assert ended[0] == -1
    assert ended[-1] == cycles
    assert ended[-2] < cycles
    assert all(0 <= cycle_of(step / steps, cycles, share)[1] < 1 for step in range(steps))


def test_a_budget_with_fewer_steps_than_cycles_still_ends_with_an_average() -> None:
    trained = run(TASKS["classes"](), SWADetection(cycles=50, share=0.5), 20)
    assert trained.reports["swa-detection"]["averaged"] == 5


@pytest.mark.parametrize("name", TASKS)
def test_a_resumed_run_equals_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    def make() -> SWADetection:
        return SWADetection(cycles=3, share=0.5)

    task = TASKS[name]()
    assert same_weights(run(task, make()).model, stopped_run(task, make, tmp_path, 22).model)


@pytest.mark.parametrize("options", [{"cycles": 0}, {"share": 0.0}, {"share": 1.0}, {"high": 0.0}, {"low": 2.0}])
def test_options_out_of_range_are_one_clear_error(options: dict[str, float]) -> None:
    with pytest.raises(TechniqueOptionError, match=rf"\[technique.swa-detection\] {next(iter(options))}"):
        SWADetection(**options)  # type: ignore[arg-type]  # options of several types
