"""SWA, EMA and the detection recipe against training of the same length: do averages of weights pay for their passes?

Claims: Izmailov et al. 2018 (1803.05407) report SWA after 1.5 budgets against SGD after one; Zhang et al. 2020
(2012.12645) add 12 epochs of cosine cycles to a finished training and average their ends. Both also train longer than
what they are compared with. So each is compared twice, with hypotheses fixed before the first run:

    more passes     swa, swa-detection at 1.5 budgets      better than  cosine at 1 budget           (the papers' own)
    equal passes    swa, swa-detection, ema, ema-constant  better than  cosine at 1.5 budgets        (one long cosine)
                    swa, swa-detection                     better than  cosine of 1, restarted for .5

The direction expected is a smaller test error in all of them. Tasks: digits (1000 of MNIST, a fifth of their labels
random; SGD as in the paper: .05, averages at .01), the same digits with true labels (added when the first run had
shown that on wrong labels longer training is worse by itself), and lines (synthetic pictures of two lines, labels with
noise, some lines missing; AdamW). Passes are forward plus backward passes of one batch; the one BatchNorm pass over 32
batches that an average needs is not among them, its time is in the seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks.papers.study import Study, interval, machine, mnist, paired, shown, study_options
from techniques.ema import EMA
from techniques.objectives import Classification, Polylines
from techniques.swa import SWA
from techniques.swa_detection import SWADetection
from techniques.task import Batch, Domain, Task, TensorExamples
from techniques.technique import Technique
from techniques.training import Loop, Settings

BUDGET, LONGER = 400, 600
EXAMPLES, BATCH, LABEL_NOISE = 1000, 50, 0.2
STATIONS = 5
PLOT = "technique_averages.png"


@dataclass
class Restart(Technique):
    """The schedule over the first share of the budget, and again over the rest: the control of averages."""

    name: ClassVar[str] = "restart"
    share: float = 2 / 3

    def before_step(self, loop: Loop, batch: Batch) -> Batch:
        """The rate."""
        done = loop.progress
        within = done / self.share if done < self.share else (done - self.share) / (1 - self.share)
        loop.set_rate(loop.scheduled_rate(within))
        return batch


Make = Callable[[], list[Technique]]
CONDITIONS: dict[str, tuple[int, str, Make]] = {
    "cosine, 1 budget": (BUDGET, "cosine", list),
    "cosine": (LONGER, "cosine", list),
    "restart": (LONGER, "cosine", lambda: [Restart()]),
    "swa": (LONGER, "cosine", lambda: [SWA(after=0.5, rate=0.2, every=10)]),
    "swa-detection": (LONGER, "cosine", lambda: [SWADetection()]),
    "ema": (LONGER, "cosine", lambda: [EMA()]),
    "ema-constant": (LONGER, "constant", lambda: [EMA()]),
}
CLAIMS = [
    *[("more passes", a, "cosine, 1 budget") for a in ("swa", "swa-detection")],
    *[("equal passes", a, "cosine") for a in ("swa", "swa-detection", "ema", "ema-constant")],
    *[("equal passes", a, "restart") for a in ("swa", "swa-detection")],
]


def convolutions(outputs: int, size: int) -> nn.Sequential:
    """Two strided convolutions with BatchNorm and a linear layer."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(16 * size, outputs)),
    )


def digits(seed: int, label_noise: float = LABEL_NOISE) -> Task:
    """A subset of MNIST of which some labels are drawn anew; half of the test set, with true labels."""
    x, y, x_test, y_test = _mnist()
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(x), generator=generator)[:EXAMPLES]
    wrong = torch.rand(EXAMPLES, generator=generator) < label_noise
    labels = torch.where(wrong, torch.randint(10, (EXAMPLES,), generator=generator), y[rows])
    train, test = TensorExamples((x[rows, None],), (labels,)), TensorExamples((x_test[::2, None],), (y_test[::2],))
    return Task(partial(convolutions, 10, 49), Classification(), (Domain(),), train, test, test, unit="wrong")


_mnist = cache(mnist)


class LinesNetwork(nn.Module):
    """(y [batch, 2, station], presence logits [batch, 2]) of a picture [batch, 1, 16, 24]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = convolutions(2 * STATIONS + 2, 4 * 6)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Both."""
        out = self.body(picture)
        return out[:, :-2].unflatten(1, (2, STATIONS)), out[:, -2:]


def line_pictures(count: int, generator: torch.Generator, label_noise_m: float) -> TensorExamples:
    """Two bright lines across 16 rows in clutter, each missing in one of four; y in -1..1 of the picture's width."""
    start = torch.rand(count, 2, generator=generator) * 0.8 + torch.tensor([-0.9, 0.1])
    slope = (torch.rand(count, 2, generator=generator) - 0.5) * 0.8
    there = torch.rand(count, 2, generator=generator) > 0.25
    rows, columns = torch.linspace(0, 1, 16), torch.linspace(-1, 1, 24)
    at = start[..., None] + slope[..., None] * rows
    ridges = torch.exp(-(((columns - at[..., None]) / 0.08) ** 2)) * there[..., None, None]
    picture = ridges.sum(1, keepdim=True) + 0.7 * torch.randn(count, 1, 16, 24, generator=generator)
    y = start[..., None] + slope[..., None] * torch.linspace(0, 1, STATIONS)
    y = y + label_noise_m * torch.randn(y.shape, generator=generator)
    return TensorExamples((picture,), (torch.where(there[..., None], y, torch.nan),))


def lines(seed: int) -> Task:
    """Pictures of lines; training labels with noise, test labels without."""
    generator = torch.Generator().manual_seed(seed)
    train, test = (line_pictures(n, generator, s) for n, s in ((EXAMPLES, 0.1), (3000, 0.0)))
    return Task(LinesNetwork, Polylines(), (Domain(-5, 5),), train, test, test, unit="of half a width")


TASKS: dict[str, tuple[Callable[[int], Task], dict[str, Any]]] = {
    "digits": (digits, {"optimiser": "sgd", "rate": 0.05, "weight_decay": 5e-4}),
    "true-digits": (partial(digits, label_noise=0.0), {"optimiser": "sgd", "rate": 0.05, "weight_decay": 5e-4}),
    "lines": (lines, {"optimiser": "adamw", "rate": 4e-3, "weight_decay": 0.01}),
}


def trained_error(task: str, condition: str, seed: int) -> dict[str, float]:
    """Test error of one cell, and what it cost."""
    passes, schedule, techniques = CONDITIONS[condition]
    make, options = TASKS[task]
    settings = Settings(budget_passes=passes, batch=BATCH, schedule=schedule, seed=seed, **options)
    loop = Loop(make(seed), techniques(), settings)
    trained = loop.run()
    return {
        "error": loop.mean_error(trained.model, loop.task.test),
        "passes": trained.passes.total,
        "training_s": round(trained.seconds, 2),
    }


def verdict(difference: tuple[float, float, float]) -> str:
    """By the interval: a smaller error was expected."""
    _, low, high = difference
    return "reproduced" if high < 0 else "not reproduced: the opposite" if low > 0 else "inconclusive"


def table(cells: dict[tuple[str, str], list[dict[str, float]]]) -> str:
    """Errors of the conditions, and the claims."""
    unit = {"digits": 100.0, "true-digits": 100.0, "lines": 1000.0}
    text = [
        "| task | condition | passes | test error (digits: %, lines: thousandths of half a width) | seconds |",
        "|---|---|---|---|---|",
    ]
    for (task, condition), found in cells.items():
        errors = [unit[task] * c["error"] for c in found]
        seconds = sum(c["training_s"] for c in found) / len(found)
        passes = int(found[0]["passes"])
        text.append(f"| {task} | {condition} | {passes} | {shown(interval(errors), 2)} | {seconds:.1f} |")
    text += [
        "",
        "| task | passes | average | control | difference of the errors | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for task in TASKS:
        for kind, average, control in CLAIMS:
            sides = [[unit[task] * c["error"] for c in cells[task, k]] for k in (average, control)]
            found_difference = paired(*sides)
            row = (task, kind, average, control, shown(found_difference, 2), verdict(found_difference))
            text.append("| " + " | ".join(row) + " |")
    return "\n".join(text)


def plot(cells: dict[tuple[str, str], list[dict[str, float]]], path: Path) -> None:
    """Errors of every seed and their interval, one panel a task."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(TASKS), figsize=(9, 4.2), sharey=True, layout="constrained")
    for axis, (task, scale, label) in zip(
        axes,
        [
            ("digits", 100, "test error, %"),
            ("true-digits", 100, "test error, %"),
            ("lines", 1000, "test error, 1/1000 half width"),
        ],
        strict=True,
    ):
        for row, condition in enumerate(CONDITIONS):
            errors = [scale * c["error"] for c in cells[task, condition]]
            mean, low, high = interval(errors)
            colour = "0.45" if row < 3 else "C0"
            axis.plot([low, high], [row, row], color=colour, lw=2)
            axis.plot(errors, [row] * len(errors), "o", color=colour, ms=4, alpha=0.5)
            axis.plot(mean, row, "|", color=colour, ms=14, mew=2)
        axis.set(yticks=range(len(CONDITIONS)), yticklabels=list(CONDITIONS), title=task, xlabel=label)
        axis.grid(axis="x", alpha=0.3)
    axes[0].invert_yaxis()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def main() -> None:
    options = study_options(__doc__, "averages")
    settings = {"budget": BUDGET, "longer": LONGER, "examples": EXAMPLES, "batch": BATCH, "noise": LABEL_NOISE}
    study = Study(options.out, settings)
    cells: dict[tuple[str, str], list[dict[str, float]]] = {}
    for seed in range(options.seeds):
        for task in TASKS:
            for condition in CONDITIONS:
                name = f"{task}_{condition.replace(', ', '_').replace(' ', '_')}_{seed}"
                cell = study.cell(name, partial(trained_error, task, condition, seed))
                cells.setdefault((task, condition), []).append(cell)
    ordered = {(task, condition): cells[task, condition] for task in TASKS for condition in CONDITIONS}
    text = f"{table(ordered)}\n\n{options.seeds} seeds; {machine()}\n"
    (options.out / "table.md").write_text(text)
    plot(ordered, options.out / PLOT)
    print(text)


if __name__ == "__main__":
    main()
