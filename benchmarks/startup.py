"""How long `trueline --help` takes, against an empty Python: the budget is 0.3 s.

python -m benchmarks.startup
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 15


def _seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Run both in turn and print medians with their spread."""
    empty, help_ = [], []
    for _ in range(RUNS):
        empty.append(_seconds(["-c", "pass"]))
        help_.append(_seconds(["-m", "harness.cli", "--help"]))
    for name, times in (("python -c pass", empty), ("trueline --help", help_)):
        print(f"{name:16} median {statistics.median(times):.3f} s (min {min(times):.3f}, max {max(times):.3f})")


if __name__ == "__main__":
    main()
