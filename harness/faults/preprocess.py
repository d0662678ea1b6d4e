"""Faults of the deploy pipeline: a step of every input is rewritten, or one is put in after the colour conversion.

A rewritten step of severity below 1 is mixed: part right, part wrong (`steps.Mixed`). Steps that are put in scale their
own parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.errors import FaultError
from harness.faults.protocol import Plant, Planted, Site
from harness.feed.preprocess.ops import canonical, step_name
from harness.model.card import Card, InputPipelines

__all__ = ["crop_off", "inserted", "rewriting", "rewritten", "with_deploy"]

Step = Mapping[str, Any]
Rewrite = Callable[[dict[str, Any]], dict[str, Any] | None]
COLOURS = ("to_rgb", "to_bgr", "to_gray")
STEPS = "harness.faults.steps"


def rewriting(name: str, rewrite: Rewrite) -> Plant:
    """Plants a fault that rewrites the first step which it has something to say about.

    Args:
        name: of the fault.
        rewrite: takes a canonical step; gives the faulty one, or None where it is not concerned.
    """

    def plant(site: Site, severity: float = 1.0) -> Planted:
        names: list[str] = []

        def edit(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
            changed, step = rewritten(steps, rewrite, severity)
            names.extend([step] if step else [])
            return changed

        changed = with_deploy(site.card, edit)
        if not names:
            raise FaultError(
                f"{name} has no step to change",
                where=f"{site.card.path} preprocess.deploy",
                remedy="the pipeline needs a built-in step of its kind that does not have the fault already",
            )
        return Planted(changed, step=names[0])

    return plant


def inserted(name: str, op: str, options: Callable[[float], dict[str, Any]], *, first: bool = False) -> Plant:
    """Plants a fault that puts in a step of its own.

    Args:
        name: of the fault.
        op: in harness/faults/steps.py.
        options: of the step, from the severity.
        first: before everything, on recorded pictures; otherwise after the first colour conversion.
    """

    def plant(site: Site, severity: float = 1.0) -> Planted:
        step = {"op": f"{STEPS}:{op}", "step": name, **options(severity)}
        placed: list[str] = []

        def edit(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
            at = 0 if first else next((i + 1 for i, s in enumerate(steps) if s["op"] in COLOURS), None)
            if at is None:
                return steps
            placed.append(name)
            return [*steps[:at], step, *steps[at:]]

        changed = with_deploy(site.card, edit)
        if not placed:
            raise FaultError(
                f"{name} has no place",
                where=f"{site.card.path} preprocess.deploy",
                remedy="the pipeline needs a built-in colour conversion",
            )
        return Planted(changed, step=name)

    return plant


def rewritten(
    steps: Sequence[Step], rewrite: Rewrite, severity: float = 1.0
) -> tuple[list[dict[str, Any]], str | None]:
    """The steps with the first one that `rewrite` changes replaced, and that step's name, None for none."""
    full = [canonical(step, f"deploy[{i}]") for i, step in enumerate(steps)]
    for i, step in enumerate(full):
        changed = rewrite(step)
        if changed is not None and changed != step:
            faulty = changed if severity == 1 else _mixed(step, changed, severity)
            return [*full[:i], faulty, *full[i + 1 :]], step_name(step)
    return full, None


def _mixed(right: Step, wrong: Step, share: float) -> dict[str, Any]:
    return {
        "op": f"{STEPS}:Mixed", "step": step_name(right), "right": dict(right),
        "wrong": canonical(wrong, "planted fault"), "share": share,
    }  # fmt: skip


def with_deploy(card: Card, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Card:
    """The card with every deploy pipeline edited, the common one and those of single inputs."""
    part = card.preprocess
    inputs = {n: InputPipelines(train=p.train, deploy=edit(p.deploy)) for n, p in part.inputs.items()}
    common = edit(part.deploy) if part.deploy else []
    return card.model_copy(update={"preprocess": part.model_copy(update={"deploy": common, "inputs": inputs})})


def on(*ops: str, **options: Any) -> Rewrite:
    """The step of one of these ops with other options."""
    return lambda step: {**step, **options} if step["op"] in ops else None


def other_colours(step: Step) -> dict[str, Any] | None:
    """RGB for BGR and the other way round."""
    other = {"to_rgb": "to_bgr", "to_bgr": "to_rgb"}
    return {**step, "op": other[step["op"]]} if step["op"] in other else None


def other_range(step: Step) -> dict[str, Any] | None:
    """Limited range read as full, or the other way round."""
    return {**step, "range": "limited" if step["range"] == "full" else "full"} if step["op"] in COLOURS else None


def other_matrix(step: Step) -> dict[str, Any] | None:
    """BT.709 for BT.601 (and for what the picture declares), or the other way round."""
    return {**step, "matrix": "bt601" if step["matrix"] == "bt709" else "bt709"} if step["op"] in COLOURS else None


def other_coordinates(step: Step) -> dict[str, Any] | None:
    """Pixels counted from their corners: the picture shifts by half a pixel of what is shrunk."""
    if step["op"] != "resize":
        return None
    return {**step, "coordinates": "half-pixel" if step["coordinates"] == "asymmetric" else "asymmetric"}


def other_antialias(step: Step) -> dict[str, Any] | None:
    """Smoothing when shrinking, where the pipeline has none, or the other way round."""
    plain = step["op"] == "resize" and step["kernel"] != "nearest"
    return {**step, "antialias": not step["antialias"]} if plain else None


def letterboxed(step: Step) -> dict[str, Any] | None:
    """Fitted in with bars instead of stretched."""
    if step["op"] != "resize":
        return None
    same = {key: step[key] for key in ("size", "kernel", "antialias", "coordinates", "arithmetic")}
    return {"op": "letterbox", "step": step["step"], **same}


def doubled_scale(step: Step) -> dict[str, Any] | None:
    """Divided by 255 twice."""
    return {**step, "scale": (step["scale"] or 1 / 255) / 255} if step["op"] == "normalise" else None


def imagenet_statistics(step: Step) -> dict[str, Any] | None:
    """Mean and standard deviation of another data set."""
    if step["op"] != "normalise":
        return None
    return {**step, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def no_statistics(step: Step) -> dict[str, Any] | None:
    """Divided by 255, mean and standard deviation left out."""
    return {**step, "mean": 0.0, "std": 1.0} if step["op"] == "normalise" else None


def crop_off(site: Site, severity: float = 1.0) -> Planted:
    """The crop begins four rows too high or, where there is no room above, too low; whole rows."""
    rows = round(4 * severity)

    def rewrite(step: dict[str, Any]) -> dict[str, Any] | None:
        if step["op"] != "crop":
            return None
        left, top, width, height = step["box"]
        return {**step, "box": (left, top - rows if top >= rows else top + rows, width, height)}

    if rows == 0:
        return Planted(site.card)
    return rewriting("crop_off", rewrite)(site, 1.0)
