"""Lazy training over the output's scale (Chizat, Oyallon, Bach 2019), and robustness (arXiv:2207.00411).

    python -m benchmarks.papers.lazy              # about 5 minutes of one core

f = alpha * (g(theta) - g(theta_0)) with g a ReLU network 784-256-256-10, loss |f - one-hot|^2 / alpha^2, plain SGD: a
large alpha reaches the same outputs by moving the weights less. 2,000 training and 1,000 test digits of MNIST, the same
passes for every alpha. Claims, fixed before the first run, over seeds:

 1. movement falls with alpha at every step of the ladder (a toy measurement had 1.53 -> .009 over its ladder);
 2. kernel change and linearisation error are smaller, and the kernel's cosine larger, at the largest alpha than at the
    smallest;
 3. the paper's direction, that lazy training costs robustness: FGSM accuracy at the largest alpha is below that at
    the smallest. Expected *not* to reproduce: on a toy set FGSM accuracy did not fall with laziness. The paper proves
    that lazy networks have adversarial examples; it does not prove that others have fewer.

One step of FGSM may overrate a network whose gradient turns quickly; PGD with 20 steps from a random start, at both
ends of the ladder, shows whether it did. It was added when the first cells were known, and decides no claim.
"""

from __future__ import annotations

import argparse
import copy
import math
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.papers.study import Study, interval, machine, mnist, paired, shown, study_options, verdict
from techniques.attack import Ball, attacked_error
from techniques.lazy import laziness
from techniques.objectives import Classification
from techniques.task import Batch, Domain, Tensors

ALPHAS = (1.0, 4.0, 16.0, 64.0, 256.0)
TRAINING, TEST, PROBES, BATCH, STEPS, RATE, EPS = 2000, 1000, 60, 100, 3000, 0.2, 0.1
MEASURES = ("movement", "kernel_change", "kernel_cosine", "linearisation_error")
PGD = Ball(EPS, steps=20, random_start=True)
PLOT = "technique_lazy.png"


class Centred(nn.Module):
    """alpha * (g(x) - g_0(x)), g_0 the network as it began; digits [batch, 784] in 0..1 are scaled to norm about 1."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.g = nn.Sequential(
            nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10, bias=False)
        )
        for module in self.g:
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        self._first = [copy.deepcopy(self.g).requires_grad_(False)]  # in a list: no part of the network's weights

    def forward(self, x: Tensor) -> Tensor:
        """Logits [batch, 10]."""
        change: Tensor = self.g(x / 10) - self._first[0](x / 10)
        return self.alpha * change


@dataclass(frozen=True)
class Squared(Classification):
    """Squared distance to the one-hot label."""

    def loss(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Of every example."""
        return (outputs[0] - nn.functional.one_hot(targets[0], outputs[0].shape[1])).square().sum(1)


def digits(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(train [2000, 784], labels, test [1000, 784], labels), another choice for every seed."""
    x, y, x_test, y_test = mnist()
    generator = torch.Generator().manual_seed(seed)
    train, test = (torch.randperm(len(v), generator=generator)[:n] for v, n in ((x, TRAINING), (x_test, TEST)))
    return x[train].flatten(1), y[train], x_test[test].flatten(1), y_test[test]


def cell(alpha: float, seed: int) -> dict[str, Any]:
    """Train at one scale; diagnostics and accuracies."""
    x, y, x_test, y_test = digits(seed)
    torch.manual_seed(seed)
    model, objective = Centred(alpha), Squared()
    start = {k: p.detach().clone() for k, p in model.named_parameters()}
    optimiser = torch.optim.SGD(model.parameters(), RATE / alpha**2)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        rows = torch.randint(len(x), (BATCH,), generator=generator)
        optimiser.zero_grad(set_to_none=True)
        loss = objective.loss((model(x[rows]),), (y[rows],)).mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stub
        optimiser.step()
    test = [Batch((x_test,), (y_test,))]
    with torch.no_grad():
        final = float(objective.loss((model(x),), (y,)).mean())
        clean = 1 - float(objective.error((model(x_test),), (y_test,)).mean())
    attacked = 1 - attacked_error(model, objective, test, (Domain(),), Ball(EPS))
    strong = {}
    if alpha in (ALPHAS[0], ALPHAS[-1]):
        strong["pgd"] = 1 - attacked_error(model, objective, test, (Domain(),), PGD, seed=seed)
    found = laziness(model, objective, start, (x_test[:PROBES],), outputs=10)
    return {**asdict(found), "training loss": final, "clean": clean, "fgsm": attacked, **strong}


def report(cells: dict[float, list[dict[str, Any]]]) -> str:
    """Table and verdicts."""
    columns = (*MEASURES, "training loss", "clean", "fgsm")
    names = ("movement", "kernel change", "kernel cosine", "linearisation error", "training loss", "clean", "FGSM")
    lines = ["| alpha | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for alpha, found in cells.items():
        lines.append("| " + " | ".join([f"{alpha:g}", *(shown(interval(_of(found, c)), 4) for c in columns)]) + " |")
    least, most = cells[ALPHAS[0]], cells[ALPHAS[-1]]
    falls = [_log_ratio(cells[a], cells[b], "movement") for a, b in pairwise(ALPHAS)]
    ends = [_log_ratio(least, most, m) for m in ("kernel_change", "linearisation_error")]
    ends.append(paired(_of(most, "kernel_cosine"), _of(least, "kernel_cosine")))
    robust = paired(_of(most, "fgsm"), _of(least, "fgsm"))
    clean = paired(_of(most, "clean"), _of(least, "clean"))
    pgd = [shown(interval(_of(found, "pgd"))) for found in (least, most)]
    strong = paired(_of(most, "pgd"), _of(least, "pgd"))
    third = verdict(robust)
    return "\n".join(
        [
            *lines,
            "",
            f"largest minus smallest alpha: FGSM accuracy {shown(robust)}, clean accuracy {shown(clean)}",
            f"PGD-20 accuracy: {pgd[0]} at the smallest alpha, {pgd[1]} at the largest, difference {shown(strong)}\n",
            f"- 1 movement falls with alpha: {_verdict(falls)}",
            f"- 2 kernel and linearisation follow: {_verdict(ends)}",
            f"- 3 lazy training costs FGSM accuracy: {third}",
        ]
    )


def _of(cells: list[dict[str, Any]], key: str) -> list[float]:
    return [c[key] for c in cells]


def _log_ratio(a: list[dict[str, Any]], b: list[dict[str, Any]], key: str) -> tuple[float, float, float]:
    return paired([math.log(c[key]) for c in a], [math.log(c[key]) for c in b])


def _verdict(intervals: list[tuple[float, float, float]]) -> str:
    if all(low > 0 for _, low, _ in intervals):
        return "reproduced"
    return "not reproduced" if any(high < 0 for *_, high in intervals) else "inconclusive"


def plot(cells: dict[float, list[dict[str, Any]]], path: Path) -> None:
    """Diagnostics and accuracies over alpha."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), dpi=100, layout="constrained")
    shown_left = (("movement", "weight movement"), ("kernel_change", "kernel change"))
    for key, name in (*shown_left, ("linearisation_error", "linearisation error")):
        left.plot(ALPHAS, [np.mean(_of(cells[a], key)) for a in ALPHAS], "-o", label=name)
    left.set_yscale("log")
    left.set_title("laziness")
    for key, name, colour in (("clean", "clean", "tab:gray"), ("fgsm", f"FGSM, eps {EPS}", "tab:red")):
        right.plot(ALPHAS, [np.mean(_of(cells[a], key)) for a in ALPHAS], "-o", color=colour, label=name)
        for alpha in ALPHAS:
            values = _of(cells[alpha], key)
            right.plot([alpha] * len(values), values, ".", color=colour, alpha=0.5)
    right.set_ylim(0, 1)
    right.set_title("accuracy on test digits")
    for axis in (left, right):
        axis.set_xscale("log")
        axis.set_xlabel("alpha: scale of the output")
        axis.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def main(options: argparse.Namespace) -> None:
    """All cells, then table, verdicts and plot."""
    settings = {"training": TRAINING, "test": TEST, "batch": BATCH, "steps": STEPS, "rate": RATE, "eps": EPS}
    study = Study(options.out, settings)
    cells = {
        alpha: [study.cell(f"alpha{alpha:g}-seed{seed}", partial(cell, alpha, seed)) for seed in range(options.seeds)]
        for alpha in ALPHAS
    }
    seconds = sum(c["seconds"] for found in cells.values() for c in found)
    caption = (
        f"{options.seeds} seeds, {STEPS} steps of {BATCH} = {2 * STEPS} passes each; {machine()}; {seconds:.0f} s\n"
    )
    text = caption + "\n" + report(cells)
    print(text)
    (options.out / "table.md").write_text(text + "\n")
    plot(cells, options.out / PLOT)


if __name__ == "__main__":
    main(study_options(__doc__, "lazy"))
