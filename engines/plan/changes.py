"""What differs between two plans: kernels that came or went, tensors that are written in another type.

Plans are told as `engines.plan.told` tells them, so that one may come from a file: of another candidate, another
target, another version of the compiler. Kernels are known by the nodes in them, tensors by their ONNX values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

__all__ = ["plan_changes"]


def plan_changes(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """What the plan `now` has that the plan `before` had not, and the other way round.

    Returns:
        `appeared` and `vanished`: kernels as (kind, nodes); `types`: (value, type before, type now), of values that are
        written in both; `stored` and `fused`: values written now and not before, and the other way round.
    """
    kernels = [Counter(_key(kernel) for kernel in plan["kernels"]) for plan in (now, before)]
    types, theirs = now["types"], before["types"]
    return {
        "appeared": [_said(key) for key in (kernels[0] - kernels[1]).elements()],
        "vanished": [_said(key) for key in (kernels[1] - kernels[0]).elements()],
        "types": [[v, theirs[v], types[v]] for v in types if v in theirs and theirs[v] != types[v]],
        "stored": sorted(types.keys() - theirs.keys()),
        "fused": sorted(theirs.keys() - types.keys()),
    }


def _key(kernel: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """What a kernel does, whatever it is called; one of no nodes by what its tactic spells."""
    return kernel["kind"], tuple(sorted(kernel["nodes"])) or (kernel["tactic"].rpartition("_0x")[0],)


def _said(key: tuple[str, tuple[str, ...]]) -> dict[str, Any]:
    return {"kind": key[0], "nodes": list(key[1])}
