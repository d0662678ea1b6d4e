"""Datapaths (Wang et al. 2018): faithful, or merely sparse? And where do attacked inputs leave them?

    python -m benchmarks.papers.datapath          # about 3 minutes of one core

A small network of three convolutions and two linear layers, trained on 6,000 MNIST digits; the gates of 64 test
digits, of their FGSM twins and of twins with random sign noise of the same size (0.2 of the raw range). Claims, fixed
before the first run, over seeds (network, data order, noise and digits anew for each):

 1. the datapath {z > 1/2} keeps the outputs far better than as many random channels of the same layers: the relative
    squared change of the logits is less than a fifth of that of random gates (a toy measurement had 1.6 against 18.3);
 2. in every gated layer FGSM's datapath has less in common with the clean one (Jaccard) than the noise's;
 3. FGSM's datapath departs earlier: the first layer whose mean Jaccard index is below 0.7 comes earlier for FGSM.

There is no training to compare: both perturbations, and gates and random gates, cost the same passes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.papers.study import Study, interval, machine, mnist, paired, shown, study_options
from techniques.attack import Ball, ascend, label_score
from techniques.batchnorm import evaluating
from techniques.datapath import Gates, datapaths, infidelity, jaccard, shuffled, sign_noise, thresholded
from techniques.objectives import Classification
from techniques.task import Domain, Task, TensorExamples
from techniques.training import Loop, Settings

EPS, DIGITS, TRAINING, SHUFFLES = 0.2, 64, 6000, 5
BUDGET, STEPS, WEIGHT, RATE = 1500, 200, 0.1, 0.05
DEPARTED = 0.7
PLOT = "technique_datapath.png"
DOMAIN = Domain()


def network() -> nn.Module:
    """Four gated layers: three convolutions of stride 2 and a linear layer, each with ReLU."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def trained(seed: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """(network, test digits [64, 1, 28, 28], labels)."""
    x, y, x_test, y_test = mnist()
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:TRAINING]
    probe = torch.randperm(len(x_test), generator=torch.Generator().manual_seed(seed))[:DIGITS]
    train = TensorExamples((x[rows, None],), (y[rows],))
    test = TensorExamples((x_test[probe, None],), (y_test[probe],))
    task = Task(network, Classification(), (DOMAIN,), train, test, test, unit="wrong")
    model = Loop(task, [], Settings(budget_passes=BUDGET, batch=64, rate=2e-3, seed=seed)).run().model
    return model, test.inputs[0], test.targets[0]


def cell(seed: int) -> dict[str, Any]:
    """Fidelity and Jaccard indices of one seed."""
    model, x, y = trained(seed)
    objective, generator = Classification(), torch.Generator().manual_seed(seed)
    with evaluating(model):
        attacked = ascend(label_score(model, objective, (y,)), (x,), (DOMAIN,), Ball(EPS))
    inputs = {"clean": (x,), "fgsm": attacked, "noise": sign_noise((x,), (DOMAIN,), EPS, generator)}
    soft = {k: datapaths(model, objective, v, weight=WEIGHT, steps=STEPS, rate=RATE) for k, v in inputs.items()}
    paths = {k: thresholded(v) for k, v in soft.items()}
    random = [shuffled(paths["clean"], generator) for _ in range(SHUFFLES)]

    def change(gates: Gates) -> float:
        return float(infidelity(model, objective, (x,), gates).mean())

    with torch.no_grad():
        wrong = {k: float(objective.error(objective.outputs(model, v), (y,)).mean()) for k, v in inputs.items()}
    return {
        "wrong": wrong,
        "path": change(paths["clean"]),
        "soft gates": change(soft["clean"]),
        "random": float(np.mean([change(gates) for gates in random])),
        "open": {name: float(gate.mean()) for name, gate in paths["clean"].items()},
        **{k: {n: float(v.mean()) for n, v in jaccard(paths["clean"], paths[k]).items()} for k in ("fgsm", "noise")},
    }


def departure(indices: dict[str, float]) -> int:
    """Number of the first layer below the threshold, from 1; one more than there are where none is."""
    return next((i for i, v in enumerate(indices.values(), 1) if v < DEPARTED), len(indices) + 1)


def report(cells: list[dict[str, Any]]) -> str:
    """Tables and verdicts."""
    names = list(cells[0]["open"])
    lines = ["| gated layer | open | Jaccard, FGSM | Jaccard, noise | noise - FGSM |", "|---|---|---|---|---|"]
    gaps = []
    for number, name in enumerate(names, 1):
        fgsm, noise = [c["fgsm"][name] for c in cells], [c["noise"][name] for c in cells]
        gaps.append(paired(noise, fgsm))
        values = (interval([c["open"][name] for c in cells]), interval(fgsm), interval(noise), gaps[-1])
        lines.append("| " + " | ".join([f"{number} (`{name}`)", *(shown(v) for v in values)]) + " |")
    ratio = interval([math.log(c["random"] / c["path"]) for c in cells])
    ratio = (math.exp(ratio[0]), math.exp(ratio[1]), math.exp(ratio[2]))
    earlier = paired([departure(c["noise"]) for c in cells], [departure(c["fgsm"]) for c in cells])
    bounds = [gap[1:] for gap in gaps]
    change = {k: shown(interval([c[k] for c in cells]), 4) for k in ("path", "soft gates", "random")}
    wrong = {k: shown(interval([c["wrong"][k] for c in cells])) for k in ("clean", "fgsm", "noise")}
    return "\n".join(
        [
            *lines,
            "",
            f"relative squared change of the logits: datapath {change['path']} (its gates before rounding"
            f" {change['soft gates']}), random channels {change['random']}; ratio {shown(ratio, 1)}",
            f"share wrong: clean {wrong['clean']}, FGSM {wrong['fgsm']}, noise {wrong['noise']}",
            f"layers by which FGSM departs earlier: {shown(earlier, 2)}\n",
            f"- 1 a fifth of random gates' change: {_verdict([ratio[1] - 5], [ratio[2] - 5])}",
            f"- 2 FGSM further from clean than noise in every layer: {_verdict(*zip(*bounds, strict=True))}",
            f"- 3 FGSM departs earlier: {_verdict([earlier[1]], [earlier[2]])}",
        ]
    )


def _verdict(lows: Sequence[float], highs: Sequence[float]) -> str:
    if all(low > 0 for low in lows):
        return "reproduced"
    return "not reproduced" if any(high < 0 for high in highs) else "inconclusive"


def plot(cells: list[dict[str, Any]], path: Path) -> None:
    """Fidelity, and Jaccard by layer, with a point for every seed."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), dpi=100, width_ratios=(1, 1.6), layout="constrained")
    for place, (key, name) in enumerate((("path", "datapath"), ("random", "random channels,\nsame number"))):
        values = [c[key] for c in cells]
        left.bar(place, np.mean(values), color=("tab:blue", "tab:gray")[place], label=name)
        left.plot([place] * len(values), values, "k.", markersize=5)
    left.set_xticks((0, 1), ("datapath", "random channels,\nsame number"))
    left.set_yscale("log")
    left.set_title("relative squared change of the logits")
    layers = range(1, len(cells[0]["open"]) + 1)
    for key, name, colour in (("noise", "random sign noise", "tab:gray"), ("fgsm", "FGSM", "tab:red")):
        indices = np.array([list(c[key].values()) for c in cells])
        right.plot(layers, indices.mean(0), "-o", color=colour, label=name)
        right.plot(np.tile(layers, len(cells)), indices.ravel(), ".", color=colour, alpha=0.5, markersize=4)
    right.axhline(DEPARTED, color="black", linewidth=0.7, linestyle=":")
    right.set_xticks(list(layers))
    right.set_xlabel("gated layer")
    right.set_ylim(0, 1)
    right.set_title(f"Jaccard index with the clean datapath, eps {EPS}")
    right.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def main(options: argparse.Namespace) -> None:
    """All seeds, then table, verdicts and plot."""
    settings = {"eps": EPS, "digits": DIGITS, "training": TRAINING, "budget": BUDGET, "steps": STEPS, "weight": WEIGHT}
    study = Study(options.out, settings)
    cells = [study.cell(f"seed{seed}", partial(cell, seed)) for seed in range(options.seeds)]
    caption = f"{len(cells)} seeds, {DIGITS} digits each; {machine()}; seconds {[c['seconds'] for c in cells]}\n"
    text = caption + "\n" + report(cells)
    print(text)
    (options.out / "table.md").write_text(text + "\n")
    plot(cells, options.out / PLOT)


if __name__ == "__main__":
    main(study_options(__doc__, "datapath"))
