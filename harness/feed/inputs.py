"""From one moment of a case to the network's input tensors, for one preprocessing variant."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from cases.picture import Ego, Tick
from engines.protocol import CaseContext, DumpSpec, Tensors
from harness.errors import CardError, PreprocessError
from harness.feed.preprocess import SharedSteps, build_pipeline, differing_steps, mixed_steps
from harness.feed.swaps import PIPELINES, other_pipeline, swap_of
from harness.model.card import Card, InputSpec

__all__ = [
    "InputBuilder",
    "Moment",
    "cameras_of",
    "context_of",
    "initial_state",
    "is_variant",
    "spread_frames",
    "spread_moments",
    "steps_of_card",
    "steps_of_variant",
]

Tensor = NDArray[Any]
Feed = Callable[[Tick], Tensor]
SharedCameras = defaultdict[str, SharedSteps]
"""Camera -> what the pipelines that look at it have in common."""


def cameras_of(card: Card) -> tuple[str, ...]:
    """Cameras the card's inputs need."""
    return tuple(dict.fromkeys(i.source.partition(".")[2] for i in card.inputs if i.source.startswith("camera.")))


def context_of(case: Case) -> CaseContext:
    """What engines are told of a case."""
    dumps = {
        name: DumpSpec(path, round(said.tolerance_ms * 1e6), **said.model_dump(exclude={"path", "tolerance_ms"}))
        for name, (path, said) in case.outputs().items()
    }
    return CaseContext(case.id, case.root, dumps, tuple(case.timestamps_ns.tolist()))


def steps_of_card(card: Card) -> tuple[str, ...]:
    """Names of the steps in which the deploy pipelines differ from the train ones, over all camera inputs."""
    steps: list[str] = []
    for spec in card.inputs:
        if spec.source.startswith("camera."):
            train, deploy = (card.preprocess.steps_of(spec.name, p) for p in ("train", "deploy"))
            steps += differing_steps(train, deploy, card.root)
    return tuple(dict.fromkeys(steps))


def initial_state(card: Card) -> dict[str, Tensor]:
    """Zeros for every recurrent input."""
    return {i.name: np.zeros(_fixed_shape(i), i.dtype) for i in card.inputs if i.source == "state"}


class InputBuilder:
    """Input tensors of one case under one preprocessing variant (`train`, `deploy`, `train+STEP`, `deploy-STEP`).

    Recurrent inputs are not made here: the replay feeds them back. Builders of one case with the same `shared` that
    look at the same ticks run the steps that they have in common once a tick.
    """

    def __init__(self, card: Card, case: Case, variant: str, shared: SharedCameras | None = None) -> None:
        self._feeds: dict[str, Feed] = {}
        for spec in card.inputs:
            if spec.source != "state":
                self._feeds[spec.name] = _feed(card, case, spec, variant, shared)

    def __call__(self, tick: Tick) -> dict[str, Tensor]:
        """Tensors by input name; fresh arrays or arrays nobody writes to."""
        return {name: feed(tick) for name, feed in self._feeds.items()}


def _feed(card: Card, case: Case, spec: InputSpec, variant: str, shared: SharedCameras | None) -> Feed:
    kind, _, rest = spec.source.partition(".")
    if kind == "camera":
        return _camera_feed(card, case, spec, variant, rest, shared)
    if kind == "calib":
        value = _calibration(case, *rest.split("."), spec=spec)
        return lambda tick: value
    if kind == "ego":
        return _pose_delta_feed(case, spec) if rest == "pose_delta" else _ego_feed(case, spec, rest)
    constant = np.full(_fixed_shape(spec), float(spec.source.removeprefix("const:")), spec.dtype)
    return lambda tick: constant


def _camera_feed(
    card: Card, case: Case, spec: InputSpec, variant: str, camera: str, shared: SharedCameras | None
) -> Feed:
    if camera not in case.cameras:
        raise PreprocessError(
            f"input {spec.name!r} needs camera {camera!r}, the case has {sorted(case.cameras)}",
            where=f"case {case.id}",
            remedy=f"import the case with --camera {camera}, or change the input's source in the card",
        )
    place = f"{card.path.name} preprocess.{variant}, input {spec.name}"
    steps = steps_of_variant(card, spec, variant)
    common = None if shared is None else shared[camera]
    pipeline = build_pipeline(steps, spec, case.calibration(camera), place, card.root, common)
    return lambda tick: pipeline(tick.pictures[camera])


def steps_of_variant(card: Card, spec: InputSpec, variant: str) -> list[dict[str, Any]]:
    """Steps of one camera input under `train`, `deploy` or a swap of some steps (harness/feed/swaps.py).

    Raises:
        PreprocessError: a step is wrong.
    """
    swap = swap_of(variant)
    if swap is None:
        return card.preprocess.steps_of(spec.name, variant)
    own, other = (card.preprocess.steps_of(spec.name, p) for p in (swap.base, other_pipeline(swap.base)))
    return mixed_steps(own, other, *swap.steps, root=card.root)


def is_variant(card: Card, variant: str) -> bool:
    """Whether the card has such a pipeline: `train`, `deploy`, or one of them with steps swapped that differ."""
    swap = swap_of(variant)
    return variant in PIPELINES if swap is None else set(swap.steps) <= set(steps_of_card(card))


def _calibration(case: Case, camera: str, part: str, *, spec: InputSpec) -> Tensor:
    calibration = case.calibration(camera) if camera in case.cameras else None
    fields = {"K": "intrinsics", "D": "distortion", "E": "camera_to_vehicle"}
    value = None if calibration is None else getattr(calibration, fields[part])
    if value is None:
        raise PreprocessError(
            f"input {spec.name!r} needs {spec.source}, which the case does not have",
            where=f"case {case.id}",
            remedy="add the calibration to case.toml",
        )
    return np.asarray(value, spec.dtype).reshape(_fixed_shape(spec))


def _ego_feed(case: Case, spec: InputSpec, field: str) -> Feed:
    if field not in Ego.__dataclass_fields__:
        raise CardError(
            f"{spec.source!r} is no ego value",
            where=f"input {spec.name}",
            remedy=f"use one of {', '.join('ego.' + f for f in Ego.__dataclass_fields__)} or ego.pose_delta",
        )
    shape = _fixed_shape(spec)

    def feed(tick: Tick) -> Tensor:
        value = getattr(tick.ego, field)
        if value is None:
            raise _no_ego(case, spec, tick)
        return np.full(shape, value, spec.dtype)

    return feed


def _pose_delta_feed(case: Case, spec: InputSpec) -> Feed:
    """(dx, dy, dyaw) since the previous frame, in the previous vehicle frame; zeros at the first."""
    shape = _fixed_shape(spec)
    previous: list[Ego] = []

    def feed(tick: Tick) -> Tensor:
        now = tick.ego
        if now.x_m is None or now.y_m is None or now.yaw_rad is None:
            raise _no_ego(case, spec, tick)
        before = previous[0] if previous else now
        previous[:] = [now]
        dx, dy = now.x_m - float(before.x_m or 0), now.y_m - float(before.y_m or 0)
        yaw = float(before.yaw_rad or 0)
        forward, left = math.cos(yaw) * dx + math.sin(yaw) * dy, -math.sin(yaw) * dx + math.cos(yaw) * dy
        turn = math.remainder(now.yaw_rad - yaw, math.tau)
        return np.asarray([forward, left, turn], spec.dtype).reshape(shape)

    return feed


def _no_ego(case: Case, spec: InputSpec, tick: Tick) -> PreprocessError:
    return PreprocessError(
        f"input {spec.name!r} needs {spec.source}, which the recording does not know",
        where=f"case {case.id}, frame {tick.frame}",
        remedy="add ego motion to frames.parquet, or change the input's source in the card",
    )


def _fixed_shape(spec: InputSpec) -> tuple[int, ...]:
    """The input's shape with dynamic dimensions at 1."""
    return tuple(d if isinstance(d, int) else 1 for d in spec.shape)


class Moment(NamedTuple):
    """A frame of a case, and what the network is fed then."""

    case: Case
    timestamp_ns: int
    tensors: Tensors


def spread_frames(card: Card, cases: Sequence[Case], frames: int) -> Iterator[Tensors]:
    """Deploy inputs of at most `frames` frames, spread evenly over the cases and over each case."""
    return (moment.tensors for moment in spread_moments(card, cases, frames))


def spread_moments(card: Card, cases: Sequence[Case], frames: int) -> Iterator[Moment]:
    """As `spread_frames`, and which frames they are."""
    before = int(any(spec.source == "ego.pose_delta" for spec in card.inputs))
    for index, case in enumerate(cases):
        share = frames // len(cases) + (index < frames % len(cases))
        build, count = InputBuilder(card, case, "deploy"), len(case.frame_numbers)
        for position in np.unique(np.linspace(0, count - 1, share + 2)[1:-1].astype(int)):
            start = max(int(position) - before, 0)
            for tick in case.ticks(cameras_of(card), start, int(position) + 1):
                tensors = build(tick)
            yield Moment(case, tick.timestamp_ns, {**tensors, **initial_state(card)})
