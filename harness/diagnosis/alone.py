"""Second mode: two files of tensors without the recording. Colour, order, scale and time can be told; of resampling
only that it differs: an antialiased picture cannot be turned into one that is not.

The lab's tensor is taken for a picture: levels are recovered from its range or from means and stds that training code
commonly has, and the candidate edits are those of values and time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.picture import Picture
from engines.formats.reader import opened
from harness.diagnosis.chain import OWN, Chain, Edit
from harness.diagnosis.colour_edits import colour_edits
from harness.diagnosis.fit import colour_mix
from harness.diagnosis.geometry_edits import mirrors
from harness.diagnosis.match import by_content
from harness.diagnosis.recorded import chosen_frames
from harness.diagnosis.scene import Scene, Units, units_of
from harness.diagnosis.solve import Solved, solve
from harness.diagnosis.time_edits import time_edits
from harness.diagnosis.unknown_units import unknown_units_edits
from harness.diagnosis.value_edits import KNOWN, value_edits
from harness.diagnosis.view import View
from harness.errors import DiagnosisError
from trueline._text import counted

__all__ = ["diagnose_alone", "diagnose_files"]

TIMES = "timestamp_ns"
TOLERANCE_NS = 5_000_000
CHANNELS = (1, 3, 4)
TAPS = 2  # of a resampling to each side
LEVELS_MAX = 255.5
SEEN_LEVELS = 50_000
OFF_WHOLE, MOSTLY = 0.02, 0.95  # from a whole level, and how many of the levels must be as near


def diagnose_files(lab: Path, car: Path) -> list[Solved]:
    """Diagnose every array of pictures that two files have in common.

    Raises:
        DiagnosisError: no such array, other sizes, or no frames in common.
        RecordingError: a file cannot be read.
    """
    ours, theirs = _read(lab), _read(car)
    names = [n for n in ours.pictures if n in theirs.pictures]
    pairs = [(n, n) for n in names] or list(zip(ours.pictures, theirs.pictures, strict=False))[:1]
    if not pairs or (not names and (len(ours.pictures), len(theirs.pictures)) != (1, 1)):
        raise DiagnosisError(
            f"no array of pictures in common: {list(ours.pictures)} and {list(theirs.pictures)}",
            where=f"{lab}, {car}",
            remedy="store [frames, channels, height, width] or channels last, under one name in both",
        )
    return [diagnose_alone(ours.pictures[a], theirs.pictures[b], ours.times, theirs.times, name=a) for a, b in pairs]


@dataclass(frozen=True)
class _File:
    pictures: Mapping[str, NDArray[Any]]
    times: NDArray[np.int64] | None


def _read(path: Path) -> _File:
    with opened(path, stacked=True) as arrays:
        read = {name: np.asarray(arrays[name]) for name in arrays}
    times = read.pop(TIMES, None)
    return _File({n: a for n, a in read.items() if _is_pictures(a)}, None if times is None else times.astype(np.int64))


def _is_pictures(array: NDArray[Any]) -> bool:
    if array.dtype.kind not in "uif" or not 3 <= array.ndim <= 5:
        return False
    shape = array.shape[-3:]
    return (shape[0] in CHANNELS or shape[2] in CHANNELS) and sorted(shape)[1] >= 8


def diagnose_alone(
    lab: NDArray[Any],
    car: NDArray[Any],
    lab_ns: NDArray[np.int64] | None = None,
    car_ns: NDArray[np.int64] | None = None,
    *,
    name: str = "input",
) -> Solved:
    """Say what the car's tensors differ by from the lab's.

    Args:
        lab: [frames, channels, height, width] or channels last; a batch axis of one may stand behind the frames.
        car: likewise, of the same height and width.
        lab_ns: times of the lab's frames, None where nobody knows.
        car_ns: times of the car's.
        name: of the array.

    Raises:
        DiagnosisError: other sizes, or no frames in common.
    """
    ours, our_layout = _channels_last(lab)
    theirs, their_layout = _channels_last(car)
    notes: list[str] = []
    if ours.shape[1:] != theirs.shape[1:]:
        raise DiagnosisError(
            f"{name!r} is {_size(ours)} in the lab and {_size(theirs)} on the car",
            where="the two files",
            remedy="compare tensors of one size, or diagnose with the recording: trueline diagnose RUN --dump",
        )
    if our_layout != their_layout:
        notes.append(f"the car's array is {their_layout}, the lab's {our_layout}; they are compared channel by channel")
    if lab.dtype != car.dtype:
        notes.append(f"the lab's numbers are {lab.dtype}, the car's {car.dtype}")
    partner = _partners(ours, theirs, lab_ns, car_ns, notes)
    units, guess, known = _guessed(ours)
    notes += [guess] if guess else []
    frames = chosen_frames(sorted(partner)) if len(partner) > 1 else None
    fitted, kept = (frames.fitted, frames.kept_back) if frames else (tuple(partner), tuple(partner))
    notes += [] if frames else ["one frame only: no other frame confirms what is fitted"]
    mean, std = (np.broadcast_to(v, ours.shape[-1:]).tolist() for v in (units.mean, units.std))
    step = {"op": "normalise", "step": "normalise", "scale": units.scale, "mean": mean, "std": std}
    chain = Chain((step,), "lab")
    shown = {
        ("lab", at): Picture(units.levels(ours[at]), "tensor", 0, 0)
        for at in range(max((*fitted, *kept)) + 4)
        if at < len(ours)
    }
    targets = {at: theirs[partner[at]] for at in (*fitted, *kept)}
    scene = Scene(chain, shown, targets, units_of(chain.steps), {}, None)
    told = {"input": name, "case": "", "expected": "the lab's", "frames": kept, "notes": tuple(notes)}
    solved = solve(scene, fitted, kept, ALONE if known else (*ALONE, unknown_units_edits), **told)
    return replace(solved, diagnosis=replace(solved.diagnosis, lines=()))  # there is no card


def _size(pictures: NDArray[Any]) -> str:
    height, width, channels = pictures.shape[1:]
    return f"{width}x{height} with {counted(channels, 'channel')}"


def _channels_last(array: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """[frames, height, width, channels], and what it was."""
    if array.ndim == 5:
        array = array[:, 0]
    if array.ndim == 3:
        array = array[None]
    if array.shape[1] in CHANNELS:
        return array.transpose(0, 2, 3, 1), "NCHW"
    return array, "NHWC"


def _partners(
    ours: NDArray[Any],
    theirs: NDArray[Any],
    our_ns: NDArray[np.int64] | None,
    their_ns: NDArray[np.int64] | None,
    notes: list[str],
) -> dict[int, int]:
    """The lab's frame -> the car's frame of the same moment: by time, by order, or by content.

    Raises:
        DiagnosisError: none.
    """
    if our_ns is not None and their_ns is not None:
        gaps = np.abs(our_ns[:, None] - their_ns[None])
        found = {int(i): int(gaps[i].argmin()) for i in range(len(our_ns)) if gaps[i].min() <= TOLERANCE_NS}
        if found:
            return found
    elif len(ours) == len(theirs):
        return {i: i for i in range(len(ours))}
    found = by_content(ours, theirs)
    if not found:
        raise DiagnosisError(
            f"{len(ours)} frames of the lab and {len(theirs)} of the car, none of one moment or with one content",
            where="the two files",
            remedy=f"dump the same frames in both, with their moments as {TIMES}",
        )
    notes.append("frames are paired by what they show, not by time: a lag cannot be told")
    return found


def _guessed(pictures: NDArray[Any]) -> tuple[Units, str, bool]:
    """Units in which the lab's numbers are levels, what was taken for granted, and whether they are known."""
    low, high = float(pictures.min()), float(pictures.max())
    if pictures.dtype == np.uint8 or (low >= 0 and 2 < high <= LEVELS_MAX):
        return Units(), "", True
    if low >= 0 and high <= 1.002:
        return Units(1 / 255), "", True
    channels = pictures.shape[-1]
    if channels == 3:
        for known, (mean, std) in KNOWN.items():
            units = Units(1 / 255, np.array(mean, np.float32), np.array(std, np.float32))
            levels = units.levels(pictures)
            if levels.min() > -1 and levels.max() < 256:
                return (
                    units,
                    f"the lab's numbers are taken to be normalised with {known} mean and std",
                    _is_whole(levels),
                )
    spread = max(high - low, 1e-6)
    words = "the lab's normalisation is not known: its darkest value is taken for 0, its brightest for 255"
    return Units(1 / 255, np.array([-low / spread], np.float32), np.array([1 / spread], np.float32)), words, False


def _is_whole(levels: NDArray[np.float32]) -> bool:
    """Whether these are whole levels: of another normalisation they would lie on another grid."""
    some = levels.ravel()[:: max(1, levels.size // SEEN_LEVELS)]
    return float(np.mean(np.abs(some - np.rint(some)) < OFF_WHOLE)) > MOSTLY


def _resamplings(view: View) -> Iterator[Edit]:
    """A small linear filter, fitted: another kernel, a shift, a blur, which tensors alone do not tell apart."""
    rows = colour_mix(view.rendered, view.target).astype(np.float32)
    mixed = view.rendered @ rows[:-1] + rows[-1]
    height, width = mixed.shape[1:3]
    side = 2 * TAPS + 1
    if min(height, width) <= 2 * side:
        return
    inner = view.target[:, TAPS : height - TAPS, TAPS : width - TAPS]
    moved = [
        mixed[:, i : height - 2 * TAPS + i, j : width - 2 * TAPS + j].ravel() for i in range(side) for j in range(side)
    ]
    step = max(1, inner.size // 60_000)
    design = np.stack([m[::step] for m in moved], 1).astype(np.float64)
    middle = design.mean(0)
    design, wanted = design - middle, inner.ravel()[::step] - float(inner.mean())
    gram = design.T @ design
    taps = np.linalg.solve(gram + 1e-4 * np.trace(gram) / len(gram) * np.eye(len(gram)), design.T @ wanted)
    taps /= taps.sum() if abs(taps.sum()) > 0.2 else 1.0
    own = {"op": f"{OWN}filtered", "step": "resampling", "taps": np.round(taps, 5).reshape(side, side).tolist()}
    words = "resampling differs (a kernel, a shift or a scale: only the recording tells which)"
    yield Edit("resampling", "resampling", words, partial(_first, own), side * side, 40)


def _first(step: Mapping[str, Any], chain: Chain) -> Chain | None:
    return chain.put(0, step)


def _values(view: View) -> Iterator[Edit]:
    return (e for e in value_edits(view) if e.name not in ("jpeg", "rounding"))


ALONE: Sequence[Any] = (colour_edits, _values, mirrors, time_edits, _resamplings)
