"""Faults of the deploy pipeline: each rewrites one step of every input that has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import FaultError
from harness.faults.protocol import Planted
from harness.feed.preprocess.ops import canonical, step_name
from harness.model.card import Card, InputPipelines

__all__ = ["half_pixel_shift", "nearest_resize", "range_mismatch", "rb_swap", "rewritten", "stale_frame", "with_deploy"]

Step = Mapping[str, Any]
Rewrite = Callable[[dict[str, Any]], dict[str, Any] | None]

STALE_FRAMES = 3


def rb_swap(card: Card, folder: Path) -> Planted:
    """Red and blue change places: the car decodes BGR where training read RGB."""
    other = {"to_rgb": "to_bgr", "to_bgr": "to_rgb"}
    return _planted(card, "rb_swap", lambda s: {**s, "op": other[s["op"]]} if s["op"] in other else None)


def range_mismatch(card: Card, folder: Path) -> Planted:
    """Limited-range video is read as if it were full range: greyish blacks, dull whites."""

    def rewrite(step: dict[str, Any]) -> dict[str, Any] | None:
        if step["op"] not in ("to_rgb", "to_bgr", "to_gray"):
            return None
        return {**step, "range": "limited" if step["range"] == "full" else "full"}

    return _planted(card, "range_mismatch", rewrite)


def nearest_resize(card: Card, folder: Path) -> Planted:
    """The car's scaler takes the nearest pixel instead of interpolating."""
    return _planted(card, "nearest_resize", lambda s: {**s, "kernel": "nearest"} if s["op"] == "resize" else None)


def half_pixel_shift(card: Card, folder: Path) -> Planted:
    """The car's scaler counts pixels from their corners: the picture shifts by half a pixel of what is shrunk."""

    def rewrite(step: dict[str, Any]) -> dict[str, Any] | None:
        if step["op"] != "resize":
            return None
        return {**step, "coordinates": "half-pixel" if step["coordinates"] == "asymmetric" else "asymmetric"}

    return _planted(card, "half_pixel_shift", rewrite)


def stale_frame(card: Card, folder: Path) -> Planted:
    """The network gets the picture of three frames ago: a queue that nobody empties."""
    stale = {"op": "harness.faults.steps:Stale", "step": "stale", "frames": STALE_FRAMES}
    return Planted(with_deploy(card, lambda steps: [stale, *steps]), step="stale")


def rewritten(steps: Sequence[Step], rewrite: Rewrite) -> tuple[list[dict[str, Any]], str | None]:
    """The steps with the first one that `rewrite` changes replaced, and that step's name, None for none."""
    full = [canonical(step, f"deploy[{i}]") for i, step in enumerate(steps)]
    for i, step in enumerate(full):
        changed = rewrite(step)
        if changed is not None and changed != step:
            return [*full[:i], changed, *full[i + 1 :]], step_name(step)
    return full, None


def _planted(card: Card, fault: str, rewrite: Rewrite) -> Planted:
    names: list[str] = []

    def edit(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        changed, name = rewritten(steps, rewrite)
        names.extend([name] if name else [])
        return changed

    changed = with_deploy(card, edit)
    if not names:
        raise FaultError(
            f"{fault} has no step to change",
            where=f"{card.path} preprocess.deploy",
            remedy="the pipeline needs a built-in colour conversion or resize that does not have the fault already",
        )
    return Planted(changed, step=names[0])


def with_deploy(card: Card, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Card:
    """The card with every deploy pipeline edited, the common one and those of single inputs."""
    part = card.preprocess
    inputs = {n: InputPipelines(train=p.train, deploy=edit(p.deploy)) for n, p in part.inputs.items()}
    common = edit(part.deploy) if part.deploy else []
    return card.model_copy(update={"preprocess": part.model_copy(update={"deploy": common, "inputs": inputs})})
