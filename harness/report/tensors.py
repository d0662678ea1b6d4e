"""Input tensors of a frame, re-rendered from the recording by every pipeline of the run, and how they differ.

Only steps of ours are run: a report reads a run, and reading runs no code of a card. The input of a rung that replays a
recording is what the car dumped beside its outputs; where that holds none the page says `not recorded`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.registry import family
from harness.diagnosis.dumps import dumped_input
from harness.feed.preprocess import build_pipeline, mixed_steps
from harness.feed.preprocess.ops import OPS
from harness.feed.swaps import PIPELINES, other_pipeline, swap_of
from harness.report.pictures import webp
from harness.run.card import card_of_run
from harness.run.facts import RunFacts
from trueline import TruelineError

if TYPE_CHECKING:
    from cases.case import Case
    from harness.model.card import InputSpec

__all__ = ["inputs_of", "tensor_views"]

QUALITY = 75
WIDTH = 512

Array = NDArray[Any]
_Source = Callable[[int, Any], "Array | None"]
"""The tensor at a position of the case's list of moments, given the recorded picture; None where there is none."""


def inputs_of(facts: RunFacts) -> dict[str, str]:
    """Rung -> what makes its input: a pipeline by name; of a rung of the car, whose input was recorded, its engine."""
    return {r.name: r.engine if r.car else r.preprocess for r in facts.rungs.values()}


def tensor_views(
    case: Case, camera: str, facts: RunFacts, frames: Sequence[tuple[int, Sequence[str]]], most_bytes: int
) -> tuple[dict[str, Any], str]:
    """Pictures of input tensors.

    Args:
        case: the recording.
        camera: whose input is shown.
        facts: of the run.
        frames: (frame number, inputs that matter most there), the most wanted frame first.
        most_bytes: of the file.

    Returns:
        Frame number -> `inputs` (name of `inputs_of` -> WebP as base64), `pairs` (`A|B` -> `src` and `text`, how far B
        is from A), `note`; and why there are none, or fewer.
    """
    try:
        sources, note = _sources(case, camera, facts)
    except TruelineError as error:
        return {}, f"Input tensors are not shown: {error.what}."
    known = {int(frame): position for position, frame in enumerate(case.frame_numbers)}
    found: dict[str, Any] = {}
    spent = 0
    for frame, first in frames:
        if str(frame) in found or frame not in known or spent > most_bytes or not sources:
            continue
        try:
            tensors = _tensors_at(known[frame], case, camera, sources)
        except TruelineError as error:
            return found, f"Input tensors are not shown: {error.what}."
        if not tensors:
            continue
        view = _view(tensors, [n for n in first if n in tensors], most_bytes - spent, _order_of(facts))
        size = sum(map(len, view["inputs"].values())) + sum(len(p["src"]) for p in view["pairs"].values())
        if spent + size > most_bytes:
            note = note or ("" if found else "Input tensors were left out to keep this file small.")
            break
        spent += size
        found[str(frame)] = view
    return found, note


def _tensors_at(position: int, case: Case, camera: str, sources: Mapping[str, _Source]) -> dict[str, Array]:
    """The inputs of one moment, of those that have it."""
    tick = next(iter(case.ticks([camera], position, position + 1)), None)
    picture = tick.pictures.get(camera) if tick is not None else None
    made = {name: source(position, picture) for name, source in sources.items()}
    return {name: tensor for name, tensor in made.items() if tensor is not None}


def _sources(case: Case, camera: str, facts: RunFacts) -> tuple[dict[str, _Source], str]:
    """Input -> what gives its tensor at a moment; and why there are fewer than the rungs have."""
    spec = next((i for i in card_of_run(facts.meta).inputs if i.source == f"camera.{camera}"), None)
    steps = (facts.meta.get("pipelines") or {}).get(spec.name) if spec is not None else None
    if spec is None or steps is None:
        return {}, f"Input tensors are not shown: no input of the model reads camera {camera}."
    names = list(dict.fromkeys(inputs_of(facts).values()))
    dumped = {r.engine for r in facts.rungs.values() if r.car}
    sources = {n: source for n in names if n in dumped and (source := _dumped(n, case, spec)) is not None}
    if foreign := [s["op"] for p in PIPELINES for s in steps[p] if s["op"] not in OPS]:
        return sources, (
            f"Input tensors of pipelines are not shown: step {foreign[0]} is the card's own code, which a report does "
            "not run."
        )
    return {n: _rendered(n, steps, spec, case, camera) for n in names if n not in dumped} | sources, ""


def _dumped(engine: str, case: Case, spec: InputSpec) -> _Source | None:
    """The tensors that a recording holds of the car's input; None where it holds none."""
    if family(engine) != "recorded":
        return None
    try:
        tensors = dumped_input(case, spec, engine.partition(":")[2].partition("@")[0] or None)
    except TruelineError:  # the rung's own reason, if there is one, stands at the rung
        return None
    return None if tensors is None else lambda position, _: tensors.get(position)


def _rendered(name: str, steps: Mapping[str, Any], spec: InputSpec, case: Case, camera: str) -> _Source:
    """A pipeline of the run, with steps swapped where its name says so, on the recorded picture."""
    swap = swap_of(name)
    own = steps[name] if swap is None else mixed_steps(steps[swap.base], steps[other_pipeline(swap.base)], *swap.steps)
    make = build_pipeline(own, spec, case.calibration(camera), where=f"preprocess.{name}")
    return lambda _, picture: None if picture is None else make(picture)


def _order_of(facts: RunFacts) -> str:
    """That a tensor's first channel is blue, as its picture shows it; empty where it is red."""
    ops = {step["op"] for steps in (facts.meta.get("pipelines") or {}).values() for p in PIPELINES for step in steps[p]}
    return "channels as the network gets them: blue in the place of red" if "to_bgr" in ops else ""


def _view(tensors: Mapping[str, Array], first: Sequence[str], most_bytes: int, order: str = "") -> dict[str, Any]:
    """Every tensor on one scale of brightness; pairs while they fit, those that matter most first."""
    images = {name: _pixels(t) for name, t in tensors.items()}
    low = min(float(np.nanmin(i)) for i in images.values())
    high = max(float(np.nanmax(i)) for i in images.values())
    scaled = {name: _bytes((i - low) / ((high - low) or 1.0)) for name, i in images.items()}
    inputs = {name: _base64(webp(pixels, WIDTH, QUALITY)) for name, pixels in scaled.items()}
    pairs: dict[str, Any] = {}
    spent = sum(map(len, inputs.values()))
    for a, b in _pairs(list(tensors), first):
        if images[a].shape != images[b].shape:
            continue
        pair = _pair(images[a], images[b])
        if spent + len(pair["src"]) > most_bytes and pairs:
            break
        spent += len(pair["src"])
        pairs[f"{a}|{b}"] = pair
    unit = "tensors have different sizes" if len({i.shape for i in images.values()}) > 1 else ""
    return {"inputs": inputs, "pairs": pairs, "note": " · ".join(filter(None, (unit, order)))}


def _pairs(names: Sequence[str], first: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of different pipelines: those that matter among themselves, then each with train and deploy."""
    wanted = [(a, b) for i, a in enumerate(first) for b in first[i + 1 :]]
    wanted += [(a, b) for a in PIPELINES if a in names for b in names]
    kept: dict[frozenset[str], tuple[str, str]] = {}
    for a, b in wanted:
        if a != b:
            kept.setdefault(frozenset((a, b)), (a, b))
    return list(kept.values())


def _pair(a: Array, b: Array) -> dict[str, Any]:
    """B less A: orange where B is more, blue where it is less, as strong as the largest difference."""
    difference = (b - a).astype(np.float64)
    worst = np.take_along_axis(difference, np.abs(difference).argmax(axis=2)[..., None], axis=2)[..., 0]
    most = float(np.abs(worst).max())
    share = worst / most if most else worst
    up, down = np.clip(share, 0, 1)[..., None], np.clip(-share, 0, 1)[..., None]
    rgb = 1 - up * np.array([0.10, 0.45, 1.0]) - down * np.array([1.0, 0.55, 0.25])
    rms = float(np.sqrt(np.mean(difference**2)))
    text = "no difference" if not most else f"orange: the second is more, blue: less; largest {most:.3g}, RMS {rms:.3g}"
    return {"src": _base64(webp(_bytes(rgb), WIDTH, QUALITY)), "text": text}


def _pixels(tensor: Array) -> Array:
    """The first picture of a tensor as [height, width, 3]: channels first or last; the first one where not three."""
    image = np.asarray(tensor, np.float64)
    while image.ndim > 3:
        image = image[0]
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim == 3 and image.shape[0] < min(image.shape[1:]):
        image = np.moveaxis(image, 0, -1)
    if image.ndim != 3:
        return np.zeros((1, 1, 3))
    image = image if image.shape[2] == 3 else np.repeat(image[..., :1], 3, axis=2)
    return np.where(np.isfinite(image), image, 0.0)


def _bytes(share: Array) -> NDArray[np.uint8]:
    return np.clip(np.round(255 * share), 0, 255).astype(np.uint8)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
