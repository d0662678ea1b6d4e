"""Input tensors of a frame, re-rendered from the recording by every pipeline of the run, and how they differ.

Only steps of ours are run: a report reads a run, and reading runs no code of a card. A rung that replays a recording
has its own input only where that was dumped; the page says `not recorded`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.sealed import file_sha256
from harness.feed.preprocess import build_pipeline, mixed_steps
from harness.feed.preprocess.ops import OPS
from harness.feed.swaps import PIPELINES, other_pipeline, swap_of
from harness.report.pictures import webp
from harness.run.facts import RunFacts
from trueline import TruelineError

if TYPE_CHECKING:
    from cases.case import Case
    from harness.model.card import InputSpec

__all__ = ["pipelines_of", "tensor_views"]

QUALITY = 75
WIDTH = 512

Array = NDArray[Any]


def pipelines_of(facts: RunFacts) -> dict[str, str | None]:
    """Rung -> the pipeline that makes its input; None for a rung of the car, whose input is what was recorded."""
    return {r.name: None if r.car else r.preprocess for r in facts.rungs.values()}


def tensor_views(
    case: Case, camera: str, facts: RunFacts, frames: Sequence[tuple[int, Sequence[str]]], most_bytes: int
) -> tuple[dict[str, Any], str]:
    """Pictures of input tensors.

    Args:
        case: the recording.
        camera: whose input is shown.
        facts: of the run.
        frames: (frame number, pipelines that matter most there), the most wanted frame first.
        most_bytes: of the file.

    Returns:
        Frame number -> `inputs` (pipeline -> WebP as base64), `pairs` (`A|B` -> `src` and `text`, how far B is from A),
        `note`; and why there are none.
    """
    try:
        made = _makers(case, camera, facts)
    except TruelineError as error:
        return {}, f"Input tensors are not shown: {error.what}."
    if isinstance(made, str):
        return {}, f"Input tensors are not shown: {made}."
    known = set(case.frame_numbers.tolist())
    found: dict[str, Any] = {}
    spent = 0
    for frame, first in frames:
        if str(frame) in found or frame not in known or spent > most_bytes:
            continue
        position = int(np.searchsorted(case.frame_numbers, frame))
        tick = next(iter(case.ticks([camera], position, position + 1)), None)
        if tick is None:
            continue
        try:
            tensors = {name: make(tick.pictures[camera]) for name, make in made.items()}
        except TruelineError as error:
            return found, f"Input tensors are not shown: {error.what}."
        view = _view(tensors, [n for n in first if n in tensors], most_bytes - spent)
        size = sum(map(len, view["inputs"].values())) + sum(len(p["src"]) for p in view["pairs"].values())
        if spent + size > most_bytes:
            break
        spent += size
        found[str(frame)] = view
    return found, "" if found or not frames else "Input tensors were left out to keep this file small."


def _makers(case: Case, camera: str, facts: RunFacts) -> Mapping[str, Any] | str:
    """Pipeline name -> what makes the tensor of a picture; or why there is none."""
    from harness.model.card import load_card

    told = facts.meta.get("card") or {}
    path = Path(str(told.get("path", "")))
    if not path.is_file() or file_sha256(path) != told.get("sha256"):
        return "the model card is not where it was, or was changed after the replay"
    spec = next((i for i in load_card(path).inputs if i.source == f"camera.{camera}"), None)
    steps = (facts.meta.get("pipelines") or {}).get(spec.name) if spec is not None else None
    if spec is None or steps is None:
        return f"no input of the model reads camera {camera}"
    if foreign := [s["op"] for p in PIPELINES for s in steps[p] if s["op"] not in OPS]:
        return f"step {foreign[0]} is the card's own code, which a report does not run"
    names = dict.fromkeys(p for p in pipelines_of(facts).values() if p is not None)
    return {name: _maker(name, steps, spec, case, camera) for name in names}


def _maker(name: str, steps: Mapping[str, Any], spec: InputSpec, case: Case, camera: str) -> Any:
    swap = swap_of(name)
    own = steps[name] if swap is None else mixed_steps(steps[swap.base], steps[other_pipeline(swap.base)], *swap.steps)
    return build_pipeline(own, spec, case.calibration(camera), where=f"preprocess.{name}")


def _view(tensors: Mapping[str, Array], first: Sequence[str], most_bytes: int) -> dict[str, Any]:
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
    return {"inputs": inputs, "pairs": pairs, "note": unit}


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
