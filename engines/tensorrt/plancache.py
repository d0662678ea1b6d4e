"""Built plans, kept by what decides them: the ONNX file, TensorRT's version, the GPU, every flag.

A plan lies in a folder of its own with `plan.json`: what it was built from, its SHA-256, what TensorRT said of it. The
folder appears in one rename and never changes; one that is not as it was sealed is built again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.cache import digest, folder_of, publish, whole, write_text
from engines.tensorrt.build import Built

__all__ = ["CachedPlan", "cached_plan"]


@dataclass(frozen=True)
class CachedPlan:
    """A plan and what its build said, see `Built`."""

    path: Path
    content: bytes
    sha256: str
    warnings: tuple[str, ...]
    layers: tuple[str, ...]


def cached_plan(cache: Path, model_name: str, facts: Mapping[str, Any], build: Callable[[], Built]) -> CachedPlan:
    """The plan built from exactly these facts; built now where it is not there yet.

    Args:
        cache: folder of prepared artefacts.
        model_name: for the folder's name.
        facts: everything that decides what the plan computes.
        build: makes the plan.
    """
    folder = folder_of(cache, "tensorrt") / f"{model_name}-{digest(facts)}"
    found = _read(folder)
    if found is not None:
        return found
    built = build()
    with publish(folder) as draft:
        (draft / "model.plan").write_bytes(built.plan)
        sha256 = hashlib.sha256(built.plan).hexdigest()
        about = {"sha256": sha256, "warnings": built.warnings, "layers": built.layers, "built_from": dict(facts)}
        write_text(draft / "plan.json", json.dumps(about, indent=1, default=repr))
    published = _read(folder)
    assert published is not None, f"{folder} was published and cannot be read"
    return published


def _read(folder: Path) -> CachedPlan | None:
    if not whole(folder):
        return None
    try:
        about = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        content = (folder / "model.plan").read_bytes()
        sha256, warnings, layers = about["sha256"], tuple(about["warnings"]), tuple(about["layers"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return CachedPlan(folder / "model.plan", content, sha256, warnings, layers)
