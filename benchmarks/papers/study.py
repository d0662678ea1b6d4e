"""What every paper check shares: cells that are computed once, intervals, tables, plots, MNIST.

A study is a grid of cells (condition x seed); each is computed once and kept as JSON in the study's folder, so that a
stopped study goes on, and tables and plots can be made again without training.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from trueline import TruelineError

__all__ = [
    "Study", "column", "difference", "drawing", "drawings", "interval", "machine", "mnist", "paired", "shown",
    "study_options", "verdict",
]  # fmt: skip

MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist" / "mnist.npz"


@dataclass(frozen=True)
class Study:
    """Cells kept in a folder.

    Args:
        folder: where `NAME.json` of each finished cell lies.
        settings: what the cells depend on besides their name; a cell computed under others is computed again.
    """

    folder: Path
    settings: Mapping[str, Any]

    def cell(self, name: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The result of `compute`, from the folder if it is there; `seconds` is added."""
        path = self.folder / f"{name}.json"
        settings = json.loads(json.dumps(dict(self.settings)))
        if path.exists():
            kept = json.loads(path.read_text())
            if kept["settings"] == settings:
                return dict(kept["result"])
        began = time.perf_counter()
        result = {**compute(), "seconds": round(time.perf_counter() - began, 2)}
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps({"settings": settings, "result": result}))
        unfinished.rename(path)
        print(f"{name}: {result['seconds']:.0f} s", flush=True)
        return dict(json.loads(json.dumps(result)))


def study_options(description: str | None, out: str) -> argparse.Namespace:
    """`--out`, `--seeds`, `--threads`; seeds torch nowhere: every cell does."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/papers") / out, help="folder of finished cells")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0 on")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high) by Student's t over seeds; low and high are NaN for one value."""
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return mean, math.nan, math.nan
    half = float(student.ppf((1 + confidence) / 2, count - 1)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return mean, mean - half, mean + half


def paired(candidate: Sequence[float], control: Sequence[float]) -> tuple[float, float, float]:
    """(mean, low, high) of candidate minus control, seed by seed."""
    return interval([a - b for a, b in zip(candidate, control, strict=True)])


def shown(values: tuple[float, float, float], digits: int = 3) -> str:
    """`mean [low, high]`."""
    return f"{values[0]:.{digits}f} [{values[1]:.{digits}f}, {values[2]:.{digits}f}]"


def verdict(gap: tuple[float, float, float]) -> str:
    """What an interval of candidate minus control says of a claim that the candidate is lower."""
    return "reproduced" if gap[2] < 0 else "not reproduced" if gap[1] > 0 else "inconclusive"


def column(cells: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """One figure of every cell."""
    return [float(cell[key]) for cell in cells]


def difference(
    found: Mapping[str, Sequence[Mapping[str, Any]]], arm: str, control: str, key: str
) -> tuple[float, float, float]:
    """Percentage points between two arms, seed by seed."""
    return paired(*([100 * v for v in column(found[a], key)] for a in (arm, control)))


@contextmanager
def drawing(path: Path) -> Iterator[Any]:
    """Axes of 900 x 500 pixels, written to `path` at the end."""
    with drawings(path, [9]) as (axes,):
        yield axes


@contextmanager
def drawings(path: Path, widths_in: Sequence[float]) -> Iterator[list[Any]]:
    """Axes side by side, 5 inches high at 100 pixels an inch, written to `path` at the end.

    Args:
        widths_in: inches of each.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(widths_in), figsize=(sum(widths_in), 5), dpi=100, squeeze=False, width_ratios=widths_in
    )
    yield list(axes[0])
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def machine() -> str:
    """The processor and the libraries, for the table's caption."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return f"{model}, torch {torch.__version__}, {torch.get_num_threads()} thread(s)"


def mnist() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(train images [60000, 28, 28] in 0..1, train labels, test images [10000, 28, 28], test labels).

    Raises:
        TruelineError: the file is not there.
    """
    if not MNIST.exists():
        raise TruelineError("MNIST is not there", where=str(MNIST), remedy="put mnist.npz (x_train, ...) there")
    with np.load(MNIST, allow_pickle=False) as data:
        images = [torch.from_numpy(data[k]).float() / 255 for k in ("x_train", "x_test")]
        labels = [torch.from_numpy(data[k]).long() for k in ("y_train", "y_test")]
    return images[0], labels[0], images[1], labels[1]
