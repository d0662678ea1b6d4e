"""The worst that small disturbances do together: a search over their amounts for the picture that bends a line most.

A point is one amount for each perturbation, none beyond its severity 5. Each alone comes first, at its largest amount
either way; then the best point is changed in a few amounts at a time, by steps that grow where they help and shrink
where they do not (a (1+1) evolution strategy with the one-fifth rule, Rechenberg 1973), and now and then a point is
drawn anew. It asks the model for lines only, so it works on every engine. What it finds is a bound from below: a worse
picture may exist.

Bend is measured as everywhere, against the undisturbed picture, without what truly moved, as a multiple of its finding
threshold in the band. A line that is lost has none. Recurrent inputs are zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cases.picture import Tick
from engines.guest import read_only
from harness.errors import CannotTell
from harness.feed.inputs import InputBuilder, cameras_of, context_of
from harness.lines.table import LineTable, concat
from harness.measures.match import match
from harness.measures.pairs import pair_metrics
from harness.measures.stations import resample
from harness.replay.hooks import Progress, quiet
from harness.run.catalogue import find_measure
from harness.run.tables import BANDS
from harness.sweep.cell import OneCase, undo
from harness.sweep.disturbance import Amount, Disturbance
from harness.sweep.perturbation import Perturbation
from harness.sweep.running import Model
from trueline import TruelineError

__all__ = ["Worst", "find_worst"]

FRAMES = 6  # pictures that every point is tried on, spread over the cases
FIRST_STEP, GROWS, SHRINKS = 0.4, 1.5, 0.9  # of a severity-5 amount; one in five successes keeps the step as it is
CHANGED = 3.0  # amounts that change at a time, on average
ANEW = 0.15  # of the points are drawn anew

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst point that was found.

    Attributes:
        amounts: perturbation -> amount, those that are not neutral.
        bend: of the line, in the card's unit.
        times: the same as a multiple of the finding threshold.
        band, case, frame: where.
        alone: the perturbation that bends most by itself, at its severity 5.
        alone_times: how much that does.
        tried: points.
    """

    amounts: dict[str, float]
    bend: float
    times: float
    band: str
    case: str
    frame: int
    alone: str
    alone_times: float
    tried: int


class _Bend(NamedTuple):
    times: float
    bend: float
    band: str
    case: str
    frame: int


_NONE = _Bend(0.0, 0.0, BANDS[0], "", -1)


def find_worst(
    model: Model,
    cases: Sequence[OneCase],
    perturbations: Sequence[Perturbation],
    *,
    tries: int,
    seed: int,
    progress: Progress | None = None,
) -> Worst | None:
    """Look for the disturbance that bends a line most.

    Args:
        model: what runs.
        cases: cases with their undisturbed lines.
        perturbations: to combine; those of time, and those that make no sense here, are left out.
        tries: points to try.
        seed: of all chance.
        progress: told ("worst bend", points tried, points in all).

    Returns:
        None where nothing can be disturbed, or nothing bends.

    Raises:
        TruelineError: a case cannot be read.
    """
    places = _places(model, cases)
    usable = [p for p in perturbations if p.timing is None and _makes_sense(model, places, p)]
    if not usable or not tries:
        return None
    trial = _Trial(model, places, usable, seed, tries, progress or quiet)
    rng = np.random.default_rng([seed, len(usable)])
    corners = [(k, s) for k, p in enumerate(usable) for s in ((1.0, -1.0) if p.signed else (1.0,))]
    best, alone = np.zeros(len(usable)), (_NONE, usable[0].name)
    found = _NONE
    for k, sign in corners[: max(1, tries)]:
        point = np.zeros(len(usable))
        point[k] = sign
        bend = trial(point)
        if bend.times > alone[0].times:
            alone = bend, usable[k].name
        best, found = (point, bend) if bend.times > found.times else (best, found)
    step = FIRST_STEP
    while trial.tried < tries:
        anew = rng.random() < ANEW
        point = trial.drawn(rng) if anew else trial.changed(best, step, rng)
        bend = trial(point)
        better = bend.times > found.times
        best, found = (point, bend) if better else (best, found)
        step = step if anew else min(1.0, step * GROWS) if better else max(0.02, step * SHRINKS)
    if found.times <= 0:
        return None
    amounts = {a.what.name: a.amount for a in trial.amounts(best)}
    return Worst(amounts, found.bend, found.times, found.band, found.case, found.frame, alone[1], alone[0].times,
                 trial.tried)  # fmt: skip


@dataclass(frozen=True)
class _Place:
    """Some moments of a case, with the undisturbed lines of these."""

    one: OneCase
    ticks: tuple[Tick, ...]


class _Trial:
    """Tries points: shares of severity-5 amounts, one for each perturbation."""

    def __init__(
        self,
        model: Model,
        places: Sequence[_Place],
        usable: Sequence[Perturbation],
        seed: int,
        tries: int,
        progress: Progress,
    ) -> None:
        self._model, self._places, self._usable, self._seed = model, places, usable, seed
        self._lowest = np.array([-1.0 if p.signed else 0.0 for p in usable])
        self._threshold = find_measure("bend").threshold
        self._tries, self._progress = tries, progress
        self.tried = 0

    def __call__(self, point: Floats) -> _Bend:
        """The largest bend on any of the pictures; none where the model fails on one."""
        self.tried += 1
        self._progress("worst bend", self.tried, self._tries)
        try:
            return max((self._at(place, point) for place in self._places), key=lambda bend: bend.times)
        except TruelineError:
            return _NONE

    def amounts(self, point: Floats) -> list[Amount]:
        """What a point stands for; jpeg and the like keep their names' order."""
        return [Amount(p, p.at(float(share))) for p, share in zip(self._usable, point, strict=True) if share]

    def drawn(self, rng: np.random.Generator) -> Floats:
        """A point with a few amounts, anywhere within the severities."""
        chosen = rng.random(len(self._usable)) < min(1.0, CHANGED / len(self._usable))
        return np.where(chosen, rng.uniform(self._lowest, 1.0), 0.0)

    def changed(self, point: Floats, step: float, rng: np.random.Generator) -> Floats:
        """A point near another one."""
        chosen = rng.random(len(point)) < min(1.0, CHANGED / len(point))
        chosen[rng.integers(len(point))] = True
        moved = point + np.where(chosen, step * rng.standard_normal(len(point)), 0.0)
        return np.clip(moved, self._lowest, 1.0)

    def _at(self, place: _Place, point: Floats) -> _Bend:
        card, one = self._model.card, place.one
        disturbance = Disturbance(card, one.case, self.amounts(point), self._seed)
        lines = _lines(self._model, place, disturbance)
        undone = undo(card, one, disturbance, lines)
        return self._largest(one, undone.clean, undone.back(lines))

    def _largest(self, one: OneCase, clean: LineTable, lines: LineTable) -> _Bend:
        grid = self._model.card.grid
        assert self._threshold is not None  # bend has one
        lateral = [resample(table, grid.stations, grid.frame) for table in (clean, lines)]
        found = match(clean, lines, grid, lateral[0], lateral[1])
        bend = pair_metrics(clean, lines, found, grid, lateral[0], lateral[1]).bands["bend"]
        times = np.nan_to_num(bend / np.array(self._threshold.of(grid)))
        if not times.size or not times.any():
            return _NONE._replace(case=one.case.id)
        pair, band = np.unravel_index(int(np.argmax(times)), times.shape)
        frame = int(clean.frame[found.reference[pair]])
        return _Bend(float(times[pair, band]), float(bend[pair, band]), BANDS[int(band)], one.case.id, frame)


def _places(model: Model, cases: Sequence[OneCase]) -> list[_Place]:
    """Moments spread over the cases, read once."""
    found = []
    for index, one in enumerate(cases):
        share = FRAMES // len(cases) + (index < FRAMES % len(cases))
        at = np.unique(np.linspace(0, one.case.length - 1, share + 2)[1:-1].round().astype(int))
        names = cameras_of(model.card)
        ticks = tuple(tick for k in at for tick in one.case.ticks(names, int(k), int(k) + 1))
        if ticks:
            kept = np.isin(one.clean.frame, [tick.frame for tick in ticks])
            found.append(_Place(replace(one, clean=one.clean.take(kept)), ticks))
    return found


def _makes_sense(model: Model, places: Sequence[_Place], what: Perturbation) -> bool:
    """Whether it can be made here, and what it does to the true line is known."""
    try:
        for place in places:
            disturbance = Disturbance(model.card, place.one.case, [Amount(what, what.severities[-1])], 0)
            undo(model.card, place.one, disturbance, place.one.clean)
    except CannotTell:
        return False
    return bool(places)


def _lines(model: Model, place: _Place, disturbance: Disturbance) -> LineTable:
    """What the model draws of the disturbed moments, each by itself."""
    case, drawn = place.one.case, []
    build = InputBuilder(model.card, case, model.pipeline)
    for moment in disturbance.moments(place.ticks):
        runner: Any = model.runner()
        model.engine.start_case(context_of(case))
        tick = moment.tick
        runner.step(read_only(build(tick)), tick.frame, tick.timestamp_ns)
        drawn.append(runner.reading.take(runner.taken(), np.array([tick.frame]), {}).lines)
    return concat(drawn)
