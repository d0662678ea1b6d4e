"""Which hypothesis is believed: what it explains on frames kept back, beyond what noise leaves, and what does as well.

An edit is believed where it takes away a good share of what was left, makes no frame kept back worse, and gains far
more than the blocks of the frames differ among themselves. Hypotheses that do as well within that spread are told
beside the one that is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.diagnosis.fit import gradient_correlation, noise_variance, predictable_share
from harness.diagnosis.scene import Scene
from harness.diagnosis.search import FOLLOWS, NOISE_SHARE, Search, Trial

__all__ = ["NOTHING", "QUIET", "Believed", "believed"]

Frames = NDArray[np.float32]

LEAST_SHARE = 0.3  # of what was left above noise that an edit must take away
LEAST_T = 5.0  # mean relative gain of a block in standard errors
LEAST_GAIN = 0.003  # square levels: the roundings of two libraries differ by that
WORSE_SHARE = 0.02  # by which one frame may be worse: a repeated picture is right now and then
LEAST_EXPLAINED = 0.3  # by all edits together, else none is named
SAME_SCENE = 0.3  # correlation of gradients under which two pictures do not show the same
EQUAL_T = 3.0  # standard errors within which two hypotheses do as well
EQUAL_SHARE = 0.05  # of what the edits in question explain, that they may also be apart
SAME_SHARE, SAME_REST = 0.015, 0.15  # of it, and of what is left, within which two do as well, however sure one is
QUIET = 2.0  # times the noise of unlike neighbours, up to which a rest that does not follow from the picture is noise
NOTHING = 0.0025  # square levels: nothing to explain


@dataclass(frozen=True)
class Believed:
    """What is believed of a scene.

    Attributes:
        trial: the hypothesis; without edits where none is believed.
        equals: hypotheses that do as well, the plainest first.
        before, after: mean square levels of the declared pipeline and of the hypothesis, on frames kept back.
        noise: variance of what no pipeline explains, square levels.
        same_scene: whether the pictures belong together.
        predictable: share of what is left that follows from the picture; 0 for noise.
    """

    trial: Trial
    equals: tuple[Trial, ...]
    before: float
    after: float
    noise: float
    same_scene: bool
    predictable: float

    @property
    def explained(self) -> float:
        """Share of what noise leaves explainable; 1 where there is nothing."""
        explainable = self.before - self.noise
        return 1.0 if explainable <= NOTHING else (self.before - self.after) / explainable


def believed(search: Search, scene: Scene) -> Believed:
    """Choose among the hypotheses of a search."""
    kept_back, start = search.kept_back, search.start
    best = min(search.trials, key=_held)
    shown, target = _shown(scene, best, kept_back)
    noise = noise_variance(shown - target)
    chosen = _pruned(search, _grown(search, noise), noise)
    same = gradient_correlation(*_shown(scene, chosen, kept_back)) >= SAME_SCENE
    explainable = _held(start) - min(noise, _held(chosen))
    if not same or (_held(start) - _held(chosen)) < LEAST_EXPLAINED * explainable:
        chosen = start
    equals = _equals(search, chosen) if chosen.edits else []
    plainest, *others = sorted((chosen, *equals), key=lambda t: (len(t.edits), t.free, _held(t)))
    after = _held(plainest)
    predictable = _predictable(scene, plainest, search)
    if after < QUIET * noise and predictable < FOLLOWS:
        noise = after
    return Believed(plainest, tuple(others), _held(start), after, min(noise, after), same, predictable)


def _grown(search: Search, noise: float) -> Trial:
    """The hypothesis with the fewest edits that no further edit betters by enough."""
    now = search.start
    for count in (1, 2, 3):
        tries = [t for t in search.trials if len(t.edits) == count]
        best = min(tries, key=lambda t: _held(t) + 1e-4 * t.free, default=None)
        if best is not None and _betters(now, best, noise):
            now = best
    return now


def _pruned(search: Search, trial: Trial, noise: float) -> Trial:
    """Without edits that it does as well without."""
    for edit in trial.edits:
        rest = search.again([e for e in trial.edits if e is not edit])
        if rest is not None and rest.held is not None and not _betters(rest, trial, noise):
            return _pruned(search, rest, noise)
    return trial


def _betters(before: Trial, after: Trial, noise: float) -> bool:
    assert before.held is not None
    assert after.held is not None
    gain = before.held - after.held
    mean = float(gain.mean())
    if mean < LEAST_GAIN or (gain.mean(axis=1) < -WORSE_SHARE * before.held.mean(axis=1)).any():
        return False
    told = {(e.slot, e.words) for e in before.edits}
    if all(e.softens for e in after.edits if (e.slot, e.words) not in told):
        noise = 0.0  # less rounding is closer to any noisy picture: it must explain the noise too
    left = max(_held(before) - noise, NOISE_SHARE * noise)
    share = gain / np.maximum(before.held + after.held, 1e-9)  # of each block: a few loud ones are no evidence
    return mean >= LEAST_SHARE * left and share.mean() >= LEAST_T * float(share.std()) / np.sqrt(share.size)


def _equals(search: Search, chosen: Trial) -> list[Trial]:
    """Hypotheses with as many edits that do as well."""
    assert chosen.held is not None
    found = []
    for trial in search.trials:
        if trial is chosen or len(trial.edits) != len(chosen.edits) or trial.held is None:
            continue
        worse = trial.held - chosen.held
        within = EQUAL_T * float(worse.std()) / np.sqrt(worse.size)
        gain = _gain_of_the_rest(search, chosen, trial)
        alike = min(SAME_SHARE * gain, SAME_REST * _held(chosen))
        if worse.mean() <= max(LEAST_GAIN, min(within, EQUAL_SHARE * gain), alike):
            found.append(trial)
    return found


def _gain_of_the_rest(search: Search, chosen: Trial, other: Trial) -> float:
    """What the edits take away that the other hypothesis does not have."""
    kinds = {(e.slot, e.name) for e in other.edits}
    rest = search.again([e for e in chosen.edits if (e.slot, e.name) in kinds])
    return 0.0 if rest is None or rest.held is None else _held(rest) - _held(chosen)


def _held(trial: Trial) -> float:
    assert trial.held is not None
    return float(trial.held.mean())


def _shown(scene: Scene, trial: Trial, positions: Sequence[int]) -> tuple[Frames, Frames]:
    """What a hypothesis renders, and the car's, [frames, height, width, channels]."""
    shown = [scene.render(trial.chain, at) for at in positions]
    pairs = [(s, scene.targets[at]) for s, at in zip(shown, positions, strict=True) if s is not None]
    ours, theirs = (scene.as_pictures(trial.chain, np.stack(side)) for side in zip(*pairs, strict=True))
    return ours, theirs


def _predictable(scene: Scene, trial: Trial, search: Search) -> float:
    first, later = (_shown(scene, trial, at) for at in (search.fitted, search.kept_back))
    return predictable_share(first[0], first[1] - first[0], later[0], later[1] - later[0])
