"""Which swaps of preprocessing steps can run: each is tried on the first picture before the replay begins.

A step may need another one: a crop needs the resize before it, a JPEG step needs 8-bit pixels. Not run is a swap that
cannot be built, fails on the picture, gives the network another shape, or shows a step a picture of a size that it is
not meant for (harness/feed/sizes.py). Its step is then joined with the smallest set of other differing steps with which
it runs.
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
from harness.feed.preprocess.mixing import checked_steps
from harness.feed.preprocess.pipeline import Size
from harness.feed.sizes import Seen, out_of_place
from harness.feed.swaps import PIPELINES, Swap, other_pipeline
from harness.model.card import Card, InputSpec
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
    inputs = [] if tick is None else [_Input(card, case, spec, tick) for spec in card.inputs if _is_camera(spec)]

    def why_not(swap: Swap) -> str:
        if swap not in known:
            known[swap] = next((why for why in (one.why_not(swap) for one in inputs) if why), "")
        return known[swap]

    return why_not


def _first_tick(card: Card, case: Case) -> Tick | None:
    with suppress(CaseError):
        return next(case.ticks(cameras_of(card)), None)
    return None


def _is_camera(spec: InputSpec) -> bool:
    return spec.source.startswith("camera.")


class _Input:
    """One camera input on one picture."""

    def __init__(self, card: Card, case: Case, spec: InputSpec, tick: Tick) -> None:
        camera = spec.source.partition(".")[2]
        self._card, self._spec, self._calibration = card, spec, case.calibration(camera)
        self._picture = tick.pictures[camera]
        self._pipelines = [self._run(name)[0] for name in PIPELINES]

    def why_not(self, swap: Swap) -> str:
        """Why a swap cannot run here; empty where it can."""
        seen, failed = self._run(swap.name)
        return failed or out_of_place(seen, self._pipelines)

    def _run(self, variant: str) -> tuple[Seen, str]:
        """A pipeline on the picture, as far as it runs, and why no further."""
        sizes: dict[str, Size] = {}
        steps = checked_steps(steps_of_variant(self._card, self._spec, variant), variant, self._card.root)
        try:
            build_pipeline(steps, self._spec, self._calibration, variant, self._card.root)(self._picture, sizes)
        except TruelineError as error:
            return Seen(steps, sizes), error.what
        return Seen(steps, sizes), ""
