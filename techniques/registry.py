"""Which techniques there are: a table of names and the classes that plug them into the training loop."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from typing import TYPE_CHECKING, Any

from techniques.errors import TechniqueConflict, TechniqueOptionError, UnknownTechnique
from techniques.outline import Outline, outline_of

if TYPE_CHECKING:
    from techniques.technique import Technique

__all__ = ["TABLE", "build", "build_all", "names", "outline"]

TABLE: dict[str, tuple[str, str]] = {
    # attacks and adversarial training
    "fgsm": ("techniques.fgsm", "FGSM"),
    "fgm": ("techniques.fgm", "FGM"),
    "feature-fgm": ("techniques.feature_fgm", "FeatureFGM"),
    "pgd": ("techniques.pgd", "PGD"),
    "freeat": ("techniques.freeat", "FreeAT"),
    "yopo": ("techniques.yopo", "YOPO"),
    "freelb": ("techniques.freelb", "FreeLB"),
    "smart": ("techniques.smart", "SMART"),
    # averages of weights
    "swa": ("techniques.swa", "SWA"),
    "ema": ("techniques.ema", "EMA"),
    "swa-detection": ("techniques.swa_detection", "SWADetection"),
    "swalp": ("techniques.swalp", "SWALP"),
    "uniform-soup": ("techniques.soups", "UniformSoup"),
    "greedy-soup": ("techniques.soups", "GreedySoup"),
    "learned-soup": ("techniques.soups", "LearnedSoup"),
    "seasoned-soup": ("techniques.seasoned_soup", "SeasonedSoup"),
    "wise-ft": ("techniques.wiseft", "WiSEFT"),
    # regularisers
    "regmixup": ("techniques.regmixup", "RegMixup"),
    "rotation": ("techniques.rotation", "Rotation"),
    "uat-ot": ("techniques.uat", "UATOT"),
    "uat-ft": ("techniques.uat", "UATFT"),
    "uat++": ("techniques.uat", "UATPlusPlus"),
    "sam": ("techniques.sam", "SAM"),
    "gaussian": ("techniques.gaussian", "Gaussian"),
    "photometric": ("techniques.photometric", "Photometric"),
    "jacobian": ("techniques.jacobian", "Jacobian"),
    "preprocessing": ("techniques.preprocessing", "Preprocessing"),
    "quantisation-noise": ("techniques.quantisation_noise", "QuantisationNoise"),
    # against the deployment itself
    "consistency": ("techniques.consistency", "Consistency"),
    "worst-of-variants": ("techniques.worst_of_variants", "WorstOfVariants"),
    "bn-adapt": ("techniques.bn_adapt", "BatchNormAdaptation"),
    "distil": ("techniques.distil", "Distil"),
    "temporal": ("techniques.temporal", "Temporal"),
    "blurpool": ("techniques.blurpool", "BlurPool"),
    # probes: they watch a training run and change nothing
    "criticality": ("techniques.criticality", "Criticality"),
    "datapath": ("techniques.datapath", "Datapath"),
    "lazy": ("techniques.lazy", "Lazy"),
}


def names() -> list[str]:
    """Every technique's name."""
    return list(TABLE)


def outline(name: str) -> Outline:
    """Summary, role and options of a technique; nothing heavy is loaded.

    Raises:
        UnknownTechnique: no such name.
    """
    return outline_of(*_entry(name))


def build(name: str, **options: Any) -> Technique:
    """The technique of that name with its defaults, but for `options`.

    Raises:
        UnknownTechnique: no such name.
        TechniqueOptionError: an option it does not have, or a value it cannot take.
    """
    kind = _class(name)
    accepted = [f.name for f in dataclasses.fields(kind) if f.init]
    for option in options:
        if option not in accepted:
            raise TechniqueOptionError(
                f"{name} has no option {option!r}",
                where=f"[technique.{name}] {option}",
                remedy=f"it has {accepted}" if accepted else "it has no options",
            )
    return kind(**options)


def build_all(chosen: dict[str, dict[str, Any]]) -> list[Technique]:
    """Several techniques, name -> options, in that order.

    Raises:
        TechniqueConflict: two of them claim the same place in a run.
    """
    built: list[Technique] = []
    for name, options in chosen.items():
        technique = build(name, **options)
        for other in built:
            if technique.role is not None and technique.role == other.role:
                raise TechniqueConflict(
                    f"{other.name} and {technique.name} both are the run's {technique.role}",
                    where=f"--technique {technique.name}",
                    remedy="choose one of them",
                )
        built.append(technique)
    return built


def _entry(name: str) -> tuple[str, str]:
    """Module and class of a technique."""
    if name not in TABLE:
        close = difflib.get_close_matches(name, TABLE, n=1)
        raise UnknownTechnique(
            f"no technique {name!r}",
            where=f"--technique {name}",
            remedy=f"did you mean {close[0]!r}?" if close else f"there are {', '.join(TABLE)}",
        )
    return TABLE[name]


def _class(name: str) -> type[Technique]:
    module, kind = _entry(name)
    found: type[Technique] = getattr(importlib.import_module(module), kind)
    return found
