"""The picture of docs/gate.md: failing suites of good candidates, and what faults of given size do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.calibration.cells import SECONDS, SUITES
from benchmarks.calibration.faults import UNITS

__all__ = ["draw_plot"]

COLOURS = dict(zip(map("{:g}".format, SECONDS), ("#1b9e77", "#d95f02", "#7570b3"), strict=True))
ALLOWED = 6


def draw_plot(told: Mapping[str, Any], path: Path) -> None:
    """Write it as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(3, 3, figsize=(10, 8), layout="constrained")
    _failing(axes[0, 0], told["good"], told["as_measured"])
    for axis in axes.ravel()[1 + len(told["faults"]) :]:
        axis.set_axis_off()  # not simulated yet
    for axis, (kind, lengths) in zip(axes.ravel()[1:], told["faults"].items(), strict=False):
        for seconds, sizes in lengths.items():
            x = [float(size) for size in sizes]
            axis.plot(x, [100 * s for s in sizes.values()], "o-", ms=3, color=COLOURS[seconds], label=f"{seconds} s")
        axis.set(title=kind, xlabel=UNITS[kind], ylim=(-3, 103), ylabel="cases that fail, %")
    figure.suptitle(f"policy {told['policy']['name']}, simulated drives, held-out kinds of noise")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _failing(axis: Any, good: Mapping[str, Any], held: Mapping[str, Any]) -> None:
    """Suites of good candidates that fail, with their 90 % intervals; hollow where nothing is wider than measured."""
    for shift, (seconds, part) in enumerate(good.items()):
        if not part["suites"]:
            continue
        x = [k + 0.15 * (shift - 1) for k in range(len(SUITES))]
        _marked(axis, x, part["suites"], color=COLOURS[seconds], label=f"{seconds} s")
        _marked(axis, [k + 0.06 for k in x], held[seconds]["suites"], color=COLOURS[seconds], mfc="white")
    axis.axhline(ALLOWED, color="grey", lw=1, ls="--")
    axis.set(title="good candidates", xticks=range(len(SUITES)), xticklabels=SUITES, xlabel="cases of a suite")
    axis.set(ylabel="suites that fail, %", ylim=(0, None))
    axis.legend(frameon=False)


def _marked(axis: Any, x: Sequence[float], suites: Mapping[str, Any], **style: Any) -> None:
    cells = [suites[str(size)] for size in SUITES]
    y = [100 * c["fails"] for c in cells]
    bars = [[100 * (c["fails"] - c["low"]) for c in cells], [100 * (c["high"] - c["fails"]) for c in cells]]
    axis.errorbar(x, y, yerr=bars, fmt="o", ms=4, capsize=2, **style)
