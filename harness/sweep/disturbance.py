"""Perturbations of some amount together: what they make of the moments of a case, and where they move things.

They act in the order of the table, on every camera that the model looks through. Where a line truly goes is known
where one camera's picture moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from cases.case import Case
from cases.picture import Tick
from harness.errors import CannotTell
from harness.feed.inputs import cameras_of
from harness.model.card import Card
from harness.sweep.geometric import warp_maps, warped
from harness.sweep.lens import View
from harness.sweep.perturbation import Moment, Move, Perturbation, Points, Rgb
from harness.sweep.pictures import altered

__all__ = ["Amount", "Disturbance", "Moved", "view_of"]


@dataclass(frozen=True)
class Amount:
    """So much of one perturbation."""

    what: Perturbation
    amount: float


@dataclass(frozen=True)
class Moved:
    """Moves after one another, as one."""

    moves: tuple[Move, ...]

    def target(self, points: Points) -> Points:
        """Where pixels go."""
        for move in self.moves:
            points = move.target(points)
        return points

    def source(self, points: Points) -> Points:
        """Where they came from."""
        for move in reversed(self.moves):
            points = move.source(points)
        return points


class Disturbance:
    """Amounts on one case; the same seed gives the same pictures, whatever the amounts.

    Args:
        card: the model: which cameras, and whether it hears of the vehicle's motion.
        case: the case.
        amounts: in the table's order.
        seed: of all chance.

    Raises:
        CannotTell: an amount makes no sense here, or what it does to the true line is not known.
    """

    def __init__(self, card: Card, case: Case, amounts: Sequence[Amount], seed: int) -> None:
        self._case, self._amounts = case, tuple(amounts)
        self._cameras = cameras_of(card)
        self._rng = {a.what.name: np.random.default_rng([seed, *map(_hashed, (a.what.name, case.id))]) for a in amounts}
        _check(card, case, self._cameras, self._amounts)
        self.move = self.moved_by(1.0)
        self._maps = warp_maps(self.move, view_of(case, self._cameras[0]).size) if self.move else None

    def moved_by(self, share: float) -> Moved | None:
        """How things would move at that share of all amounts; None where nothing does."""
        moving = [a for a in self._amounts if a.what.move is not None and a.amount != a.what.neutral]
        if not moving:
            return None
        view = view_of(self._case, self._cameras[0])
        part = [(a.what.move, a.what.neutral + share * (a.amount - a.what.neutral)) for a in moving]
        return Moved(tuple(move(amount, view) for move, amount in part if move is not None))

    def moments(self, ticks: Iterable[Tick]) -> Iterator[Moment]:
        """What the network gets at every moment."""
        timed = [a for a in self._amounts if a.what.timing is not None]
        given: Iterator[Moment] = (Moment(tick) for tick in ticks)
        for one in timed:
            assert one.what.timing is not None  # chosen so
            given = one.what.timing(self._case, (m.tick for m in given), one.amount, self._rng[one.what.name])
        return (moment._replace(tick=self._disturbed(moment.tick)) for moment in given)

    def _disturbed(self, tick: Tick) -> Tick:
        if self.move is None and all(a.what.draw is None for a in self._amounts):
            return tick
        pictures = {name: altered(picture, self._change) for name, picture in tick.pictures.items()}
        return replace(tick, pictures=pictures)

    def _change(self, rgb: Rgb) -> Rgb:
        if self._maps is not None:
            rgb = warped(rgb, self._maps)
        for one in self._amounts:
            if one.what.draw is not None:
                rgb = np.clip(one.what.draw(rgb, one.amount, self._rng[one.what.name]), 0, 255)
        return rgb


def view_of(case: Case, camera: str) -> View:
    """The camera as the case has it recorded."""
    meta = case.meta.cameras[camera]
    return View((meta.width, meta.height), case.calibration(camera))


def _check(card: Card, case: Case, cameras: Sequence[str], amounts: Sequence[Amount]) -> None:
    """Refuse what makes no sense here, in words for a table."""
    kinds = {a.what.kind for a in amounts if a.amount != a.what.neutral}
    told = {"where": f"case {case.id}", "remedy": "leave it out for this model, or ask for other perturbations"}
    if not cameras:
        raise CannotTell("the model looks through no camera", **told)
    if "geometry" in kinds and len(cameras) > 1:
        raise CannotTell(f"lines are made of {len(cameras)} cameras: where they go is not known", **told)
    hears = any(i.source.startswith("ego.") for i in card.inputs)
    if any(a.what.name == "time-jitter" for a in amounts) and not hears:
        raise CannotTell("no input of the model is the vehicle's motion", **told)


def _hashed(text: str) -> int:
    return crc32(text.encode())
