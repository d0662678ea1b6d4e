"""Beam search for the edits that turn the declared pipeline into what the car does.

Every hypothesis is a chain with at most three edits. All edits of the five best of each depth are rendered and held
against the car's tensors, on the frames that numbers are fitted on. Three more are kept that would be best under any
mix of colours: a shift is seen before a wrong normalisation is put right. What is found is refined: each edit is fitted
again in the presence of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from harness.diagnosis.chain import Chain, Edit
from harness.diagnosis.fit import gradient_correlation, mix_error, noise_variance, predictable_share
from harness.diagnosis.scene import Scene
from harness.diagnosis.view import View

__all__ = ["A_NUMBER", "FOLLOWS", "NOISE_SHARE", "SAME_SCENE", "Generator", "Search", "Trial"]

Generator = Callable[[View], Iterator[Edit]]

MOST_EDITS = 3
BEAM, UNDER_ANY_COLOURS = 5, 3
SCREENED, SCREENED_MIXED = 16, 6  # ways of one hypothesis that are rendered on more than one frame
WORTHWHILE = 0.04  # share of the error that one more edit must take away for others to be looked for
CHECKED = 12  # hypotheses of each depth that are held against the frames kept back
EXACT = 0.005  # square levels: nothing is left to explain
ALIKE = 1.4  # times the noise of unlike neighbours that noise of like ones may reach
FOLLOWS = 0.02  # share of a residual that follows from the picture, under which it is noise
SAME_SCENE = 0.3  # correlation of gradients under which two pictures do not show the same
FOREIGN = 0.15  # correlation of gradients under which no hypothesis shows the scene
LOOKED_AT = 6  # hypotheses by error, and by error under any mix of colours
SCRAMBLES = ("layout", "flip", "camera")  # slots whose edits leave no pixel where it was
A_NUMBER = 1e-4  # square levels that a fitted number must be worth
NOISE_SHARE = 0.03  # of the noise, by which its variance may be wrong


@dataclass
class Trial:
    """One hypothesis.

    Attributes:
        edits: beyond the declared pipeline, in the order they were put in.
        chain: with them.
        error: mean square levels on the frames of the fit.
        mixed: the same under the best mix of colours.
        held: mean square levels of each block of each frame kept back, [frames, blocks]; None where not looked at.
    """

    edits: tuple[Edit, ...]
    chain: Chain
    error: float
    mixed: float
    held: NDArray[np.float64] | None = field(default=None)

    @property
    def free(self) -> int:
        """Numbers that were fitted."""
        return sum(edit.free for edit in self.edits)


class Search:
    """All hypotheses about one scene.

    Args:
        scene: pictures and tensors.
        fitted: positions that numbers are fitted on.
        kept_back: positions that decide.
        generators: of candidate edits.

    Attributes:
        start: the declared pipeline.
    """

    def __init__(
        self, scene: Scene, fitted: Sequence[int], kept_back: Sequence[int], generators: Sequence[Generator]
    ) -> None:
        self._scene, self._generators = scene, generators
        self.fitted, self.kept_back = tuple(fitted), tuple(kept_back)
        self._target = np.stack([scene.targets[at] for at in self.fitted])
        self._known: dict[tuple[object, ...], Trial] = {}
        start = self._try(scene.declared, ())
        if start is None:
            raise ValueError("the declared pipeline does not give the shape of the car's tensors")
        self.start: Trial = start
        self._check(start)

    @property
    def faintness(self) -> float:
        """Of the scene: what little is told by."""
        return self._scene.faintness

    @property
    def trials(self) -> list[Trial]:
        """Every hypothesis that was held against the frames kept back."""
        return [t for t in self._known.values() if t.held is not None]

    def run(self) -> None:
        """Search; `trials` has what was found."""
        level = [self.start]
        if self._exhausted(self.start):
            return
        for depth in range(MOST_EDITS):
            before = min(t.error for t in self.trials)
            found = [t for trial in level for t in self.expanded(trial)]
            if depth == 0 and self._likeness(found) < SAME_SCENE:
                found += self._scrambled_twice()
                if self._likeness(found) < FOREIGN:
                    return
            if not found:
                break
            found.sort(key=self._rank)
            found = [*map(self.closer, found[:BEAM]), *found[BEAM:]]
            for trial in found[:CHECKED]:
                self._check(trial)
            level = self._beam(found)
            best = min(self.trials, key=lambda t: t.error)
            if self._exhausted(best) or before - best.error < WORTHWHILE * before:
                break
        for trial in sorted(self.trials, key=self._rank)[:3]:
            self._refine(trial)

    def expanded(self, trial: Trial, only: str | None = None) -> list[Trial]:
        """The hypothesis with one more edit; of all ways those that are best on one frame are held against all."""
        view = self._view(trial.chain) if len(trial.edits) < MOST_EDITS else None
        if view is None:
            return []
        made: list[Trial] = []
        likely: list[tuple[float, float, Chain, Edit]] = []
        for edit, chain in self._ways(trial, view, only):
            shown = None if chain.key in self._known else self._scene.render(chain, self.fitted[0])
            if chain.key in self._known or edit.slot == "time":
                made += filter(None, [self._try(chain, (*trial.edits, edit))])
            elif shown is not None:
                error = float(np.square(shown - self._target[0]).mean(dtype=np.float64))
                likely.append((error, mix_error(shown[None], self._target[:1]), chain, edit))
        best = sorted(likely, key=lambda w: w[0])[:SCREENED]
        best += [w for w in sorted(likely, key=lambda w: w[1])[:SCREENED_MIXED] if w not in best]
        return [*made, *filter(None, (self._try(chain, (*trial.edits, edit)) for _, _, chain, edit in best))]

    def _ways(self, trial: Trial, view: View, only: str | None) -> Iterator[tuple[Edit, Chain]]:
        taken = {edit.slot for edit in trial.edits}
        for generator in self._generators:
            for edit in generator(view):
                if edit.slot in taken or (only is not None and edit.slot != only):
                    continue
                chain = edit.change(trial.chain)
                if chain is not None and chain.key != trial.chain.key:
                    yield edit, chain

    def again(self, edits: Sequence[Edit]) -> Trial | None:
        """The hypothesis of these edits; None where they do not go together."""
        chain = self._scene.declared
        for edit in edits:
            changed = edit.change(chain)
            if changed is None:
                return None
            chain = changed
        made = self._try(chain, tuple(edits))
        if made is not None:
            self._check(made)
        return made

    def _refine(self, trial: Trial) -> None:
        """Each edit anew in the presence of the others, twice."""
        for _ in range(2):
            for edit in trial.edits:
                rest = self.again([e for e in trial.edits if e is not edit])
                if rest is None:
                    continue
                found = [t for t in self.expanded(rest, edit.slot) if t.error <= trial.error]
                for better in sorted(found, key=self._rank)[:4]:
                    self._check(better)
                trial = min([trial, *found], key=lambda t: t.error)
            trial = self.closer(trial)

    def _exhausted(self, trial: Trial) -> bool:
        """Whether nothing but noise is left: it does not follow from the picture, and neighbours are not alike.

        A picture whose memory is misread looks like noise too, but then the two do not show the same scene.
        """
        self._check(trial)
        shown = self._shown(trial.chain)
        if shown is None or trial.held is None:
            return False
        shown, target = (self._scene.as_pictures(trial.chain, s) for s in (shown, self._target))
        if gradient_correlation(shown, target) < SAME_SCENE:
            return False
        residual = shown - target
        noise = noise_variance(residual)
        if trial.error - noise < EXACT * self._scene.faintness + NOISE_SHARE * noise:
            return True
        if trial.error > ALIKE * noise:
            return False
        later = np.stack([s for at in self.kept_back if (s := self._scene.render(trial.chain, at)) is not None])
        kept = np.stack([self._scene.targets[at] for at in self.kept_back])
        later, kept = (self._scene.as_pictures(trial.chain, s) for s in (later, kept))
        return predictable_share(shown, residual, later, later - kept) < FOLLOWS

    def _likeness(self, found: Sequence[Trial]) -> float:
        """How much the likeliest hypotheses show the scene of the car's tensors, by the correlation of gradients."""
        likely = [*sorted(found, key=self._rank)[:LOOKED_AT], *sorted(found, key=lambda t: t.mixed)[:LOOKED_AT]]
        shown = [self._shown(t.chain) for t in (self.start, *likely)]
        return max((gradient_correlation(s[:2], self._target[:2]) for s in shown if s is not None), default=0.0)

    def _scrambled_twice(self) -> list[Trial]:
        """Two edits at once, of which each alone leaves pictures that nobody would take for the same scene."""
        view = self._view(self.start.chain)
        edits = [e for e, _ in self._ways(self.start, view, None) if e.slot in SCRAMBLES] if view is not None else []
        pairs = [(one, other) for one, other in combinations(edits, 2) if one.slot != other.slot]
        return [*filter(None, map(self.again, pairs))]

    def apart(self, one: Trial, other: Trial) -> float:
        """Mean square levels between what two hypotheses render of the frames kept back."""
        shown = [[self._scene.render(t.chain, at) for at in self.kept_back] for t in (one, other)]
        return float(np.mean([np.square(a - b).mean() for a, b in zip(*shown, strict=True)]))

    def closer(self, trial: Trial, rounds: int = 3) -> Trial:
        """With numbers bettered one edit after the other, as long as that helps."""
        for _ in range(rounds):
            before = trial
            for number, edit in enumerate(trial.edits):
                view = self._view(trial.chain) if edit.closer is not None else None
                if view is None or edit.closer is None:
                    continue
                for better in edit.closer(view):
                    made = self.again([*trial.edits[:number], better, *trial.edits[number + 1 :]])
                    trial = made if made is not None and made.error < trial.error else trial
            if trial is before:
                break
        return trial

    def _view(self, chain: Chain) -> View | None:
        shown = self._shown(chain)
        if shown is None:
            return None
        shown, target = (self._scene.as_pictures(chain, s) for s in (shown, self._target))
        return View(self._scene, chain, self.fitted, shown, target)

    def _shown(self, chain: Chain) -> NDArray[np.float32] | None:
        frames = []
        for at in self.fitted:
            frame = self._scene.render(chain, at)
            if frame is None:
                return None
            frames.append(frame)
        return np.stack(frames)

    def _try(self, chain: Chain, edits: tuple[Edit, ...]) -> Trial | None:
        if chain.key in self._known:
            known = self._known[chain.key]
            return known if len(known.edits) <= len(edits) else None
        shown = self._shown(chain)
        if shown is None:
            return None
        error = float(np.square(shown - self._target).mean(dtype=np.float64))
        trial = Trial(edits, chain, error, mix_error(shown, self._target))
        self._known[chain.key] = trial
        return trial

    def _check(self, trial: Trial) -> None:
        """Hold a hypothesis against the frames kept back."""
        if trial.held is not None:
            return
        rows = []
        for at in self.kept_back:
            frame = self._scene.render(trial.chain, at)
            if frame is None:
                return
            rows.append(block_means(np.square(frame - self._scene.targets[at]).mean(-1)))
        trial.held = np.stack(rows)

    def _rank(self, trial: Trial) -> float:
        """Error with a penalty for every fitted number: of equal ones the plainer is first."""
        plainer = 0.002 * trial.free + 0.005 * len(trial.edits)
        return trial.error * (1 + plainer) + A_NUMBER * self._scene.faintness * trial.free

    def _beam(self, found: Sequence[Trial]) -> list[Trial]:
        """The best, and the best under any mix of colours."""
        by_error = sorted(found, key=self._rank)[:BEAM]
        seen = {id(t) for t in by_error}
        rest = sorted((t for t in found if id(t) not in seen), key=lambda t: t.mixed)
        return [*by_error, *rest[:UNDER_ANY_COLOURS]]


BLOCKS = 8  # along each axis


def block_means(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Means of 8 x 8 blocks of a picture, [64]: what lies in one block is no independent evidence."""
    rows = np.array_split(values, min(BLOCKS, len(values)), 0)
    return np.array([part.mean() for row in rows for part in np.array_split(row, min(BLOCKS, row.shape[1]), 1)])
