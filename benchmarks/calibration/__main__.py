"""How often a good candidate fails, and what a fault of given size does: simulated drives through the project's gate.

    nice -n 5 python -m benchmarks.calibration --hours 2          # simulate; goes on where it stopped
    python -m benchmarks.calibration --report [--policy FILE]...  # judge what is there, write results, table and plot

One thread each; several may run side by side. Numbers stay in benchmarks/calibration/kept (9 KB a version; commit them,
another session goes on from there), results in benchmarks/calibration/results.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.calibration import report
from benchmarks.calibration.cells import compute, units
from benchmarks.calibration.definitions import changed
from benchmarks.calibration.suites import questions_of
from harness.gate import Policy, load_policy

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHIPPED = (Path("release"), Path("smoke"), Path("strict"), ROOT / "examples/roadlines/release.trueline.toml")


def main() -> None:
    """Simulate, or report."""
    options = _options()
    policies = [load_policy(file) for file in options.policy or SHIPPED]
    if others := changed(options.work, questions_of(policies)):
        raise SystemExit(
            f"{options.work}: kept by other definitions of {', '.join(others[:5])}{' ...' * (len(others) > 5)}; remove "
            "what is kept, or keep it elsewhere: --work FOLDER"
        )
    if options.report:
        report.write(policies, options.work, HERE / "results", ROOT / "docs/images/gate_calibration.png")
        return
    _simulate(policies, options.work, 3600 * options.hours)


def _simulate(policies: list[Policy], work: Path, seconds: float) -> None:
    questions, began = questions_of(policies), time.monotonic()
    every = units()
    for done, unit in enumerate(every):
        if time.monotonic() - began > seconds:
            print(f"stopped after {seconds / 3600:g} h at {done} of {len(every)}", flush=True)
            return
        if compute(unit, work, questions):
            print(f"{unit.name} ({done + 1} of {len(every)}), {time.process_time():.0f} s of CPU", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--policy", type=Path, action="append", help="default: release, smoke, strict and the demo's")
    parser.add_argument("--work", type=Path, default=HERE / "kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
