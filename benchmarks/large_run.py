"""Judge and explain a run of ten million frame-lines; budgets 30 s and 1.5 GB on two cores (docs/DESIGN.md section 8).

    python -m benchmarks.large_run [--lines 10000000] [--case-frames 5000] [--keep DIR]

A frame-line is one line of one rung in one frame. One case of the benchmark's model is replayed through five rungs for
real; its rows stand in every case of the large run, which only has other ids. The points of the lines are left out:
neither gate nor explain reads them. Each command runs in a process of its own; its peak memory and CPU time are the
kernel's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.replay import write_case, write_model
from harness.replay.replay import replay
from harness.run.folder import Run, rows_per_group
from harness.run.json import write_json
from harness.run.manifest import record_of, with_manifest
from harness.run.tables import TABLES

ENGINES = ("ort-fp32-none", "ort-fp32-basic", "ort-fp32-extended", "ort-fp32", "emulated-fp16")
COMMANDS = ("gate", "explain")


def main(arguments: Sequence[str] = ()) -> None:
    """Write the run and print one row for each command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_run", description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--case-frames", type=int, default=5_000)
    parser.add_argument("--keep", type=Path, help="leave the run here")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        seed = _seed(Path(name), asked.case_frames)
        a_case = seed.table("lines").select(pl.len()).collect().item()
        run = write_large_run(seed, max(1, round(asked.lines / a_case)), asked.keep or Path(name) / "large")
        size_mb = sum(f.stat().st_size for f in run.path.glob("*.parquet")) / 1e6
        print(f"{run.meta['frame_lines']:,} frame-lines, {len(run.meta['cases'])} cases, {size_mb:.0f} MB of tables")
        for command in COMMANDS:
            wall_s, cpu_s, peak_mb, code = _measured(command, run.path)
            print(f"{command:8} {wall_s:6.1f} s wall, {cpu_s:6.1f} s CPU, {peak_mb:6.0f} MB at most (exit {code})")


def write_large_run(seed: Run, cases: int, out: Path) -> Run:
    """A run whose cases all have the rows of the one case of `seed`."""
    out.mkdir(parents=True, exist_ok=True)
    (told,) = seed.meta["cases"]
    ids = [f"{told['id']}_{k:05}" for k in range(cases)]
    records = {}
    for name in TABLES:
        rows = seed.read(name)
        if name == "lines":
            rows = rows.with_columns(pl.col("x", "y").list.head(0))
        many = pl.concat([rows.lazy().with_columns(case=pl.lit(case)) for case in ids])
        many.sink_parquet(out / f"{name}.parquet", compression="zstd", row_group_size=rows_per_group(name))
        records[name] = record_of(out / f"{name}.parquet")
    rungs = [r | {"lines": {case: n for case in ids for n in r["lines"].values()}} for r in seed.meta["rungs"]]
    meta: dict[str, Any] = {**seed.meta, "cases": [{**told, "id": case} for case in ids], "rungs": rungs}
    meta["frame_lines"] = records["lines"]["rows"]
    write_json(out / "run.json", with_manifest(meta, records))
    return Run.open(out)


def _seed(folder: Path, frames: int) -> Run:
    card = write_model(folder, 64, 1)
    case = write_case(folder, 64, frames, "case")
    return replay(card, [case], engines=ENGINES, preprocess=["train"], out=folder / "seed", cache=folder / "cache")


def _measured(command: str, run: Path) -> tuple[float, float, float, int]:
    """Seconds on the clock, seconds of CPU, peak MB and exit code of `trueline COMMAND RUN`."""
    code = f"from harness.cli import main; main([{command!r}, {str(run)!r}])"
    watched = (
        "import resource, subprocess, sys\n"
        f"done = subprocess.run([sys.executable, '-c', {code!r}], stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss, done.returncode)"
    )
    start = time.perf_counter()
    said = subprocess.run([sys.executable, "-c", watched], check=True, capture_output=True, text=True).stdout
    cpu_s, peak_kb, status = said.split()
    return time.perf_counter() - start, float(cpu_s), float(peak_kb) / 1024, int(status)


if __name__ == "__main__":
    main(sys.argv[1:])
