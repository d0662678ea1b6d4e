"""How long `import trueline` and `trueline --help` take, against an empty Python: the budgets are 0.1 and 0.3 s.

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
    """Run all in turn and print medians with their spread."""
    commands = {
        "python -c pass": ["-c", "pass"],
        "import trueline": ["-c", "import trueline"],
        "trueline --help": ["-m", "harness.cli", "--help"],
        "trueline": ["-m", "harness.cli"],
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, arguments in commands.items():
            found[name].append(_seconds(arguments))
    for name, times in found.items():
        print(f"{name:16} median {statistics.median(times):.3f} s (min {min(times):.3f}, max {max(times):.3f})")


if __name__ == "__main__":
    main()
