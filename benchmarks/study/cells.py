"""The grid: which cells there are, in which order, what one needs of others, and how one is computed and kept.

A cell's JSON holds every number that the report needs; weights stay in the work folder. What is finished is never
computed again; a cell whose weights are there only lacks its measures. Several processes may work side by side.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from benchmarks.papers.study import machine
from benchmarks.study import bench, measure, real
from benchmarks.study.arms import ARMS, BY_NAME, CONFIRM_SEEDS, CONTROL, RECIPE, from_scratch
from benchmarks.study.candidate import FINE_TUNING, SCRATCH, lines_of, mean_of_weights, together, trained
from harness.cli.demo import example_folder
from techniques.errors import NonFiniteLoss
from techniques.weight_files import file_sha256

__all__ = ["ENSEMBLE", "STARTS", "Cell", "Places", "compute", "confirmation", "read", "screening"]

STARTS, ENSEMBLE = 5, "ensemble"


@dataclass(frozen=True)
class Cell:
    """One network that is made and measured: stage "screen" or "confirm", an arm (or "start", "ensemble"), a seed."""

    stage: str
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.stage}-{self.arm}-{self.seed}"


@dataclass(frozen=True)
class Places:
    """Where things lie.

    Attributes:
        results: finished cells, kept in the repository.
        work: weights, runs, tensors.
        pictures: rendered pictures of the demo's task.
        also: further engines that confirmed networks are held against ort-fp32 with; each is a section of its own.
    """

    results: Path
    work: Path
    pictures: Path
    also: tuple[str, ...] = ()

    def folder(self, cell: Cell) -> Path:
        """Of the cell's candidate."""
        return self.work / "candidates" / cell.name

    def weights(self, cell: Cell) -> Path:
        """Of the cell's network."""
        if cell == Cell("screen", "start", 0):
            return example_folder() / "baseline.safetensors"
        return self.folder(cell) / "weights.safetensors"


def screening() -> list[Cell]:
    """In order: what tells most first."""
    found: list[Cell] = []
    early = [a for a in ARMS if a.group in ("control", "motivated") and not a.teachers]
    for start in range(3):
        found.append(Cell("screen", "start", start))
        found += [Cell("screen", arm.name, start) for arm in early]
    later = [a for a in ARMS if a not in early]
    found += [Cell("screen", a.name, s) for a in later if a.teachers for s in range(a.starts)]
    for group in ("literature", "ceiling"):
        found += [Cell("screen", a.name, s) for s in range(2) for a in later if a.group == group and s < a.starts]
    found += [Cell("screen", "start", s) for s in range(3, STARTS)]
    return [*found, Cell("screen", ENSEMBLE, 0)]


def confirmation(chosen: tuple[str, ...]) -> list[Cell]:
    """Seed by seed, so that pairs are complete early."""
    return [Cell("confirm", arm, seed) for seed in CONFIRM_SEEDS for arm in (CONTROL, RECIPE, *chosen)]


def read(results: Path) -> tuple[dict[Cell, dict[str, Any]], dict[Cell, str]]:
    """(every finished cell, why those failed whose loss was not finite)."""
    found, failed = {}, {}
    for path in sorted(results.glob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        cell = Cell(kept["stage"], kept["arm"], kept["seed"])
        if "failed" in kept:
            failed[cell] = str(kept["failed"])
        else:
            found[cell] = kept
    return found, failed


def compute(cell: Cell, places: Places, tell: Callable[[str], None] = print) -> bool:
    """Make and measure a cell, unless it is finished or another process is at it; whether it is finished now."""
    path = places.results / f"{cell.name}.json"
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    missing = [s for s in _sections(cell, places.also) if s not in kept.get("measures", {})]
    if "failed" in kept or (kept and not missing):
        return True
    lock = places.work / "locks" / f"{cell.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            _fill(cell, places, path, kept, missing)
    except Timeout:
        tell(f"{cell.name}: another process is at it")
        return False
    walls = json.loads(path.read_text(encoding="utf-8"))["wall_s"]
    tell(f"{cell.name}: " + ", ".join(f"{k} {v:.0f} s" for k, v in walls.items()))
    return True


def _sections(cell: Cell, also: Sequence[str]) -> list[str]:
    """What is measured: pictures, hard pictures, real frames where they are there, the gate for one network."""
    found = ["pictures", "hard"] + (["real"] if real.available() else [])
    return found if cell.arm == ENSEMBLE else [*found, "gate", *(also if cell.stage == "confirm" else ())]


def _fill(cell: Cell, places: Places, path: Path, kept: dict[str, Any], missing: list[str]) -> None:
    if not kept:
        began = time.perf_counter()
        kept = {"stage": cell.stage, "arm": cell.arm, "seed": cell.seed}
        try:
            kept |= _made(cell, places)
        except NonFiniteLoss as error:  # the plan: not repeated, and a failure of its arm
            kept["failed"], missing = error.what, []
        kept |= {"code": _code(), "machine": machine(), "measures": {}, "wall_s": {}}
        kept["wall_s"]["make"] = round(time.perf_counter() - began, 1)
        kept["measured_by"] = {}
    for section in missing:
        began = time.perf_counter()
        kept["measures"][section] = _measured(cell, places, section)
        kept["wall_s"][section] = round(time.perf_counter() - began, 1)
        kept.setdefault("measured_by", {})[section] = _code()["commit"]
    if places.weights(cell).exists():
        kept["weights_sha256"] = file_sha256(places.weights(cell))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(kept, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")
    unfinished.rename(path)


def _made(cell: Cell, places: Places) -> dict[str, Any]:
    """Make the cell's network; how it came about."""
    if cell.arm == ENSEMBLE:
        for start in _starts():
            _need(start, places)
        return {"of": [c.name for c in _starts()], "passes": {"forward": 0, "backward": 0}}
    if cell == Cell("screen", "start", 0):
        return _committed(places.folder(cell))
    out = places.folder(cell)
    if cell.arm == "start":
        return _outcome(trained({}, SCRATCH, cell.seed, out, places.pictures))
    arm = BY_NAME[cell.arm]
    if cell.stage == "confirm":
        return _outcome(trained(from_scratch(arm), SCRATCH, cell.seed, out, places.pictures, data=arm.data))
    start = Cell("screen", "start", cell.seed)
    begun = {"initial_sha256": file_sha256(_need(start, places))}
    if arm.mixed:
        parts = [Cell("screen", name, cell.seed) for name in arm.mixed]
        like = places.folder(next(p for p in parts if p.arm != "start"))
        return mean_of_weights([_need(p, places) for p in parts], like, out, places.pictures) | begun
    facts = trained(
        arm.techniques, FINE_TUNING, cell.seed, out, places.pictures, initial=places.weights(start), data=arm.data,
        teachers=[_need(c, places) for c in _starts()[: arm.teachers]],
    )  # fmt: skip
    return _outcome(facts) | begun


def _outcome(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Of a candidate's provenance what the report may need."""
    names = ("settings", "techniques", "passes", "steps", "seconds", "reports", "versions", "threads", "loss")
    found = {name: facts[name] for name in names}
    found["settings"] = {k: v for k, v in found["settings"].items() if k != "initial"}
    found["techniques"] = {n: {k: v for k, v in o.items() if k != "teachers"} for n, o in found["techniques"].items()}
    found["loss"] = [float(f"{x:.4g}") for x in found["loss"]]
    return found


def _committed(out: Path) -> dict[str, Any]:
    """The demo's own baseline as a candidate's folder."""
    import shutil

    out.mkdir(parents=True, exist_ok=True)
    root = example_folder()
    shutil.copy(root / "network.py", out)
    shutil.copy(root / "baseline.safetensors", out / "weights.safetensors")
    text = (root / "baseline.toml").read_text(encoding="utf-8")
    (out / "model.toml").write_text(text.replace('"baseline.safetensors"', '"weights.safetensors"'), encoding="utf-8")
    return {"passes": {"forward": 2600, "backward": 2600}, "steps": 2600}


def _starts() -> list[Cell]:
    return [Cell("screen", "start", s) for s in range(STARTS)]


def _need(cell: Cell, places: Places) -> Path:
    """Weights of another cell, which is made first where it is not there."""
    path = places.weights(cell)
    if not path.exists():
        with FileLock(places.work / "locks" / f"{cell.name}.lock"):
            if not path.exists():
                _made(cell, places)
    return path


def _measured(cell: Cell, places: Places, section: str) -> dict[str, Any]:
    if section in places.also:
        return measure.numeric(places.folder(cell), cell.stage, places.work, [section])
    if section == "gate":
        return measure.gate(places.folder(cell), cell.stage, places.work)
    members = _starts() if cell.arm == ENSEMBLE else [cell]
    networks = [lines_of(places.folder(c), places.work / "cache") for c in members]
    if section == "real":
        return real.on_frames(networks, places.work / "bench")
    name = cell.stage if section == "pictures" else f"{cell.stage}-hard"
    pictures = bench.pictures(name, places.work / "bench")
    return measure.on_pictures(*together([measure.answers(n, pictures.images) for n in networks]), pictures)


def _code() -> dict[str, Any]:
    """Commit of the code, and whether files other than results differ from it."""

    def git(*args: str) -> str:
        return subprocess.run(["git", *args], capture_output=True, text=True, check=False).stdout.strip()

    changed = [x for x in git("status", "--porcelain", "-uno").splitlines() if "study/results/" not in x]
    return {"commit": git("rev-parse", "--short=10", "HEAD") or "unknown", "changed": bool(changed)}


def one_thread() -> None:
    """PyTorch, OpenCV and what they call."""
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
