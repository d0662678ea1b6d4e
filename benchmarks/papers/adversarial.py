"""Adversarial trainings at equal budgets, and catastrophic overfitting: MNIST, a small convolutional network.

    python -m benchmarks.papers.adversarial   # about 8 minutes of one core; goes on where it stopped

Claims, fixed before the first run. Errors are shares of wrong test pictures; PGD-20 has three random starts, and the
worst of them and of the clean picture counts.

 1. Equal budget of passes, eps = 0.2 of the raw range 0..1 (the usual 0.3 needs longer runs): PGD-AT is at least as
    robust as FGSM-AT under PGD-20 (Madry et al., 1706.06083; FGSM-AT as in 1412.6572, half of the loss clean).
    Expected: PGD-20 error of PGD-AT minus that of FGSM-AT is below +0.01 over the whole interval.
 2. Same runs: FGSM-AT, PGD-AT, FreeAT (1904.12843) and YOPO (1905.00877) have less PGD-20 error than standard training.
 3. Catastrophic overfitting (Wong, Rice, Kolter, 2001.03994), eps = 0.3, attacked pictures only: FGSM-AT from a zero
    start ends with FGSM error far below PGD-20 error (expected: gap above 0.3).
 4. Same runs: PGD-AT has no such gap (expected: below 0.1).
 5. Same runs: a random start with steps of 1.25 * eps makes the gap of FGSM-AT smaller.

A claim is reproduced if its whole interval (Student's t over seeds, 95 %, paired where two trainings are compared) lies
on the expected side, not reproduced if it lies on the other side, inconclusive otherwise.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchmarks.papers.study import Study, interval, machine, mnist, paired, shown, study_options
from techniques.attack import Ball, attacked_error
from techniques.objectives import Classification
from techniques.registry import build
from techniques.task import Domain, Task, TensorExamples
from techniques.training import Loop, Settings

EPS, EPS_OVERFIT = 0.2, 0.3
BUDGET, BUDGET_OVERFIT = 3600, 3600
BATCH, RATE = 64, 2e-3
TESTED, WATCHED, POINTS = 600, 200, 12
RESTARTS = 3
PLOT = "technique_attacks.png"

Options = dict[str, Any]
TRAININGS: dict[str, tuple[str, Options] | None] = {
    "standard": None,
    "FGSM-AT": ("fgsm", {"eps": EPS}),
    "PGD-AT": ("pgd", {"eps": EPS}),
    "FreeAT": ("freeat", {"eps": EPS}),
    "YOPO": ("yopo", {"eps": EPS}),
}
OVERFITTING: dict[str, tuple[str, Options] | None] = {
    "FGSM-AT, zero start": ("fgsm", {"eps": EPS_OVERFIT, "clean_share": 0.0}),
    "FGSM-AT, random start": ("fgsm", {"eps": EPS_OVERFIT, "clean_share": 0.0, "random_start": True}),
    "PGD-AT": ("pgd", {"eps": EPS_OVERFIT}),
}


def network() -> nn.Module:
    """Two strided convolutions and two linear layers; no BatchNorm."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, 100), nn.ReLU(), nn.Linear(100, 10)),
    )


def mnist_task(data: tuple[Tensor, ...]) -> Task:
    """All 60,000 training pictures; the first 600 test pictures."""
    x, y, x_test, y_test = data
    train = TensorExamples((x[:, None],), (y,))
    test = TensorExamples((x_test[:TESTED, None],), (y_test[:TESTED],))
    return Task(network, Classification(), (Domain(0, 1),), train, selection=test, test=test, unit="wrong")


def errors(loop: Loop, eps: float, count: int, *, steps: int, restarts: int) -> dict[str, float]:
    """Clean, FGSM and PGD error on the first `count` test pictures; costs no budget."""
    balls = {
        "FGSM": (Ball(eps), 1),
        "PGD": (Ball(eps, steps=steps, random_start=True), restarts),
    }
    found = {"clean": loop.mean_error(loop.model, loop.task.test)}
    with loop.passes.uncounted():
        for name, (ball, times) in balls.items():
            batches = loop.batches(loop.task.test, 100, count)
            found[name] = attacked_error(loop.model, loop.objective, batches, loop.task.domains, ball, restarts=times)
    return found


def cell(
    chosen: tuple[str, Options] | None, seed: int, budget: int, eps: float, watch: bool, data: tuple[Tensor, ...]
) -> dict[str, Any]:
    """One training and its errors; with `watch` also its errors along the way."""
    settings = Settings(budget_passes=budget, batch=BATCH, rate=RATE, seed=seed)
    techniques = [] if chosen is None else [build(chosen[0], **chosen[1])]
    curve: list[dict[str, float]] = []

    def look(loop: Loop, _: float) -> None:
        if loop.progress >= len(curve) / POINTS:
            curve.append({"passes": loop.passes.total, **errors(loop, eps, WATCHED, steps=10, restarts=1)})

    loop = Loop(mnist_task(data), techniques, settings, tell=look if watch else None)
    result = loop.run()
    return {
        **errors(loop, eps, TESTED, steps=20, restarts=RESTARTS),
        "steps": result.steps,
        "passes": result.passes.total,
        "training_s": None if watch else round(result.seconds, 1),
        "curve": curve,
    }


def study(out: Path, seeds: int, data: tuple[Tensor, ...], overfit: bool) -> dict[str, list[dict[str, Any]]]:
    """Training -> its cells, one for each seed."""
    chosen, budget, eps = (OVERFITTING, BUDGET_OVERFIT, EPS_OVERFIT) if overfit else (TRAININGS, BUDGET, EPS)
    settings = {"budget": budget, "eps": eps, "batch": BATCH, "rate": RATE, "tested": TESTED, "points": POINTS}
    kept = Study(out / ("overfitting" if overfit else "budget"), settings)
    return {
        name: [
            kept.cell(f"{name} seed {seed}", partial(cell, technique, seed, budget, eps, overfit, data))
            for seed in range(seeds)
        ]
        for name, technique in chosen.items()
    }


def table(cells: Mapping[str, Sequence[Mapping[str, Any]]], *, gap: bool = False) -> str:
    """Trainings against errors, mean and interval over seeds."""
    last = "PGD-20 minus FGSM" if gap else "training, s"
    lines = [f"| training | steps | passes | clean | FGSM | PGD-20 | {last} |", "|---" * 7 + "|"]
    for name, found in cells.items():
        kinds = [shown(interval([c[k] for c in found])) for k in ("clean", "FGSM", "PGD")]
        end = shown(interval(gaps(found))) if gap else f"{interval([c['training_s'] for c in found])[0]:.0f}"
        lines.append(f"| {name} | {found[0]['steps']} | {found[0]['passes']} | {' | '.join(kinds)} | {end} |")
    return "\n".join(lines)


def gaps(cells: Sequence[Mapping[str, Any]]) -> list[float]:
    """What a single step overlooks: PGD-20 error minus FGSM error."""
    return [c["PGD"] - c["FGSM"] for c in cells]


def verdicts(budget: Mapping[str, list[dict[str, Any]]], overfit: Mapping[str, list[dict[str, Any]]]) -> str:
    """Every claim of the first lines, by its interval."""
    pgd = {name: [c["PGD"] for c in found] for name, found in budget.items()}
    gap = {name: gaps(found) for name, found in overfit.items()}
    claims = [("1 PGD-AT minus FGSM-AT, PGD-20 error below +0.01", paired(pgd["PGD-AT"], pgd["FGSM-AT"]), 0.01)]
    for name in list(TRAININGS)[1:]:
        claims.append((f"2 {name} minus standard, PGD-20 error below 0", paired(pgd[name], pgd["standard"]), 0.0))
    zero, random, steps = (gap[name] for name in OVERFITTING)
    claims += [
        ("3 0.3 minus the gap of FGSM-AT from zero, below 0", interval([0.3 - g for g in zero]), 0.0),
        ("4 gap of PGD-AT below 0.1", interval(steps), 0.1),
        ("5 gap of FGSM-AT, random start minus zero start, below 0", paired(random, zero), 0.0),
    ]
    return "\n".join(f"- {name}: {shown(found)}: {_verdict(found, limit)}" for name, found, limit in claims)


def _verdict(found: tuple[float, float, float], limit: float) -> str:
    if found[2] < limit:
        return "reproduced"
    return "not reproduced" if found[1] > limit else "inconclusive"


def plot(budget: Mapping[str, Any], overfit: Mapping[str, Any], path: Path) -> None:
    """Left: errors at one budget. Right: FGSM and PGD error along the trainings that may overfit to FGSM."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.4), dpi=100, layout="constrained")
    for offset, (kind, colour) in enumerate((("clean", "0.75"), ("FGSM", "tab:orange"), ("PGD", "tab:red"))):
        found = [interval([c[kind] for c in cells]) for cells in budget.values()]
        left.bar(
            [i + 0.27 * (offset - 1) for i in range(len(found))],
            [f[0] for f in found],
            0.25,
            yerr=[f[2] - f[0] for f in found],
            color=colour,
            label="PGD-20" if kind == "PGD" else kind,
        )
    left.set_xticks(range(len(budget)), list(budget), rotation=20)
    left.set(title=f"error after {BUDGET} passes, eps {EPS}", ylim=(0, 1))
    for (name, cells), colour in zip(overfit.items(), ("tab:red", "tab:blue", "tab:green"), strict=True):
        passes = [p["passes"] for p in cells[0]["curve"]]
        for kind, style in (("PGD", "-"), ("FGSM", ":")):
            mean = [interval([c["curve"][i][kind] for c in cells])[0] for i in range(len(passes))]
            label = f"{name}: {'PGD-10' if kind == 'PGD' else kind}"
            right.plot(passes, mean, style, color=colour, label=label)
    right.set(title=f"error while training, eps {EPS_OVERFIT}", xlabel="passes", ylim=(0, 1))
    for axis in (left, right):
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def main(options: argparse.Namespace) -> None:
    """All cells, then tables, verdicts and plot."""
    data = mnist()
    budget, overfit = (study(options.out, options.seeds, data, overfit=o) for o in (False, True))
    caption = f"MNIST, convolutional network, batches of {BATCH}, {options.seeds} seeds; {machine()}"
    parts = [
        caption,
        f"Equal budget of {BUDGET} passes, eps {EPS}",
        table(budget),
        f"Attacked pictures only, {BUDGET_OVERFIT} passes, eps {EPS_OVERFIT}",
        table(overfit, gap=True),
        verdicts(budget, overfit),
    ]
    text = "\n\n".join(parts)
    print(text)
    (options.out / "table.md").write_text(text + "\n")
    plot(budget, overfit, options.out / PLOT)


if __name__ == "__main__":
    main(study_options(__doc__, "adversarial"))
