"""From a scene to a diagnosis: search, belief, words, and the lines of the card that would say what the car does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.diagnosis.chain import Chain, Edit, Step, changed_steps
from harness.diagnosis.evidence import NOTHING, QUIET, Believed, believed
from harness.diagnosis.model import Alternative, Diagnosis, Named
from harness.diagnosis.names import REMEDIES
from harness.diagnosis.scene import Levels, Scene
from harness.diagnosis.search import Generator, Search, Trial
from harness.feed.preprocess.mixing import same_value
from harness.feed.preprocess.ops import OPS, defaults_of

__all__ = ["Pictures", "Solved", "solve"]

IDENTIFIABLE = 0.25  # RMS in levels beyond noise under which nothing is worth a name
PREDICTABLE = 0.05  # share of the residual that follows from the picture: less is noise
OTHERS_TOLD = 3


@dataclass(frozen=True)
class Pictures:
    """One frame, [height, width, channels] in levels: expected, the car's, and expected with the edits."""

    expected: Levels
    car: Levels
    edited: Levels


@dataclass(frozen=True)
class Solved:
    """A diagnosis and the frame that shows it."""

    diagnosis: Diagnosis
    pictures: Pictures


def solve(
    scene: Scene,
    fitted: Sequence[int],
    kept_back: Sequence[int],
    generators: Sequence[Generator],
    **told: Any,
) -> Solved:
    """Diagnose a scene.

    Args:
        scene: pictures and tensors.
        fitted: positions that numbers are fitted on.
        kept_back: positions that decide.
        generators: of candidate edits.
        told: fields of the diagnosis that the caller knows: input, case, expected, contradictions, frames, notes.

    Raises:
        ValueError: the declared pipeline does not give the shape of the car's tensors.
    """
    search = Search(scene, fitted, kept_back, generators)
    before = _error(search.start)
    if before > NOTHING * scene.faintness:
        search.run()
    found = believed(search, scene)
    diagnosis = Diagnosis(
        **told,
        status=_status(found),
        edits=tuple(_named(found)),
        others=tuple(_others(found)),
        explained=found.explained if found.trial.edits else 0.0,
        before=math.sqrt(before),
        after=math.sqrt(found.after),
        noise=math.sqrt(found.noise),
        lines=tuple(_lines(scene.declared, found.trial.chain)),
    )
    return Solved(diagnosis, _pictures(scene, found.trial, kept_back))


def _error(trial: Trial) -> float:
    assert trial.held is not None
    return float(trial.held.mean())


def _status(found: Believed) -> str:
    if found.trial.edits:
        return "named"
    if found.before <= found.nothing:
        return "same"
    if not found.same_scene:
        return "foreign"
    unlike = found.predictable < PREDICTABLE and found.before < QUIET * max(found.noise, found.nothing)
    quiet = found.before - found.noise < IDENTIFIABLE**2 * found.nothing / NOTHING or unlike
    return "noise" if quiet else "unexplained"


def _named(found: Believed) -> list[Named]:
    return [
        Named(e.name, e.words, tuple(_equal_edits(e, found)), dict(e.numbers), REMEDIES[e.name])
        for e in sorted(found.trial.edits, key=lambda e: e.place)
    ]


def _equal_edits(edit: Edit, found: Believed) -> list[Alternative]:
    """What stands in the place of the edit in hypotheses that do as well and have all the others, one of each class.

    A scale takes in every shift and whole crop, so it is told beside none of these.
    """
    rest = {(e.slot, e.name) for e in found.trial.edits if e is not edit}
    equals: dict[str, Alternative] = {}
    for trial in found.equals:
        other = [e for e in trial.edits if (e.slot, e.name) not in rest]
        if len(other) == 1:
            equals.setdefault(other[0].name, Alternative(other[0].name, other[0].words))
    scaled = edit.free and edit.name != "shift"
    return [e for name, e in equals.items() if name != edit.name and (scaled or name != "zoom")]


def _others(found: Believed) -> list[str]:
    """Whole hypotheses that do as well and differ in more than one edit."""
    own = {(e.slot, e.name) for e in found.trial.edits}
    told = []
    for trial in found.equals:
        if len({(e.slot, e.name) for e in trial.edits} - own) > 1:
            told.append(", then ".join(e.words for e in sorted(trial.edits, key=lambda e: e.place)))
    return list(dict.fromkeys(told))[:OTHERS_TOLD]


def _lines(declared: Chain, chain: Chain) -> list[str]:
    new, gone = changed_steps(declared, chain)
    return [*(_toml(step) for step in new), *(f'leave out the step "{name}"' for name in gone)]


def _toml(step: Step) -> str:
    """A step as a card writes it, without what is the default."""
    default = defaults_of(str(step["op"]))
    op = str(step["op"])
    own = OPS[op].step if op in OPS else op.rpartition(":")[2]
    parts = {"op": op} | ({"step": step["step"]} if step["step"] != own else {})
    rest = {k: v for k, v in step.items() if k not in ("op", "step")}
    parts |= {k: v for k, v in rest.items() if k not in default or not same_value(op, v, default[k])}
    return "{ " + ", ".join(f"{key} = {_value(value)}" for key, value in parts.items()) + " }"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else f"{value!r}"


def _pictures(scene: Scene, trial: Trial, positions: Sequence[int]) -> Pictures:
    """The frame kept back that shows the mismatch best."""

    def shown(chain: Chain, at: int) -> NDArray[np.float32]:
        made = scene.render(chain, at)
        assert made is not None  # the search rendered it before
        return made

    worst = max(positions, key=lambda at: float(np.square(shown(scene.declared, at) - scene.targets[at]).mean()))
    return Pictures(shown(scene.declared, worst), scene.targets[worst], shown(trial.chain, worst))
