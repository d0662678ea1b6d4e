"""Unlabelled pictures for robustness (UAT, arXiv:1905.13725): 150 labels, 1200 pictures without, PGD-20.

    nice -n 5 python -m benchmarks.papers.uat     # under 10 minutes of one core; goes on where it stopped

MNIST pooled to 8x8; 150 labelled and 1200 other pictures of the training set, drawn anew for every seed; 1000 test
pictures. A small convolutional network, one budget of forward plus backward passes for all. Arms: standard training;
PGD training on the labelled pictures; uat-ot with its ramp; uat-ot with full lambda from the first step; uat-ft; uat++;
each with its defaults but for eps.

Hypotheses, fixed before the first run of any arm but the standard one:

 1. uat-ot with its ramp has a lower PGD-20 error than standard training (expected 59 % -> 4.9 % in direction);
 2. so have uat-ft (-> 7.9 %) and 3. uat++;
 4. without the ramp uat-ot collapses to a constant: its clean error is above that with the ramp, and the technique
    reports the collapse;
 5. unlabelled pictures do what labels alone do not: uat-ot with its ramp has a lower PGD-20 error than PGD training on
    the 150.

Each is decided by the paired 95 % interval over seeds: reproduced if it excludes zero on the expected side, not
reproduced if it excludes zero on the other, inconclusive otherwise; 4 also needs the report of every seed. The numbers
expected come from another data set (scikit-learn's digits), so only directions count. eps was chosen beforehand on the
standard arm alone, on seed 100 that is not used otherwise: where its PGD-20 error came nearest to 59 %.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

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
from techniques.task import Domain, Task, TensorExamples
from techniques.technique import Technique
from techniques.training import Loop, Settings
from techniques.uat import UATFT, UATOT, UATPlusPlus

LABELLED, UNLABELLED, TEST = 150, 1200, 1000
EPS = 8 / 255
BUDGET = 6_000
ARMS = ("standard", "pgd", "uat-ot", "uat-ot, no ramp", "uat-ft", "uat++")
PLOT = "technique_uat.png"


def main() -> None:
    options = study_options(__doc__, "uat")
    study = Study(options.out, {"eps": EPS, "budget": BUDGET, "test": TEST, "version": 1})
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for seed in range(options.seeds):
        for arm in ARMS:
            name = f"{arm.replace(', ', '_').replace(' ', '-')}_{seed}"
            found[arm].append(study.cell(name, lambda arm=arm, seed=seed: one_run(arm, seed)))
    text = f"{table(found)}\n\n{verdicts(found)}\n\n{options.seeds} seeds, {BUDGET} passes each; {machine()}.\n"
    (options.out / "table.md").write_text(text)
    plot(found, options.out / PLOT)
    print(text)


def technique(arm: str) -> list[Technique]:
    """What an arm trains with."""
    return {
        "standard": lambda: [],
        "pgd": lambda: [PGD(eps=EPS)],
        "uat-ot": lambda: [UATOT(eps=EPS)],
        "uat-ot, no ramp": lambda: [UATOT(eps=EPS, ramp_start=0.0, ramp_stop=0.0)],
        "uat-ft": lambda: [UATFT(eps=EPS)],
        "uat++": lambda: [UATPlusPlus(eps=EPS)],
    }[arm]()


def one_run(arm: str, seed: int, eps: float = EPS) -> dict[str, Any]:
    """Errors of one trained network, and what the technique reported."""
    task = digits(seed)
    loop = Loop(task, technique(arm), Settings(budget_passes=BUDGET, seed=seed))
    trained = loop.run()
    clean = loop.mean_error(trained.model, task.test)
    ball = Ball(eps, steps=20, random_start=True)
    with loop.passes.uncounted():
        batches = loop.batches(task.test, 250)
        robust = attacked_error(trained.model, task.objective, batches, task.domains, ball, seed=seed)
    report = next(iter(trained.reports.values()), {})
    return {
        "clean": clean,
        "pgd": robust,
        "steps": trained.steps,
        "train_seconds": trained.seconds,
        "collapsed": report.get("collapsed"),
        "told_apart": report.get("told_apart"),
    }


def digits(seed: int) -> Task:
    """Few labelled pictures, more without labels, and test pictures; [1, 8, 8] in 0..1."""
    images, labels, test_images, test_labels = mnist()
    g = torch.Generator().manual_seed(seed)
    rows, others = torch.randperm(len(images), generator=g), torch.randperm(len(test_images), generator=g)[:TEST]
    own, more = rows[:LABELLED], rows[LABELLED : LABELLED + UNLABELLED]
    test = TensorExamples((pooled(test_images[others]),), (test_labels[others],))
    train = TensorExamples((pooled(images[own]),), (labels[own],))
    unlabelled = TensorExamples((pooled(images[more]),))
    return Task(network, Classification(), (Domain(),), train, train, test, unlabelled, unit="wrong")


def pooled(images: Tensor) -> Tensor:
    """[count, 1, 8, 8] of [count, 28, 28]."""
    return nn.functional.adaptive_avg_pool2d(images[:, None], 8)


def network() -> nn.Module:
    """Two convolutions and a hidden layer, 26 thousand parameters, no BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 16, 40),
        nn.ReLU(),
        nn.Linear(40, 10),
    )


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: means with intervals over seeds."""
    lines = [
        "| arm | clean error % | PGD-20 error % | PGD-20 minus standard | collapsed | steps | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, cells in found.items():
        clean, robust = (interval([100 * v for v in column(cells, k)]) for k in ("clean", "pgd"))
        gain = difference(found, arm, "standard", "pgd")
        flags = [c["collapsed"] for c in cells if c["collapsed"] is not None]
        lines.append(
            f"| {arm} | {shown(clean, 1)} | {shown(robust, 1)} | {'' if arm == 'standard' else shown(gain, 1)} "
            f"| {f'{sum(flags)} of {len(flags)}' if flags else ''} | {sum(column(cells, 'steps')) / len(cells):.0f} "
            f"| {sum(column(cells, 'train_seconds')) / len(cells):.0f} |"
        )
    return "\n".join(lines)


def verdicts(found: dict[str, list[dict[str, Any]]]) -> str:
    """Every hypothesis with its interval."""
    lines = []
    claims = [
        ("1. uat-ot below standard, PGD-20", "uat-ot", "standard", "pgd", True),
        ("2. uat-ft below standard, PGD-20", "uat-ft", "standard", "pgd", True),
        ("3. uat++ below standard, PGD-20", "uat++", "standard", "pgd", True),
        (
            "4. without the ramp above with it, clean; all seeds reported",
            "uat-ot",
            "uat-ot, no ramp",
            "clean",
            all(c["collapsed"] for c in found["uat-ot, no ramp"]),
        ),
        ("5. uat-ot below PGD training on the labelled, PGD-20", "uat-ot", "pgd", "pgd", True),
    ]
    for claim, arm, control, key, also in claims:
        gap = difference(found, arm, control, key)
        found_out = verdict(gap)
        if found_out == "reproduced" and not also:
            found_out = "not reproduced: the error is there, but no collapse was reported for some seed"
        lines.append(f"- {claim}: {shown(gap, 1)} points ({arm} minus {control}): **{found_out}**")
    return "\n".join(lines)


def plot(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Bars of both errors, a dot for every seed."""
    with drawing(path) as axes:
        for offset, (key, label, colour) in enumerate((("clean", "clean", "#8fb3d9"), ("pgd", "PGD-20", "#c44e52"))):
            for place, cells in enumerate(found.values()):
                values = [100 * v for v in column(cells, key)]
                x = place + 0.38 * offset - 0.19
                axes.bar(x, sum(values) / len(values), 0.36, color=colour, label=label if place == 0 else None)
                axes.plot([x] * len(values), values, "k.", markersize=4)
        axes.set_xticks(range(len(found)), list(found))
        axes.set_ylabel("test error, %")
        axes.set_title(
            f"{LABELLED} labelled, {UNLABELLED} unlabelled digits; eps {EPS:.3f} of raw range; equal budgets"
        )
        axes.legend()


if __name__ == "__main__":
    main()
