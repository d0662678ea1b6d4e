"""Tables and the picture of `python -m benchmarks.evidence`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

__all__ = ["draw", "rank_correlation", "shared", "tables"]

Cells = Mapping[str, Mapping[str, Any]]
TOP, RESAMPLES = 3, 10_000


def tables(found: Cells, scores_only: Sequence[str] = ()) -> str:
    """Markdown: the pipelines of all candidates, the blocks of each that was taken apart, and the rank correlations."""
    apart = {name: cells for name, cells in found.items() if {"fp16", "critical"} <= cells.keys()}
    parts = [_pipelines(found), _correlations(apart, scores_only), *(_blocks(n, c) for n, c in apart.items())]
    return "\n\n".join(parts)


def shared(cells: Mapping[str, Any], scores_only: Sequence[str] = ()) -> tuple[list[str], list[float], list[float]]:
    """(blocks that have weights and give lines, their criticality, their fp16 sensitivity)."""
    alone = {row["group"]: row["alone"]["line_rms"] for row in cells["fp16"]["groups"]}
    critical = {n: row["re_initialised"] for n, row in cells["critical"]["blocks"].items()}
    names = [n for n in critical if n in alone and n not in scores_only]
    return names, [critical[n] for n in names], [alone[n] for n in names]


def rank_correlation(a: Sequence[float], b: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Spearman's rank correlation and its 95 % interval, by a percentile bootstrap over the pairs.

    Resamples in which one side is constant have no correlation and are left out.
    """
    pairs = np.array([a, b], float)
    draws = np.random.default_rng(seed).integers(0, pairs.shape[1], (RESAMPLES, pairs.shape[1]))
    resampled = rankdata(pairs[:, draws], axis=-1)
    centred = resampled - resampled.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).sum(-1)).prod(0)
    fine = spread > 0
    found = (centred[0] * centred[1]).sum(-1)[fine] / spread[fine]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(np.corrcoef(rankdata(pairs, axis=-1))[0, 1]), float(low), float(high)


def _pipelines(found: Cells) -> str:
    rows = [
        "| candidate | BN drift: worst layer, RMS | largest channel | variance ratios | least fp16 headroom "
        "| least 512 headroom |",
        "|---|---|---|---|---|---|",
    ]
    for name, cells in found.items():
        drift, room = cells["pipelines"]["drift"], cells["pipelines"]["headroom"]
        worst, channel = max(drift, key=lambda r: r["shift_rms"]), max(drift, key=lambda r: r["shift_max"])
        ratios = min(r["ratio_low"] for r in drift), max(r["ratio_high"] for r in drift)
        least, auto = min(room, key=lambda r: r["fp16"]), min(room, key=lambda r: r["autocast"])
        rows.append(
            f"| {name} | {worst['shift_rms']:.3f} sigma, {worst['layer']} | {channel['shift_max']:.2f} sigma, "
            f"{channel['layer']} | {ratios[0]:.2f} to {ratios[1]:.2f} | {least['fp16']:.0f}, {least['layer']} "
            f"| {auto['autocast']:.1f}, {auto['layer']} |"
        )
    return "\n".join(rows)


def _correlations(apart: Cells, scores_only: Sequence[str]) -> str:
    rows = [
        f"| candidate | blocks | Spearman's rho | without (root) | of the {TOP} most critical among the {TOP} most "
        "sensitive |",
        "|---|---|---|---|---|",
    ]
    for name, cells in apart.items():
        names, critical, alone = shared(cells, scores_only)
        inner = [i for i, n in enumerate(names) if n != "(root)"]
        both = rank_correlation(critical, alone), rank_correlation(*([v[i] for i in inner] for v in (critical, alone)))
        said = [f"{rho:+.2f} [{low:+.2f}, {high:+.2f}]" for rho, low, high in both]
        most = [{names[i] for i in np.argsort(values)[-TOP:]} for values in (critical, alone)]
        rows.append(f"| {name} | {len(names)} | {said[0]} | {said[1]} | {len(most[0] & most[1])} |")
    return "\n".join(rows)


def _blocks(name: str, cells: Mapping[str, Any]) -> str:
    critical, whole = cells["critical"]["blocks"], cells["fp16"]["whole"]
    rows = [
        f"| {name}: block | first weights put back | fresh draws | weights moved | fp16 alone, RMS | greatest "
        "| all but it: greatest |",
        "|---|---|---|---|---|---|---|",
        f"| everything | | | | {_mm(whole['line_rms'])} | {_mm(whole['line_max'])} | |",
    ]
    for row in cells["fp16"]["groups"]:
        own = critical.get(row["group"])
        reset = "| | | " if own is None else (
            f"| {own['re_initialised']:+.3f} m | {np.mean(own['re_randomised']):+.3f} m | {own['moved']:.2f} "
        )  # fmt: skip
        rows.append(
            f"| {row['group']} {reset}| {_mm(row['alone']['line_rms'])} | {_mm(row['alone']['line_max'])} "
            f"| {_mm(row['without']['line_max'])} |"
        )
    return "\n".join(rows)


def _mm(metres: float) -> str:
    return f"{1000 * metres:.3f} mm"


def draw(apart: Cells, path: Path, scores_only: Sequence[str] = ()) -> None:
    """Criticality against fp16 sensitivity, block by block, one panel a candidate."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        1, len(apart), figsize=(3.1 * len(apart), 3.6), dpi=90, sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (name, cells) in zip(axes[0], apart.items(), strict=True):
        names, critical, alone = shared(cells, scores_only)
        axis.scatter(np.maximum(critical, 1e-4), 1000 * np.array(alone), s=14, color="tab:blue")
        for block, x, y in zip(names, critical, alone, strict=True):
            short = block.replace("backbone.", "b").replace("across.", "a").replace(".body", "")
            axis.annotate(short, (max(x, 1e-4), 1000 * y), fontsize=6, xytext=(2, 2), textcoords="offset points")
        axis.set(xscale="log", yscale="log", title=name, xlabel="first weights put back: error rises by, m")
        axis.margins(x=0.22)
        axis.title.set_fontsize(9)
        axis.xaxis.label.set_fontsize(7)
        axis.tick_params(labelsize=7)
    axes[0, 0].set_ylabel("fp16 in this block alone: lines move by, mm RMS", fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
