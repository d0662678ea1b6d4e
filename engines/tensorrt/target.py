"""The GPUs that a plan is for: `sm86` one compute capability, `portable` the library's own choice of several.

TensorRT for RTX plans for a compute capability that need not be here; TensorRT builds for the GPU that is.
"""

from __future__ import annotations

import re

from engines.errors import EngineOptionError
from engines.tensorrt.api import Api, IBuilderConfig

__all__ = ["PORTABLE", "aim", "capability_of", "check_target", "targets"]

PORTABLE = "portable"
PORTABLE_FROM = (8, 0)  # the oldest compute capability of a portable plan
_NAMED = re.compile(r"SM(\d+)(\d)")


def targets(api: Api) -> list[str]:
    """What this library can plan for; empty where it plans for the GPU that it runs on."""
    if not api.has("ComputeCapability"):
        return []
    return [name.lower() for name in api.trt.ComputeCapability.__members__ if _NAMED.fullmatch(name)] + [PORTABLE]


def check_target(name: str, api: Api, target: str) -> None:
    """Refuse a target that the library lacks.

    Raises:
        EngineOptionError: it does.
    """
    if target not in (known := targets(api)):
        raise EngineOptionError(
            f"{api.title} has no target {target!r}", where=f"option target of {name}", remedy=f"must be in {known}"
        )


def capability_of(target: str) -> tuple[int, int]:
    """(8, 6) of `sm86`; the oldest one of `portable`."""
    found = _NAMED.fullmatch(target.upper())
    return (int(found[1]), int(found[2])) if found else PORTABLE_FROM


def aim(api: Api, config: IBuilderConfig, target: str) -> None:
    """Tell a build its target; `portable` is what it is without being told."""
    if target != PORTABLE:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(api.trt.ComputeCapability, target.upper()), 0)
