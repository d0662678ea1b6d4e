"""Which hypothesis is believed: what it explains on frames kept back, beyond what noise leaves, and what does as well.

An edit is believed where it takes away a good share of what was left, makes no frame kept back worse, and gains far
more than the blocks of the frames differ among themselves. What no noise looks like (swapped colours, a matrix, a
range, JPEG) is believed below the noise too, where it shows in it. Hypotheses that do as well within the spread of the
blocks are told beside the one that is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.diagnosis.chain import Edit
from harness.diagnosis.fit import gradient_correlation, noise_variance, predictable_share
from harness.diagnosis.scene import Scene
from harness.diagnosis.search import A_NUMBER, FOLLOWS, NOISE_SHARE, SAME_SCENE, Search, Trial

__all__ = ["NOTHING", "QUIET", "Believed", "believed"]

Frames = NDArray[np.float32]

LEAST_SHARE = 0.3  # of what was left above noise that an edit must take away
LEAST_T = 5.0  # mean relative gain of a block in standard errors
LEAST_GAIN = 0.003  # square levels: the roundings of two libraries differ by that
WORSE_SHARE = 0.02  # by which one frame may be worse: a repeated picture is right now and then
LEAST_EXPLAINED = 0.3  # by all edits together, else none is named
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
        nothing: square levels that are nothing to explain.
    """

    trial: Trial
    equals: tuple[Trial, ...]
    before: float
    after: float
    noise: float
    same_scene: bool
    predictable: float
    nothing: float

    @property
    def explained(self) -> float:
        """Share of what noise leaves explainable; 1 where there is nothing."""
        explainable = self.before - self.noise
        return 1.0 if explainable <= self.nothing else (self.before - self.after) / explainable


def believed(search: Search, scene: Scene) -> Believed:
    """Choose among the hypotheses of a search."""
    kept_back, start = search.kept_back, search.start
    best = min(search.trials, key=_held)
    shown, target = _shown(scene, best, kept_back)
    noise = noise_variance(shown - target)
    chosen = _pruned(search, _grown(search, noise), noise)
    same = gradient_correlation(*_shown(scene, chosen, kept_back)) >= SAME_SCENE
    explainable = _held(start) - min(noise, _held(chosen))
    little = (_held(start) - _held(chosen)) < LEAST_EXPLAINED * explainable
    if not same or (little and not any(edit.shows for edit in chosen.edits)):
        chosen = start
    equals = _equals(search, chosen) if chosen.edits else []
    plainest, *others = sorted((chosen, *equals), key=lambda t: (len(t.edits), t.free, _held(t)))
    after = _held(plainest)
    predictable = _predictable(scene, plainest, search)
    if after < QUIET * noise and predictable < FOLLOWS:
        noise = after
    nothing = NOTHING * scene.faintness
    return Believed(plainest, tuple(others), _held(start), after, min(noise, after), same, predictable, nothing)


def _grown(search: Search, noise: float) -> Trial:
    """The hypothesis with the fewest edits that no further edit betters by enough."""
    now = search.start
    number = A_NUMBER * search.faintness
    for count in (1, 2, 3):
        tries = sorted((t for t in search.trials if len(t.edits) == count), key=lambda t: _held(t) + number * t.free)
        likely = [*tries[:1], *(t for t in tries[1:] if all(e.shows for e in _added(now, t)))]
        now = next((t for t in likely if _betters(search, now, t, noise)), now)
    return now


def _added(before: Trial, after: Trial) -> list[Edit]:
    """Edits of the one that the other lacks."""
    told = {(e.slot, e.words) for e in before.edits}
    return [e for e in after.edits if (e.slot, e.words) not in told]


def _pruned(search: Search, trial: Trial, noise: float) -> Trial:
    """Without edits that it does as well without."""
    for edit in trial.edits:
        rest = search.again([e for e in trial.edits if e is not edit])
        if rest is not None and rest.held is not None and not _betters(search, rest, trial, noise):
            return _pruned(search, rest, noise)
    return trial


def _betters(search: Search, before: Trial, after: Trial, noise: float) -> bool:
    return _surely(search, before, after) and (_explains(before, after, noise) or _shows(search, before, after))


def _surely(search: Search, before: Trial, after: Trial) -> bool:
    """Whether there is a gain that is no chance: in every frame, and in far more blocks than not."""
    assert before.held is not None
    assert after.held is not None
    gain = before.held - after.held
    least = LEAST_GAIN * search.faintness
    if gain.mean() < least or (gain.mean(axis=1) < -WORSE_SHARE * before.held.mean(axis=1)).any():
        return False
    share = gain / np.maximum(before.held + after.held, 1e-12)  # of each block: a few loud ones are no evidence
    return bool(share.mean() >= LEAST_T * float(share.std()) / np.sqrt(share.size))


def _explains(before: Trial, after: Trial, noise: float) -> bool:
    """Whether a good share of what was left above the noise is gone."""
    if all(e.softens for e in _added(before, after)):
        noise = 0.0  # less rounding is closer to any noisy picture: it must explain the noise too
    return _held(before) - _held(after) >= LEAST_SHARE * max(_held(before) - noise, NOISE_SHARE * noise)


def _shows(search: Search, before: Trial, after: Trial) -> bool:
    """Whether enough of what the edits change is in the car's pictures, whatever noise lies over it.

    With a share p of the change there, the gain is 2 p - 1 of the change's square. What a codec does of an edit does
    not count for it.
    """
    added = _added(before, after)
    least = min((e.shows for e in added), default=0.0)
    if least <= 0:
        return False
    rivals = [search.again([e.rival if x is e else x for x in after.edits]) for e in added if e.rival is not None]
    others = [before, *(r for r in rivals if r is not None and r.held is not None)]
    return all(
        _surely(search, o, after) and _held(o) - _held(after) >= (2 * least - 1) * search.apart(o, after)
        for o in others
    )


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
        if worse.mean() <= max(LEAST_GAIN * search.faintness, min(within, EQUAL_SHARE * gain), alike):
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
