"""Under which key a result is kept: a digest of all that can change it, by content, as the identity of a run is.

    a case's parts    the plan without its other cases, every engine as it was opened, the machine
    a rung's tensors  its engine as opened, the model, its pipeline's steps with their code, the recording, the machine

The identity of a run (identity.py) is held against a folder on one machine and one version. Results outlive both, so
the machine is part of a key, and so are Trueline's own code and the version of every installed package.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import cases
import engines
import harness
from cases.case import Case
from cases.files import FRAMES
from engines.protocol import Engine, keeps_state
from engines.registry import base_name
from engines.sealed import file_sha256
from engines.table import TABLE
from harness.feed.inputs import steps_of_variant
from harness.model.card import Card
from harness.replay.code import code_of
from harness.replay.environment import SETTINGS
from harness.replay.identity import model_files
from harness.run.json import plain
from harness.run.rungs import Rung

__all__ = ["PACKAGES", "case_key", "is_determined", "machine", "rung_key"]

PACKAGES = (cases, engines, harness)  # whose code computes results
_SWITCHES = (  # variables of the environment by which libraries choose kernels, threads and precisions
    "OMP_", "KMP_", "MKL_", "OPENBLAS_", "DNNL_", "ONEDNN_", "ORT_", "OV_", "TORCH", "PYTORCH_", "CUDA_", "CUBLAS_",
    "CUDNN_", "NVIDIA_",
)  # fmt: skip
_UNDETERMINED = {"command"}  # a program may read what nobody here knows of


def is_determined(engine: str) -> bool:
    """Whether what an engine gives follows from what a key knows: ours do, programs and third parties may not."""
    base = base_name(engine)
    return base in TABLE and TABLE[base].family not in _UNDETERMINED


def case_key(meta: Mapping[str, Any], case: Mapping[str, Any], opened: Mapping[str, Engine], first: bool) -> str:
    """Key of a case's parts.

    Args:
        meta: of the plan: card, reference, rungs, settings, provenance.
        case: its entry among the plan's cases.
        opened: engines by name, before any case.
        first: it is the one on which rows of batches are tried.
    """
    same = {key: meta[key] for key in ("schema", "reference", "rungs", "settings", "provenance")}
    return _digest(
        {
            **same,
            "card": {key: value for key, value in meta["card"].items() if key != "path"},
            "case": {key: value for key, value in case.items() if key != "path"},
            "engines": {name: plain(dict(engine.provenance)) for name, engine in opened.items()},
            "first": first and meta["settings"].get("batch", 1) > 1,
            "machine": machine(),
        }
    )


def rung_key(card: Card, rung: Rung, engine: Engine, case: Case) -> str | None:
    """Key of the tensors a rung gives for a case; None where they do not follow from what is known."""
    if not is_determined(rung.engine) or engine.uses_time or keeps_state(engine):
        return None
    source = card.source()
    steps = {i.name: steps_of_variant(card, i, rung.preprocess) for i in card.inputs if i.source.startswith("camera.")}
    return _digest(
        {
            "engine": rung.engine,
            "provenance": plain(dict(engine.provenance)),
            "files": {path.name: file_sha256(path) for path in model_files(card)},
            "options": [plain(dict(source.options.get(name, {}))) for name in (base_name(rung.engine), rung.engine)],
            "factory": [source.factory, plain(dict(source.factory_args))],
            "inputs": [i.model_dump(mode="json") for i in card.inputs],
            "outputs": list(source.outputs),
            "state": dict(card.state),
            "steps": plain(steps),
            "code": code_of({"factory": source.factory, "steps": steps}, card.root),
            "recording": _recording(case),
            "machine": machine(),
        }
    )


def _recording(case: Case) -> dict[str, Any]:
    """What engines are fed with: pictures, times, motion and calibration, not truth, dumps, tags or the id."""
    read = case.meta.model_dump(mode="json", include={"cameras", "sha256"})
    hashes = {name: sha for name, sha in read["sha256"].items() if name == FRAMES or name.startswith("cameras/")}
    return {"cameras": read["cameras"], "sha256": hashes, "timestamps_ns": case.timestamps_ns.tolist()}


@cache
def machine() -> Mapping[str, Any]:
    """Processor, Python, Trueline's own code, all packages, and what steers libraries; asked once a process."""
    packages = sorted(f"{d.metadata['Name']} {d.version}" for d in metadata.distributions())
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _digest(packages),
        "environment": {k: v for k, v in os.environ.items() if k.startswith(_SWITCHES) and k not in SETTINGS},
        "code": _own_code(),
    }


def _processor() -> str:
    """Name of the processor and what it can do: kernels are chosen by it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    told = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    return " ".join(told.get(key, "") for key in ("model name", "CPU implementer", "CPU part", "flags", "Features"))


def _own_code() -> str:
    roots = [Path(p) for package in PACKAGES for p in package.__path__]
    files: Sequence[Path] = sorted(f for root in roots for f in root.rglob("*.py"))
    return _digest([[f.name, file_sha256(f)] for f in files])


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=repr).encode()).hexdigest()
