"""A rotation head beside adversarial training (arXiv:1906.12340): does it make a network more robust to PGD-20?

    nice -n 5 python -m benchmarks.papers.rotation     # under 10 minutes of one core; goes on where it stopped

MNIST pooled to 14x14: 1000 labelled pictures drawn anew for every seed, 1000 test pictures; a small convolutional
network; eps 0.15 of the raw range; one budget of forward plus backward passes for all. Arms: PGD training; the same
with a rotation head (weight 0.5, quarter turns) on the attacked pictures; the same with the turned pictures attacked
through the head's loss as well, with the same eps.

Hypotheses, fixed before the first run of any arm (the paper: CIFAR-10, PGD-20 accuracy 44.8 -> 50.4 %, as remembered):

 1. with the head the PGD-20 error is lower than without;
 2. so it is with the head attacked, too.

Each is decided by the paired 95 % interval over seeds: reproduced if it excludes zero on the expected side, not
reproduced if it excludes zero on the other, inconclusive otherwise. The head costs passes, so its arms take fewer
steps. Digits are a poor stand-in for photographs: 0, 1 and 8 look alike upside down, and 6 becomes 9.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.papers.study import (
    Study,
    column,
    difference,
    drawing,
    interval,
    machine,
    mnist,
    shown,
    study_options,
    verdict,
)
from techniques.attack import Ball, attacked_error
from techniques.objectives import Classification
from techniques.pgd import PGD
from techniques.rotation import Rotation
from techniques.task import Domain, Task, TensorExamples
from techniques.technique import Technique
from techniques.training import Loop, Settings

LABELLED, TEST = 1000, 1000
EPS = 0.15
BUDGET = 3_600
ARMS = ("pgd", "pgd + head", "pgd + head attacked")
PLOT = "technique_rotation.png"


def main() -> None:
    options = study_options(__doc__, "rotation")
    study = Study(options.out, {"eps": EPS, "budget": BUDGET, "test": TEST, "version": 1})
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for seed in range(options.seeds):
        for number, arm in enumerate(ARMS):
            found[arm].append(study.cell(f"arm{number}_{seed}", lambda arm=arm, seed=seed: one_run(arm, seed)))
    text = f"{table(found)}\n\n{verdicts(found)}\n\n{options.seeds} seeds, {BUDGET} passes; {machine()}.\n"
    (options.out / "table.md").write_text(text)
    plot(found, options.out / PLOT)
    print(text)


def technique(arm: str) -> list[Technique]:
    """What an arm trains with; the head comes after the attack, and sees attacked pictures."""
    attack = PGD(eps=EPS)
    if arm == "pgd":
        return [attack]
    return [attack, Rotation(eps=EPS if arm == "pgd + head attacked" else 0.0)]


def one_run(arm: str, seed: int) -> dict[str, Any]:
    """Errors of one trained network."""
    task = digits(seed)
    loop = Loop(task, technique(arm), Settings(budget_passes=BUDGET, seed=seed))
    trained = loop.run()
    ball = Ball(EPS, steps=20, random_start=True)
    with loop.passes.uncounted():
        batches = loop.batches(task.test, 250)
        robust = attacked_error(trained.model, task.objective, batches, task.domains, ball, seed=seed)
    return {
        "clean": loop.mean_error(trained.model, task.test),
        "pgd": robust,
        "steps": trained.steps,
        "passes": trained.passes.total,
        "train_seconds": trained.seconds,
    }


def digits(seed: int) -> Task:
    """Labelled pictures and test pictures, [1, 14, 14] in 0..1."""
    images, labels, test_images, test_labels = mnist()
    g = torch.Generator().manual_seed(seed)
    own = torch.randperm(len(images), generator=g)[:LABELLED]
    others = torch.randperm(len(test_images), generator=g)[:TEST]
    pool = nn.AvgPool2d(2)
    train = TensorExamples((pool(images[own][:, None]),), (labels[own],))
    test = TensorExamples((pool(test_images[others][:, None]),), (test_labels[others],))
    return Task(network, Classification(), (Domain(),), train, train, test, unit="wrong", feature_layer="5")


def network() -> nn.Module:
    """Three convolutions, whose last output is what the head sees pooled, and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 48, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48 * 16, 10),
    )


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: means with intervals over seeds."""
    lines = [
        "| arm | clean error % | PGD-20 error % | PGD-20 minus pgd | steps | passes | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, cells in found.items():
        clean, robust = (interval([100 * v for v in column(cells, k)]) for k in ("clean", "pgd"))
        gap = "" if arm == "pgd" else shown(difference(found, arm, "pgd", "pgd"), 1)
        steps, passes, seconds = (sum(column(cells, k)) / len(cells) for k in ("steps", "passes", "train_seconds"))
        lines.append(
            f"| {arm} | {shown(clean, 1)} | {shown(robust, 1)} | {gap} | {steps:.0f} | {passes:.0f} | {seconds:.0f} |"
        )
    return "\n".join(lines)


def verdicts(found: dict[str, list[dict[str, Any]]]) -> str:
    """Both hypotheses with their intervals."""
    lines = []
    for number, arm in enumerate(("pgd + head", "pgd + head attacked"), 1):
        gap = difference(found, arm, "pgd", "pgd")
        lines.append(f"- {number}. {arm} below pgd, PGD-20: {shown(gap, 1)} points: **{verdict(gap)}**")
    return "\n".join(lines)


def plot(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Differences to PGD training alone, one dot a seed, with the interval."""
    with drawing(path) as axes:
        for offset, (key, colour) in enumerate((("clean", "#4c72b0"), ("pgd", "#c44e52"))):
            for place, arm in enumerate(ARMS[1:]):
                pairs = zip(column(found[arm], key), column(found["pgd"], key), strict=True)
                gaps, x = [100 * (a - b) for a, b in pairs], place + 0.2 * offset - 0.1
                mean, low, high = interval(gaps)
                axes.errorbar(
                    [x], [mean], [[mean - low], [high - mean]], fmt="_", color=colour, capsize=6, markersize=14
                )
                axes.plot([x] * len(gaps), gaps, ".", color=colour, label=f"{key} error" if place == 0 else None)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(ARMS) - 1), ARMS[1:])
        axes.set_ylabel("error minus that of PGD training, points")
        axes.set_title(
            f"Rotation head beside PGD training; {LABELLED} digits, eps {EPS:g} (below zero: the head helps)"
        )
        axes.legend()


if __name__ == "__main__":
    main()
