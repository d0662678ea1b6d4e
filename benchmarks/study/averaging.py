"""How the gap falls with the number of networks whose lines are averaged; outside the plan, looked at after screening.

    python -m benchmarks.study.averaging

Every subset of the screening's five starts on its clips. If the gap were the pipeline's doing, the same for every
network, averaging would leave it; what each network adds of its own falls as 1 / sqrt(networks). Writes AVERAGING.md.
"""

from __future__ import annotations

import argparse
import math
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.study import bench, measure
from benchmarks.study import statistics as st
from benchmarks.study.candidate import lines_of, together
from benchmarks.study.cells import STARTS, Cell, Places, one_thread
from benchmarks.study.statistics import Kept

PAGE = Path(__file__).with_name("AVERAGING.md")
HEAD = f"""# How the gap falls with the number of networks

Made by `python -m benchmarks.study.averaging`; do not edit. Not in the plan: looked at after the screening's `ensemble`
had been seen. Mean lines of the networks of all subsets of its {STARTS} starts, on its clips, as ratios to the
geometric mean of the same networks alone. Subsets share networks, so there is no interval: in brackets the least and
the largest.

| networks | subsets | gap, declared | gap, unseen | clean error |
|---|---|---|---|---|
"""


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/study"))
    places = Places(Path(), parser.parse_args().work, Path())
    one_thread()
    pictures = bench.pictures("screen", places.work / "bench")
    folders = [places.folder(Cell("screen", "start", start)) for start in range(STARTS)]
    alone = [measure.answers(lines_of(folder, places.work / "cache"), pictures.images) for folder in folders]
    kept = {
        part: {"measures": {"pictures": measure.on_pictures(*together([alone[i] for i in part]), pictures)}}
        for count in range(1, STARTS + 1)
        for part in combinations(range(STARTS), count)
    }
    PAGE.write_text(
        HEAD + "".join(_row(kept, count) for count in range(2, STARTS + 1)) + _own(alone, pictures), encoding="utf-8"
    )
    print(PAGE.read_text(encoding="utf-8"))


def _row(kept: dict[tuple[int, ...], Kept], count: int) -> str:
    """The table's row of subsets of that many networks."""
    parts = [part for part in kept if len(part) == count]
    cells = []
    for what in ("declared", "unseen", "clean"):
        ratios = [float(np.mean([st.MEASURES[what](kept[part], kept[i,]) for i in part])) for part in parts]
        mean, low, high = (math.exp(f(ratios)) for f in (np.mean, np.min, np.max))
        cells.append(f"{mean:.2f} [{low:.2f}, {high:.2f}]")
    return f"| {count} | {len(parts)} | {' | '.join(cells)} |\n"


def _own(alone: list[tuple[bench.Array, bench.Array]], pictures: bench.Pictures) -> str:
    """How alike two networks are moved by the declared pipeline: correlation over pictures, true lines and stations."""
    near = np.arange(alone[0][0].shape[-1]) * measure.STATION_STEP_M <= measure.WITHIN_M
    there = np.isfinite(pictures.lines)[..., near]
    moved = [(y[:, bench.PIPELINES.index("deploy")] - y[:, 0])[..., near][there] for y, _ in alone]
    between = np.corrcoef(moved)[np.triu_indices(STARTS, 1)]
    mean, low, high = between.mean(), between.min(), between.max()
    return (
        "\nWhat the declared pipeline does to the lines of two of these networks has a correlation of "
        f"{mean:.2f} ({low:.2f} to {high:.2f}): {1 - mean:.0%} of its variance is each network's own.\n"
    )


if __name__ == "__main__":
    main()
