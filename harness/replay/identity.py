"""What a replay is going to do, fixed before it starts: rungs, cases, and the digest that a resume must match.

The identity is all that can change a table, by content: card, weights, graphs, the user's code, cases with truth and
dumps, settings, versions of libraries. Where it lies, who ran it and from which commit is provenance and changes
nothing.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from cases.case import Case
from engines.errors import ModelLoadError
from engines.inspect.graph import weight_files
from engines.registry import ENTRY_POINTS as ENGINES
from engines.registry import base_name, family, option_files
from engines.sealed import file_sha256
from engines.table import TABLE
from harness.lines.decode.registry import ENTRY_POINTS as DECODERS
from harness.model.card import Card
from harness.model.grid import grid_to_json
from harness.replay.code import code_of, packages_of
from harness.run.rungs import Rung
from trueline import __version__
from trueline._reading import read_toml

__all__ = ["Plan", "differences", "make_plan", "model_files", "rung_json", "versions"]

SCHEMA = 1
_DISTRIBUTIONS = (
    "torch", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt",
    "numpy", "scipy", "polars", "av", "opencv-python-headless",
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
    ordered = sorted(cases, key=lambda c: c.id)
    identity: dict[str, Any] = {
        "schema": SCHEMA,
        "card": {
            "name": card.name,
            "sha256": file_sha256(card.path),
            "files": {f.name: file_sha256(f) for f in (*model_files(card), *option_files(card.source()))},
            "code": code_of(_plain_card(card), card.root),
            "frame": card.frame,
            "length_unit": card.length_unit,
            "grid": grid_to_json(card.grid),
        },
        "reference": rungs[0].name,
        "rungs": [rung_json(r) for r in rungs],
        "cases": [_case_json(c, dumps=any(family(r.engine) == "recorded" for r in rungs)) for c in ordered],
        "settings": dict(settings),
        "provenance": {
            "trueline": __version__,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            **versions(),
            **packages_of(_plain_card(card), card.root),
            **_third_parties(rungs),
        },
    }
    text = json.dumps(identity, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()
    identity["card"]["path"] = str(card.path.resolve())
    for told, case in zip(identity["cases"], ordered, strict=True):
        told["path"] = str(case.root.resolve())
    return Plan(identity | {"digest": digest, "invocation": {"command": sys.argv, "commit": _commit(card.root)}})


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between the identities of two plans, by name: files, modules, cases, versions, settings."""
    found = []
    for key, what in (("files", ""), ("code", "module ")):
        before, after = (meta.get("card", {}).get(key, {}) for meta in (old, new))
        found += [f"{what}{name}" for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    if old.get("card", {}).get("sha256") != new["card"]["sha256"]:
        found.insert(0, "the card")
    before, after = ({c["id"]: c for c in meta.get("cases", ())} for meta in (old, new))
    for name in sorted({*before, *after}):
        found += _case_differences(name, before.get(name), after.get(name))
    rungs = [[r["name"] for r in meta.get("rungs", ()) if r.get("status") != "not_run"] for meta in (old, new)]
    found += [f"rung {name}" for name in sorted(set(rungs[0]) ^ set(rungs[1]))]
    for key in ("settings", "provenance"):
        before, after = old.get(key, {}), new.get(key, {})
        found += [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return found


def _case_differences(name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[str]:
    if old is None or new is None:
        return [f"case {name} {'is new' if old is None else 'is gone'}"]
    changed = [key for key in ("digest", "truth", "dumps", "tags", "drive") if old.get(key) != new.get(key)]
    return [f"case {name} ({', '.join('recording' if c == 'digest' else c for c in changed)})"] if changed else []


def rung_json(rung: Rung) -> dict[str, Any]:
    """Name, pipeline, engine, parent and factors of a rung."""
    return asdict(rung) | {"name": rung.name, "factors": list(rung.factors)}


def _case_json(case: Case, *, dumps: bool) -> dict[str, Any]:
    truth = case.root / "lines.parquet"
    return {
        "id": case.id,
        "digest": case.digest(),
        "truth": file_sha256(truth) if truth.is_file() else "",
        "dumps": _dumps(case) if dumps else {},
        "frames": case.length,
        "fps": case.fps,
        "lossy": case.meta.lossy,
        "tags": list(case.meta.tags),
        "drive": case.meta.drive,
    }


def model_files(card: Card) -> Iterable[Path]:
    """Files besides the card that decide what the model computes, whatever engine runs it."""
    if card.torch is not None and card.torch.weights is not None and card.torch.weights.exists():
        yield card.torch.weights
    if card.onnx is not None and card.onnx.file.exists():
        yield card.onnx.file
        with suppress(ModelLoadError):  # an engine that loads the file says what is wrong with it
            yield from (card.onnx.file.parent / name for name in weight_files(card.onnx.file))
    yield from (p for p in card.plugins if p.exists())


def _dumps(case: Case) -> dict[str, Any]:
    """Content of every dump, and what case.toml says of it."""
    return {
        name: {"sha256": _content(path), "read": output.model_dump(mode="json")}
        for name, (path, output) in case.outputs().items()
    }


def _plain_card(card: Card) -> Any:
    return read_toml(card.path)


def _content(path: Path) -> str:
    """SHA-256 of a file, or of every file of a folder with its name; empty where there is nothing."""
    if path.is_file():
        return file_sha256(path)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else []
    told = "".join(f"{p.relative_to(path).as_posix()} {file_sha256(p)}\n" for p in files)
    return hashlib.sha256(told.encode()).hexdigest() if files else ""


def _commit(folder: Path) -> str:
    """The git commit that a folder is at; empty where it is in no repository, or git does not answer."""
    with suppress(OSError, subprocess.SubprocessError):
        asked = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    return ""


def _third_parties(rungs: Sequence[Rung]) -> dict[str, str]:
    """Package -> version, of every engine and decoder that a package of its own provides."""
    used = {base_name(rung.engine) for rung in rungs}
    entries = [e for e in metadata.entry_points(group=ENGINES) if e.name in used and e.name not in TABLE]
    entries += metadata.entry_points(group=DECODERS)
    return {entry.dist.name: entry.dist.version for entry in entries if entry.dist is not None}


def versions() -> dict[str, str]:
    """Versions of the libraries that decide what comes out."""
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
