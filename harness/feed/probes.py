"""Which swaps of preprocessing steps can run: each is tried on the first picture before the replay begins.

A step may need another one: a crop needs the resize before it, a JPEG step needs 8-bit pixels. A swap that cannot be
built, fails on the picture or gives the network another shape is not run. Its step is then joined with the smallest set
of other differing steps with which it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations

from cases.case import Case
from cases.errors import CaseError
from cases.picture import Tick
from harness.feed.inputs import cameras_of, steps_of_variant
from harness.feed.preprocess import build_pipeline
from harness.model.card import Card
from harness.run.swaps import Swap, other_pipeline
from trueline import TruelineError

__all__ = ["StepProbes", "step_probes"]

MOST_TRIALS = 200  # joined steps tried for each direction; six steps need 64 at most

Trial = Callable[[Swap], str]
"""Why a swap cannot run; empty where it can."""


@dataclass(frozen=True)
class StepProbes:
    """Rungs that swap steps.

    Attributes:
        steps: the steps that differ, as the ladder names them; one name, joined by `+`, where none goes by itself.
        swaps: swaps that run.
        refused: those that cannot, and why.
    """

    steps: tuple[str, ...]
    swaps: tuple[Swap, ...] = ()
    refused: dict[Swap, str] = field(default_factory=dict)


def step_probes(card: Card, case: Case, reference: str, steps: Sequence[str]) -> StepProbes:
    """Each of several steps put into the reference's pipeline and taken out of the other one, as far as they can run.

    Args:
        card: the model.
        case: its first pictures are tried.
        reference: the reference's pipeline, `train` or `deploy`.
        steps: names of the steps that differ.

    Raises:
        PreprocessError: a step is wrong in the card itself.
    """
    if len(steps) < 2:
        return StepProbes(tuple(steps))
    trial = _trial(card, case)
    put_in, no_way_in = _in_direction(reference, "+", steps, trial)
    taken_out, no_way_out = _in_direction(other_pipeline(reference), "-", steps, trial)
    swaps = (*put_in, *taken_out)
    return StepProbes(tuple(steps) if swaps else ("+".join(steps),), swaps, no_way_in | no_way_out)


def _in_direction(base: str, sign: str, steps: Sequence[str], trial: Trial) -> tuple[tuple[Swap, ...], dict[Swap, str]]:
    """Swaps that run with one sign, and single ones that do not."""
    singles = {step: Swap(base, sign, (step,)) for step in steps}
    unable = {swap: why for swap in singles.values() if (why := trial(swap))}
    found = {swap: None for swap in singles.values() if swap not in unable}
    for step, swap in singles.items():
        if swap in unable:
            joined = _smallest(Swap(base, sign, tuple(steps)), step, trial)
            found |= {joined: None} if joined else {}
    return tuple(found), unable


def _smallest(whole: Swap, step: str, trial: Trial) -> Swap | None:
    """The smallest swap of several steps, this one among them, that runs; None where only the whole pipeline does."""
    others, left = [s for s in whole.steps if s != step], MOST_TRIALS
    for size in range(1, len(others)):
        for chosen in combinations(others, size):
            if not left:
                return None
            left -= 1
            swap = Swap(whole.base, whole.sign, tuple(s for s in whole.steps if s == step or s in chosen))
            if not trial(swap):
                return swap
    return None


def _trial(card: Card, case: Case) -> Trial:
    """Tries a swap on the case's first pictures, each swap once; without a readable picture every swap seems to run."""
    tick, known = _first_tick(card, case), dict[Swap, str]()

    def why_not(swap: Swap) -> str:
        if tick is not None and swap not in known:
            try:
                _run_once(card, case, swap, tick)
                known[swap] = ""
            except TruelineError as error:
                known[swap] = error.what
        return known.get(swap, "")

    return why_not


def _first_tick(card: Card, case: Case) -> Tick | None:
    with suppress(CaseError):
        return next(case.ticks(cameras_of(card)), None)
    return None


def _run_once(card: Card, case: Case, swap: Swap, tick: Tick) -> None:
    """The tensors of one moment.

    Raises:
        PreprocessError: a step cannot run, or what comes out does not fit the input.
    """
    for spec in card.inputs:
        kind, _, camera = spec.source.partition(".")
        if kind == "camera":
            steps = steps_of_variant(card, spec, swap.name)
            build_pipeline(steps, spec, case.calibration(camera), swap.name, card.root)(tick.pictures[camera])
