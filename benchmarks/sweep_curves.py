"""Response curves of sweeps side by side, as docs/sweep.md shows them.

    trueline sweep CARD --cases DIR --out runs/sweep-a
    python -m benchmarks.sweep_curves runs/sweep-a runs/sweep-b --out docs/images/sweep_curves.png

One panel for each perturbation: mean deviation over cases by amount, one line for each sweep.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.sweep import Sweep

COLUMNS = 4


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("docs/images/sweep_curves.png"))
    options = parser.parse_args()
    draw([Sweep.open(path) for path in options.sweeps], options.out)


def draw(sweeps: list[Sweep], out: Path) -> None:
    """Write the picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = [c["perturbation"] for c in sweeps[0].meta["curves"] if not c["why"]]
    rows = -(-len(names) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(11, 2.2 * rows), squeeze=False, constrained_layout=True)
    for name, axis in zip(names, axes.flat, strict=False):
        for found in sweeps:
            curve = next((c for c in found.meta["curves"] if c["perturbation"] == name and not c["why"]), None)
            if curve is not None:
                _line(axis, found, curve)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel(sweeps[0].meta["units"][name], fontsize=8)
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for row in axes:
        row[0].set_ylabel(f"deviation, {sweeps[0].unit}", fontsize=8)
    axes.flat[0].legend(fontsize=7)
    figure.savefig(out, dpi=80)


def _line(axis: Any, found: Sweep, curve: dict[str, Any]) -> None:
    points = [(p["amount"], p["deviation"]) for p in curve["points"] if p["deviation"] is not None]
    label = found.meta["card"]["name"].removeprefix("roadlines-")
    axis.plot([abs(a) for a, _ in points], [d for _, d in points], marker="o", markersize=3, label=label)


if __name__ == "__main__":
    main()
