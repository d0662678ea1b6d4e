"""What a replay is going to do, fixed before it starts: rungs, cases, and the digest that a resume must match."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from cases.case import Case
from engines.errors import ModelLoadError
from engines.inspect.graph import weight_files
from engines.registry import option_files
from harness.model.card import Card
from harness.model.grid import grid_to_json
from harness.run.rungs import Rung
from trueline import __version__

__all__ = ["Plan", "make_plan", "rung_json"]

SCHEMA = 1
_DISTRIBUTIONS = (
    "torch", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt",
    "numpy", "polars", "av", "opencv-python-headless",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The beginning of run.json, and the digest of all of it that determines the tables."""

    meta: dict[str, Any]

    @property
    def digest(self) -> str:
        """Equal digests give equal tables (given the same cached plans and threads)."""
        return str(self.meta["digest"])


def make_plan(card: Card, cases: Sequence[Case], rungs: Sequence[Rung], settings: Mapping[str, Any]) -> Plan:
    """Collect what identifies a replay."""
    identity = {
        "schema": SCHEMA,
        "card": {
            "name": card.name,
            "path": str(card.path),
            "sha256": _sha256(card.path),
            "files": {f.name: _sha256(f) for f in _files(card)},
            "frame": card.frame,
            "length_unit": card.length_unit,
            "grid": grid_to_json(card.grid),
        },
        "reference": rungs[0].name,
        "rungs": [rung_json(r) for r in rungs],
        "cases": [_case_json(c) for c in sorted(cases, key=lambda c: c.id)],
        "settings": dict(settings),
        "provenance": {
            "trueline": __version__,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            **_versions(),
        },
    }
    text = json.dumps(identity, sort_keys=True, default=str)
    return Plan(identity | {"digest": hashlib.sha256(text.encode()).hexdigest()})


def rung_json(rung: Rung) -> dict[str, Any]:
    """Name, pipeline, engine, parent and factors of a rung."""
    return asdict(rung) | {"name": rung.name, "factors": list(rung.factors)}


def _case_json(case: Case) -> dict[str, Any]:
    return {
        "id": case.id,
        "path": str(case.root),
        "digest": case.digest(),
        "frames": len(case.timestamps_ns),
        "fps": case.fps,
        "lossy": case.meta.lossy,
        "tags": list(case.meta.tags),
    }


def _files(card: Card) -> Iterable[Path]:
    """Files besides the card that decide what the model computes."""
    if card.torch is not None:
        yield from sorted(card.root.glob("*.py"))
        if card.torch.weights is not None and card.torch.weights.exists():
            yield card.torch.weights
    if card.onnx is not None and card.onnx.file.exists():
        yield card.onnx.file
        with suppress(ModelLoadError):  # an engine that loads the file says what is wrong with it
            yield from (card.onnx.file.parent / name for name in weight_files(card.onnx.file))
    yield from (p for p in card.plugins if p.exists())
    yield from option_files(card.source())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
