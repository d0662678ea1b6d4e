"""First mode: the car's tensors of one recorded case, held against a pipeline that is rendered from the recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from cases.errors import CaseError
from cases.picture import Picture
from harness.diagnosis.candidates import WITH_RECORDING
from harness.diagnosis.chain import Chain
from harness.diagnosis.scene import Scene, units_of
from harness.diagnosis.solve import Solved, solve
from harness.diagnosis.time_edits import EARLIEST, HOLDS, LATEST
from harness.errors import DiagnosisError
from harness.feed.declared import contradictions
from harness.feed.preprocess.mixing import checked_steps
from harness.model.card import Card, InputSpec
from trueline._text import counted

__all__ = ["CarTensors", "Frames", "camera_inputs", "chosen_frames", "diagnose_recorded"]

WINDOW = 240  # moments of a case that are looked at: decoding a whole drive would take longer than all else
PICTURE_BYTES = 600_000_000
FITTED = (0.22, 0.47, 0.76)
KEPT_BACK = (0.12, 0.34, 0.60, 0.93)
"""Where in the window the frames lie, as shares of it; unevenly, so that held pictures show."""


@dataclass(frozen=True)
class Frames:
    """Positions of the moments that numbers are fitted on, and of those that decide."""

    fitted: tuple[int, ...]
    kept_back: tuple[int, ...]


CarTensors = Mapping[int, NDArray[Any]]
"""Position in the case's list of moments -> the car's tensor of one input, as the network takes it."""


def camera_inputs(card: Card) -> list[InputSpec]:
    """Inputs of a card that come from a camera."""
    return [spec for spec in card.inputs if spec.source.startswith("camera.")]


def diagnose_recorded(
    card: Card,
    case: Case,
    spec: InputSpec,
    tensors: CarTensors,
    *,
    pipeline: str = "deploy",
    **told: Any,
) -> Solved:
    """Say what the car does otherwise than a declared pipeline.

    Args:
        card: the model.
        case: the recording.
        spec: the input.
        tensors: of the car; at least two moments.
        pipeline: the declared one, `train` or `deploy`.
        told: `expected`, `subject`, `notes` of the diagnosis.

    Raises:
        DiagnosisError: fewer than two moments, or tensors of another shape than the pipeline's.
        PreprocessError: a step of the card is wrong.
        CaseError: the pictures cannot be read.
    """
    frames = chosen_frames(sorted(tensors))
    camera = spec.source.partition(".")[2]
    steps = checked_steps(card.preprocess.steps_of(spec.name, pipeline), f"preprocess.{pipeline}", card.root)
    chain = Chain(tuple(steps), camera)
    at = (*frames.fitted, *frames.kept_back)
    pixels = {p: _pixels(tensors[p], spec) for p in at}
    units = units_of(steps)
    calibration = {name: case.calibration(name) for name in case.cameras}
    scene = Scene(chain, _pictures(case, camera, at), pixels, units, calibration, card.root)
    _check_shape(scene, at[0], pixels[at[0]], spec)
    numbers = case.frame_numbers
    return solve(
        scene,
        frames.fitted,
        frames.kept_back,
        WITH_RECORDING,
        input=spec.name,
        case=case.id,
        contradictions=tuple(_contradicted(card, case, spec, pipeline)),
        frames=tuple(int(numbers[p]) for p in frames.kept_back),
        **told,
    )


def chosen_frames(positions: Sequence[int]) -> Frames:
    """Which of the moments with a tensor are looked at.

    Raises:
        DiagnosisError: fewer than two.
    """
    if len(positions) < 2:
        raise DiagnosisError(
            f"{counted(len(positions), 'frame')} of the car and of the recording in common",
            where="the car's tensors",
            remedy="dump the input of at least two frames of this case; seven or more tell noise from mismatch",
        )
    window = [p for p in positions if p < positions[0] + WINDOW]
    late = [p for p in window if p >= LATEST]  # earlier ones have no pictures before them to be late
    window = late if len(late) >= len(FITTED) + len(KEPT_BACK) else window
    fitted = dict.fromkeys(window[int(share * len(window))] for share in FITTED)
    kept = [p for p in dict.fromkeys(window[int(share * len(window))] for share in KEPT_BACK) if p not in fitted]
    if not kept:
        kept = [p for p in window if p not in fitted] or [fitted.popitem()[0]]
    return _out_of_step(Frames(tuple(fitted), tuple(kept)), window)


def _out_of_step(frames: Frames, window: Sequence[int]) -> Frames:
    """The same moments, or some of them elsewhere, so that in neither part all are a multiple of a `HOLDS` apart.

    A car that shows every picture n times has the right picture at every n-th moment: at those alone nothing is wrong.
    """
    before = _in_step(frames)
    if not before:
        return frames
    own = (*frames.fitted, *frames.kept_back)
    ways = [(at, place) for at in own for place in window if place != at]
    for at, place in sorted(ways, key=lambda way: (abs(way[1] - way[0]), way)):
        change = {at: place, place: at}  # with another of them, they change places
        found = Frames(*(tuple(sorted(change.get(p, p) for p in part)) for part in (frames.fitted, frames.kept_back)))
        if _in_step(found) < before:
            return _out_of_step(found, window)
    return frames


def _in_step(frames: Frames) -> int:
    """How many parts are."""
    parts = [part for part in (frames.fitted, frames.kept_back) if len(part) > 1]
    return sum(any(len({at % hold for at in part}) == 1 for hold in HOLDS) for part in parts)


def _pixels(tensor: NDArray[Any], spec: InputSpec) -> NDArray[Any]:
    """One frame's tensor as [height, width, channels]."""
    array = tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor
    if array.ndim == 2:
        return array[..., None]
    planes_first = spec.layout == "NCHW" or (spec.layout == "none" and array.shape[0] in (1, 3, 4))
    return np.asarray(array.transpose(1, 2, 0) if planes_first and array.ndim == 3 else array)


def _check_shape(scene: Scene, at: int, pixels: NDArray[Any], spec: InputSpec) -> None:
    if scene.render(scene.declared, at) is None:
        height, width, channels = pixels.shape if pixels.ndim == 3 else (0, 0, 0)
        raise DiagnosisError(
            f"the car's {spec.name!r} is {width}x{height} with {channels} channels, the pipeline does not give that",
            where="the car's tensors",
            remedy="compare one size: correct resize, crop or layout in the card, or dump what the network gets",
        )


def _pictures(case: Case, camera: str, positions: Sequence[int]) -> dict[tuple[str, int], Picture]:
    """Pictures of the declared camera around the positions, and of the others at them."""
    pictures: dict[tuple[str, int], Picture] = {}
    reach = (EARLIEST, LATEST)
    around = {p - late for p in positions for late in range(reach[0], reach[1] + 1)}
    held = 0
    for at, picture in _stream(case, camera, around | set(positions)):
        if held > PICTURE_BYTES and at not in positions:
            continue
        pictures[camera, at] = picture
        held += picture.data.nbytes
    for other in case.cameras:
        if other != camera:
            with suppress(CaseError):
                pictures |= {(other, at): picture for at, picture in _stream(case, other, set(positions))}
    return pictures


def _stream(case: Case, camera: str, wanted: set[int]) -> Iterator[tuple[int, Picture]]:
    inside = [p for p in wanted if 0 <= p < case.length]
    at_of = {int(frame): position for position, frame in enumerate(case.frame_numbers)}
    for tick in case.ticks([camera], min(inside), max(inside) + 1):
        if (position := at_of[tick.frame]) in wanted:
            yield position, tick.pictures[camera]


def _contradicted(card: Card, case: Case, spec: InputSpec, pipeline: str) -> Iterator[str]:
    for found in contradictions(card, [case]):
        if (found.input, found.pipeline) == (spec.name, pipeline):
            verb = "the stream declares" if found.by == "the recording" else f"{found.by} encodes"
            yield f"{verb} {found.declared}, the {pipeline} pipeline uses {found.told}"
