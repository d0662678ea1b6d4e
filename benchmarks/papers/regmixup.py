"""RegMixup on a regression (arXiv:2206.14502, partners of arXiv:2210.05775): random partners, close ones, or none.

    nice -n 5 python -m benchmarks.papers.regmixup --seeds 5    # under 10 minutes of one core; may be stopped

Lanes drawn for the purpose: a picture of 64 x 192 pixels with two bright curves x(row) = a + b*t + c*t^2, each of them
missing in one of five pictures, on a background of slopes, blobs and noise; 300 training and 500 test pictures. The
network sees 21 x 64 pixels and gives the lateral position of both lines at 8 stations, in pixels of what it sees, and
their presence. It is trained on pictures reduced by area. Two mismatches of the reduction:

    centre     bilinear without antialiasing: the middle one of three pixels. Nothing moves.
    corners    bilinear with align_corners: what was at X is found at X * 63 / 191. The labels move along.

Reported on the test set: the mean absolute error, clean and under mismatch (mean of both), and the deviation: the mean
absolute change of the output under mismatch beyond the displacement that is due.

Arms with one budget of forward plus backward passes: none; noise (the technique `gaussian` with its defaults, the
baseline to beat); regmixup with random partners; regmixup with C-Mixup partners (the default). A step of RegMixup costs
two of the others'.

Hypotheses, fixed before the first run; paired differences, seed by seed:

 1. C-Mixup partners against none: lower clean error (a toy set gave 2.88 -> 2.49);
 2. C-Mixup partners against none: lower deviation (2.43 -> 1.21);
 3. random partners against none: higher clean error (2.88 -> 3.45);
 4. C-Mixup against random partners: lower clean error;
 5. C-Mixup partners against noise: lower deviation (else it is unnecessary).

Reproduced if the 95 % interval excludes zero on the expected side, not reproduced if it does so on the other,
inconclusive otherwise.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.papers.study import Study, column, drawing, interval, machine, paired, shown, study_options, verdict
from techniques.gaussian import Gaussian
from techniques.objectives import Polylines
from techniques.regmixup import RegMixup
from techniques.task import Domain, Task, TensorExamples
from techniques.technique import Technique
from techniques.training import Loop, Settings

HIGH, WIDE = 64, 192
SMALL = (21, 64)
STATIONS = 8
COUNTS = {"train": 300, "selection": 100, "test": 500}
BUDGET = 1600
ARMS: dict[str, Any] = {
    "none": lambda: [],
    "noise": lambda: [Gaussian()],
    "random partners": lambda: [RegMixup(partners="random")],
    "C-Mixup partners": lambda: [RegMixup()],
}
KEYS = ("clean", "mismatch", "deviation")
PLOT = "technique_regmixup.png"


def main() -> None:
    options = study_options(__doc__, "regmixup")
    study = Study(options.out, {"budget": BUDGET, "counts": COUNTS, "version": 1})
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for seed in range(options.seeds):
        for arm, make in ARMS.items():
            found[arm].append(study.cell(f"{arm.replace(' ', '-')}_{seed}", lambda m=make, s=seed: one_run(m(), s)))
    text = f"{table(found)}\n\n{verdicts(found)}\n\n{options.seeds} seeds, {BUDGET} passes each; {machine()}.\n"
    (options.out / "table.md").write_text(text)
    plot(found, options.out / PLOT)
    print(text)


def one_run(techniques: list[Technique], seed: int) -> dict[str, Any]:
    """Errors of one trained network, pixels of what it sees."""
    raw, lines = lanes(COUNTS["test"], 3 * seed + 2)
    run = Loop(task(seed), techniques, Settings(budget_passes=BUDGET, seed=seed)).run()
    clean, outputs = judged(run.model, by_area(raw), lines)
    centre, centre_outputs = judged(run.model, by_centre(raw), lines)
    corners, corners_outputs = judged(run.model, by_corners(raw), at_corners(lines))
    there = torch.isfinite(lines)
    changes = (centre_outputs - outputs, corners_outputs - at_corners(outputs))
    deviation = sum(float(change[there].abs().mean()) for change in changes) / 2
    errors = {"clean": clean, "centre": centre, "corners": corners, "mismatch": (centre + corners) / 2}
    return {**errors, "deviation": deviation, "steps": run.steps, "train_seconds": run.seconds}


@torch.no_grad()
def judged(model: nn.Module, pictures: Tensor, lines: Tensor) -> tuple[float, Tensor]:
    """(mean absolute error, lateral positions [count, 2, station])."""
    y = torch.cat([model(part)[0] for part in pictures.split(250)])
    return float(Polylines().error((y,), (lines,)).nanmean()), y


def task(seed: int) -> Task:
    """Pictures [1, 21, 64] in 0..1 and lines [2, 8] in pixels, centre of the picture 0."""
    parts = {}
    for i, (name, count) in enumerate(COUNTS.items()):
        raw, lines = lanes(count, 3 * seed + i)
        parts[name] = TensorExamples((by_area(raw),), (lines,))
    return Task(LaneNetwork, Polylines(beta=1.0), (Domain(),), **parts, unit="px")


@cache
def lanes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """(pictures [count, 1, 64, 192] in 0..1, lateral positions [count, 2, 8] in pixels of the reduced picture).

    Positions are of the line's middle relative to the middle of the picture, right positive; NaN where a line is
    missing.
    """
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return 2 * torch.rand(count, *shape, generator=generator) - 1

    middle, half_width, slope, bend = 30 * drawn(1), 38 + 10 * drawn(1), 35 * drawn(1), 25 * drawn(1)
    own = torch.tensor([-1.0, 1.0])

    def lateral(t: Tensor) -> Tensor:
        """[count, 2, len(t)] in raw pixels; lines come together and follow slope and bend, t from 0 (near) to 1."""
        near = middle[..., None] + own[:, None] * half_width[..., None] * (1 - 0.6 * t)
        return near + slope[..., None] * t + bend[..., None] * t**2

    missing = torch.rand(count, 2, generator=generator) < 0.2
    rows, columns = torch.linspace(1, 0, HIGH), torch.arange(WIDE) - (WIDE - 1) / 2
    thickness = 2 + 2 * (1 - rows)
    distance = (columns - lateral(rows)[..., None]).abs() / thickness[:, None]
    ink = torch.where(missing[..., None, None], 0, torch.exp(-(distance**2) / 2)).amax(1)
    coarse = 0.5 + 0.25 * drawn(1, 5, 9)
    ground = nn.functional.interpolate(coarse, (HIGH, WIDE), mode="bilinear", align_corners=True)[:, 0]
    brightness = 0.35 + 0.15 * drawn(1, 1)
    noise = 0.06 * torch.randn(count, HIGH, WIDE, generator=generator)
    pictures = (ground + brightness * ink + noise).clamp(0, 1)[:, None]
    lines = torch.where(missing[..., None], torch.nan, lateral(torch.linspace(0.05, 0.95, STATIONS)) / 3)
    return pictures, lines


def by_area(raw: Tensor) -> Tensor:
    """Mean of three by three pixels; the last row is left out."""
    return nn.functional.avg_pool2d(raw, 3)


def by_centre(raw: Tensor) -> Tensor:
    """The middle one of three by three: what bilinear sampling without antialiasing takes at this scale."""
    return raw[..., 1:63:3, 1::3]


def by_corners(raw: Tensor) -> Tensor:
    """Bilinear, without antialiasing, from the first to the last column; rows as `by_centre`."""
    return nn.functional.interpolate(raw[..., 1:63:3, :], SMALL, mode="bilinear", align_corners=True)


def at_corners(lines: Tensor) -> Tensor:
    """Where a line at x (pixels of `by_area`, from the middle) is found in `by_corners`."""
    return lines * 3 * (SMALL[1] - 1) / (WIDE - 1)


class LaneNetwork(nn.Module):
    """(lateral positions [batch, 2, 8] in pixels, presence logits [batch, 2]); three convolutions with BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for wide_in, wide_out in ((1, 8), (8, 16), (16, 16)):
            convolution = nn.Conv2d(wide_in, wide_out, 3, stride=2, padding=1, bias=False)
            blocks += [convolution, nn.BatchNorm2d(wide_out), nn.ReLU()]
        self.body = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(16 * 3 * 8, 64), nn.ReLU())
        self.lines, self.presence = nn.Linear(64, 2 * STATIONS), nn.Linear(64, 2)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Lines and presence."""
        hidden = self.body(picture)
        return 10 * self.lines(hidden).unflatten(1, (2, STATIONS)), self.presence(hidden)


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: means with intervals over seeds."""
    lines = ["| arm | clean px | under mismatch px | deviation px | steps | s |", "|---|---|---|---|---|---|"]
    for arm, cells in found.items():
        values = " | ".join(shown(interval(column(cells, key)), 2) for key in KEYS)
        steps, seconds = (interval(column(cells, key))[0] for key in ("steps", "train_seconds"))
        lines.append(f"| {arm} | {values} | {steps:.0f} | {seconds:.0f} |")
    return "\n".join(lines)


def verdicts(found: dict[str, list[dict[str, Any]]]) -> str:
    """Every hypothesis with its interval; a negative difference is the expected side."""
    close, random = "C-Mixup partners", "random partners"
    claims = [
        ("1. clean, C-Mixup partners minus none", close, "none", "clean"),
        ("2. deviation, C-Mixup partners minus none", close, "none", "deviation"),
        ("3. clean, none minus random partners", "none", random, "clean"),
        ("4. clean, C-Mixup minus random partners", close, random, "clean"),
        ("5. deviation, C-Mixup partners minus noise", close, "noise", "deviation"),
    ]
    lines = []
    for claim, arm, control, key in claims:
        gap = paired(column(found[arm], key), column(found[control], key))
        lines.append(f"- {claim}: {shown(gap, 2)} px: **{verdict(gap)}**")
    return "\n".join(lines)


def plot(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Dots of every seed and their mean, for each arm and measure."""
    with drawing(path) as axes:
        for offset, (key, colour) in enumerate(zip(KEYS, ("#4c72b0", "#dd8452", "#c44e52"), strict=True)):
            for place, cells in enumerate(found.values()):
                values, x = column(cells, key), place + 0.2 * offset - 0.2
                axes.plot([x] * len(values), values, "o", color=colour, markersize=4, alpha=0.6)
                axes.plot(x, sum(values) / len(values), "_", color=colour, markersize=22, markeredgewidth=2)
            axes.plot([], [], "o", color=colour, label=key)
        axes.set_xticks(range(len(found)), list(found))
        axes.set_ylim(bottom=0)
        axes.set_ylabel("pixels of the network's picture")
        axes.set_title("Drawn lanes, 300 training pictures, equal budgets")
        axes.legend()


if __name__ == "__main__":
    main()
