"""The arms of the study, as PLAN.md declares them: techniques and options, how often, what is asked of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from techniques.recipes import load_recipe

__all__ = [
    "ARMS", "BY_NAME", "CONFIRMED_ARMS", "CONFIRM_SEEDS", "CONTROL", "RECIPE", "Arm", "Techniques", "from_scratch",
    "order",
]  # fmt: skip

Techniques = Mapping[str, Mapping[str, Any]]
Group = Literal["control", "motivated", "literature", "ceiling"]

FGSM_EPS = 2 / 255
ROBUST: Techniques = load_recipe("robust")
CONTROL, RECIPE = "plain", "robust"
CONFIRM_SEEDS, CONFIRMED_ARMS = tuple(range(100, 108)), 2


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes:
        group: controls stand in every table; ceilings use what no training may know, or several networks.
        does: to a training, in a few words.
        techniques: name -> options, in order; what the task file says of them does not count here.
        starts: how many, from 0 on.
        data: options of the demo's task.
        teachers: starts whose outputs are distilled.
        mixed: instead of training, the mean of the weights of these arms (or "start") from the same start.
        family: of arms that differ in strength only; the choice takes one of a family.
        confirmable: may be chosen for training from scratch; not where trained networks are needed.
    """

    name: str
    group: Group
    does: str
    techniques: Techniques = field(default_factory=dict)
    starts: int = 3
    data: Mapping[str, Any] = field(default_factory=dict)
    teachers: int = 0
    mixed: tuple[str, ...] = ()
    family: str = ""
    confirmable: bool = False


ARMS: tuple[Arm, ...] = (
    Arm(CONTROL, "control", "the training pipeline alone"),
    Arm(RECIPE, "control", "random pipelines, random light and softness, moving average of the weights", ROBUST),
    Arm("preprocessing", "motivated", "half of the pictures through random pipelines",
        {"preprocessing": {}}, confirmable=True),
    Arm("consistency-4", "motivated", "random pipelines, and the same answer through two of them",
        {"preprocessing": {}, "consistency": {"weight": 4.0}}, family="consistency", confirmable=True),
    Arm("robust-consistency-4", "motivated", "`robust`, and the same answer through two pipelines",
        {"preprocessing": {}, "photometric": {}, "consistency": {"weight": 4.0}, "ema": {"decay": 0.998}},
        confirmable=True),
    Arm("consistency-1", "motivated", "`consistency-4` at a quarter of its weight",
        {"preprocessing": {}, "consistency": {"weight": 1.0}}, family="consistency", confirmable=True),
    Arm("worst-of-variants", "motivated", "trains on whichever of three pipelines has the largest loss",
        {"worst-of-variants": {}},
        confirmable=True),
    Arm("fgsm", "motivated", "half of the loss on FGSM-attacked pictures, eps 2/255",
        {"fgsm": {"eps": FGSM_EPS, "clean_share": 0.5}},
        confirmable=True),
    Arm("blurpool", "motivated", "low-pass filters before every stride", {"blurpool": {}}, confirmable=True),
    Arm("distil", "motivated", "learns the mean outputs of three networks", {"distil": {"share": 0.5}}, teachers=3),
    Arm("gaussian", "literature", "Gaussian noise on the pictures", {"gaussian": {"sigma": 0.02}}, 2),
    Arm("photometric", "literature", "random light and softness", {"photometric": {}}, 2),
    Arm("ema", "literature", "moving average of the weights", {"ema": {"decay": 0.998}}, 2),
    Arm("wise-ft", "literature", "weights midway between start and `consistency-4`",
        starts=2, mixed=("start", "consistency-4")),
    Arm("soup", "literature", "mean weights of three repairs: trains three times",
        starts=2, mixed=("preprocessing", "consistency-1", "consistency-4")),
    Arm("bn-adapt", "literature", "BatchNorm statistics of unlabelled frames of the declared pipeline",
        {"bn-adapt": {"variant": -1}}, 2, {"deployed_scenes": 100}),
    Arm("sam", "literature", "SAM: the gradient at the worst weights nearby", {"sam": {}}, 2),
    Arm("jacobian", "literature", "penalises the Jacobian of lines by pixels", {"jacobian": {"weight": 1e-4}}, 2),
    Arm("pgd", "literature", "`fgsm` with three steps of attack",
        {"pgd": {"eps": FGSM_EPS, "steps": 3, "clean_share": 0.5}}, 2),
    Arm("uat-ot", "literature", "same answer for unlabelled frames and their attacks",
        {"uat-ot": {"eps": FGSM_EPS, "ramp_start": 0.0, "ramp_stop": 0.3}}, 2,
        {"deployed_scenes": 100}),
    Arm("regmixup", "literature", "pairs of pictures mixed, beside the real ones", {"regmixup": {}}, 2),
    Arm("swalp", "literature", "moving average of weights that are trained in 8 bits", {"swalp": {}}, 2),
    Arm("temporal", "literature", "same line in the next frame, along the ego motion",
        {"temporal": {"weight": 1.0}}, 2, {"next_frames": True}),
    Arm("deploy-only", "ceiling", "trains on the declared pipeline alone",
        {"preprocessing": {"share": 1.0}}, 2, {"deploy_variants": True}),
    Arm("exact-pairs", "ceiling", "`consistency-4` with the declared pipeline",
        {"preprocessing": {}, "consistency": {"weight": 4.0}}, 2, {"deploy_variants": True}),
)  # fmt: skip

BY_NAME = {arm.name: arm for arm in ARMS}


def from_scratch(arm: Arm) -> Techniques:
    """The arm's techniques for training from scratch: consistency begins at half of the budget."""
    late = {"ramp_start": 0.5, "ramp_stop": 0.6}
    return {n: {**options, **late} if n == "consistency" else options for n, options in arm.techniques.items()}


def order(arms: Collection[str]) -> list[str]:
    """Those names as ARMS has them, then the rest (starts, the ensemble)."""
    return [*(name for name in BY_NAME if name in arms), *sorted(set(arms) - BY_NAME.keys())]
