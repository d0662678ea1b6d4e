"""Suites for the plugin's tests: case folders without pictures, and a replay that writes made-up numbers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cases.case import open_case
from cases.schema import CameraMeta
from cases.writer import CaseWriter
from harness.errors import RunError
from harness.model.grid import grid_to_json, vehicle_grid
from harness.run.folder import Run
from harness.run.tables import TABLES
from tests.run_folders import finish_run

ROOT = "train/torch-fp32"
CLONE = Path(__file__).parents[3]

CARD = """
schema = 1
name = "toy"
inputs = [{ name = "image", shape = [1, 3, 8, 8], layout = "NCHW", source = "camera.front" }]
outputs = [{ name = "lines" }]
torch = { factory = "network:Toy" }
decoder = { name = "polyline" }
"""

SUITE = """
card = "model.toml"
cases = "cases/*"

[profile.cpu]
engines = "ort-fp32"
preprocess = "deploy"

[[rules]]
id = "kink"
metric = "kink"
rung = "deploy/*"
statistic = "max"
limit = "3 deg"
note = "straight roads stay straight"
"""


def write_case(folder: Path, name: str, frames: int = 4, tags: Sequence[str] = ()) -> Path:
    """A case that opens; its pictures are never read."""
    with CaseWriter(folder, id=name, fps=10.0, lossy=False, tags=tags) as case:
        case.add_camera("front", CameraMeta(kind="tensors", pixel_format="tensor"))
        steps = range(frames)
        times = [100_000_000 * i for i in steps]
        case.set_frames(
            pl.DataFrame({"frame": steps, "timestamp_ns": times, "camera": ["front"] * frames, "index": steps})
        )
    return folder / name


def write_suite(folder: Path, kink_deg: Mapping[str, float], policy: str = SUITE) -> None:
    """A model card, one case for each entry of `kink_deg` (what the replay will find there), and a policy."""
    (folder / "model.toml").write_text(CARD)
    for name in kink_deg:
        write_case(folder / "cases", name)
    (folder / "kink_deg.json").write_text(json.dumps(dict(kink_deg)))
    (folder / "toy.trueline.toml").write_text(policy)


def write_run(folder: Path, cases: Sequence[Path], rungs: Mapping[str, str], kink_deg: Mapping[str, float]) -> Run:
    """A finished run of one line a frame.

    Args:
        folder: run folder to make.
        cases: case folders.
        rungs: status by name, besides the reference.
        kink_deg: kink of the third frame of each case; the others have none. NaN leaves all of them out.
    """
    folder.mkdir(parents=True)
    opened = [open_case(c) for c in cases]
    rows: dict[str, list[dict[str, Any]]] = {"line_metrics": [], "frame_metrics": []}
    for case in opened:
        for rung, status in rungs.items():
            for frame in range(len(case.timestamps_ns) if status == "ok" else 0):
                key = {"case": case.id, "frame": frame, "rung": rung, "reference": ROOT}
                value = kink_deg[case.id] * (frame == 2) / 57.29577951308232
                kink = None if value != value else value
                rows["line_metrics"].append(key | {"track": 1, "band": "mid", "coverage": 1.0, "kink": kink})
                rows["frame_metrics"].append(key | {"lines": 1, "matched": 1, "missing": 0, "extra": 0, "nonfinite": 0})
    for table, found in rows.items():
        full = [{column: row.get(column) for column in TABLES[table]} for row in found]
        pl.DataFrame(full, schema=TABLES[table]).write_parquet(folder / f"{table}.parquet")
    return finish_run(folder, _meta(opened, rungs))


def _parent(rung: str) -> str | None:
    return None if rung == ROOT else ROOT


def _meta(cases: Sequence[Any], rungs: Mapping[str, str]) -> dict[str, Any]:
    told = {"factors": [], "provenance": {"onnxruntime": "1.2.3"}}
    names = {ROOT: "ok", **rungs}
    return {
        "card": {"name": "toy", "length_unit": "m", "grid": grid_to_json(vehicle_grid())},
        "reference": ROOT,
        "rungs": [
            told
            | {"name": n, "parent": None if n == ROOT else ROOT, "status": s, "reason": "" if s == "ok" else "no GPU"}
            for n, s in names.items()
        ],
        "cases": [
            {"id": c.id, "frames": len(c.timestamps_ns), "fps": c.fps, "tags": list(c.meta.tags), "digest": c.digest()}
            for c in cases
        ],
        "finished": True,
    }


def fake_replay(root: Path) -> Callable[..., Run]:
    """A replay that reads its numbers from root/kink_deg.json and leaves a line in root/replays.log.

    Engines called `absent-...` cannot run; `broken` in the log's folder makes every replay fail. A case called `slow`
    takes half a second.
    """

    def replay(card: Any, cases: Any, *, engines: Any, preprocess: Any, out: Path, progress: Any, **_: Any) -> Run:
        with (root / "replays.log").open("a") as log:
            log.write(f"{card.name} {','.join(engines)} {','.join(preprocess)} {len(list(cases))}\n")
        for path in map(Path, cases):
            time.sleep(0.5 * (path.name == "slow"))
            progress(path.name, 1, 1)
        if (root / "broken").exists():
            raise RunError("the disk is full", where=str(out), remedy="make room")
        rungs = {f"{p}/{e}": "not_run" if e.startswith("absent") else "ok" for p in preprocess for e in engines}
        rungs.pop(ROOT, None)
        return write_run(out, list(cases), rungs, json.loads((root / "kink_deg.json").read_text()))

    return replay


def fake_explanation(*_: object, **__: object) -> None:
    """No explanation: the made-up runs have no ladder to speak of."""


def fake_report(run: Run, out: Path, *_: object, **__: object) -> Path:
    """A report of one word."""
    out.write_text("report")
    return out


CONFTEST = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(CLONE)!r})
import harness.job, harness.replay.replay
from tests.harness.plugin.plugin_suites import fake_explanation, fake_replay, fake_report
harness.replay.replay.replay = fake_replay(Path(__file__).parent)
harness.job.explain, harness.job.write_report = fake_explanation, fake_report
"""


LEAN = [word for name in ("cacheprovider", "hypothesispytest", "jaxtyping") for word in ("-p", f"no:{name}")]


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return suite.runpytest_inprocess(*LEAN, *arguments)


def replays(suite: pytest.Pytester) -> list[str]:
    log = suite.path / "replays.log"
    return log.read_text().splitlines() if log.exists() else []


def rules(**keys: object) -> str:
    """The suite with keys of its rule changed or added."""
    text = SUITE
    for key, value in keys.items():
        line = f"{key} = {json.dumps(value)}\n"
        found = re.search(rf"^{key} = .*\n", text, re.MULTILINE)
        text = text.replace(found.group(), line) if found else text + line
    return text
