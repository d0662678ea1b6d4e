"""Checks of FGM, FreeLB, SMART, SAM, Jacobian, quantisation noise; FGSM-AT and PGD-AT at the same clean share.

    nice -n 5 python -m benchmarks.papers.few_labels     # about 5 minutes of one free core; goes on where it stopped

MNIST pooled to 14 x 14, 500 labelled pictures drawn anew for every seed, 1000 test pictures, two strided convolutions
and two linear layers, 1600 passes of 32 for every arm. PGD-20 with one random start, "linf" eps 0.05 or "l2" eps 1.
Fine-tuning (claim 3): a network trained on 5000 pictures turned by 90 degrees is trained on 150 upright ones for 800
passes. Claims 7 and 8: all 60,000 pictures, eps 0.1, 3600 passes of 64, as in benchmarks.papers.adversarial, which gave
FGSM-AT half of its loss clean and PGD-AT none.

Fixed before the first run; "below" means the whole paired 95 % interval over seeds:

 1. FGM (Miyato et al., 1605.07725): clean error below standard; 1b. PGD "l2" error below standard.
 2. FreeLB (Zhu et al., 1909.11764): clean error below standard; 2b. PGD "l2" error below standard.
 3. SMART (Jiang et al., 1911.03437): clean error after fine-tuning below plain fine-tuning; 3b. PGD "linf" error below.
 4. SAM (Foret et al., 2010.01412): clean error below standard with as many steps (the paper's comparison); 4b. at equal
    passes.
 5. Quantisation noise (Fan et al., 2004.07320): RMS change of the logits under int8 weights, relative to their RMS,
    below standard.
 6. Jacobian (Hoffman et al., 1908.02729): PGD "linf" error below standard; 6b. error under noise of sigma 0.3 below.
 7. PGD-AT minus FGSM-AT, PGD-20 error, half of the loss clean in both: below +0.01 (Madry et al., 1706.06083).
 8. The same with attacked pictures only.

Preprocessing randomisation has no check of this kind: SysNoise (2307.00280) measures what pipelines do and trains no
network against it; benchmarks/study is the check of our own claim.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.papers import adversarial
from benchmarks.papers.study import Study, column, interval, machine, mnist, paired, shown, study_options
from techniques.attack import Ball, attacked_error
from techniques.objectives import Classification
from techniques.quantisation_noise import rounded_weights
from techniques.registry import build_all
from techniques.task import Domain, Task, TensorExamples
from techniques.training import Loop, Settings

LABELS, TURNED, FEW, TESTED, SIZE = 500, 5000, 150, 1000, 14
PASSES, TUNING_PASSES = 1600, 800
LINF, L2 = Ball(0.05, steps=20, random_start=True), Ball(1.0, "l2", 20, random_start=True)
Arm = tuple[dict[str, dict[str, Any]], int]
ARMS: dict[str, Arm] = {
    "standard": ({}, PASSES),
    "standard, steps of SAM": ({}, PASSES // 2),
    "fgm": ({"fgm": {"eps": 1.0}}, PASSES),
    "freelb": ({"freelb": {"eps": 1.0}}, PASSES),
    "sam": ({"sam": {}}, PASSES),
    "jacobian": ({"jacobian": {}}, PASSES),
    "quantisation-noise": ({"quantisation-noise": {}}, PASSES),
}
TUNED: dict[str, Arm] = {"fine-tuned": ({}, TUNING_PASSES), "smart": ({"smart": {}}, TUNING_PASSES)}
SHARES: adversarial.Trainings = {
    f"{kind}, {share} clean": (name, {"eps": adversarial.EPS_SECOND, "clean_share": share})
    for share in (0.5, 0.0)
    for kind, name in (("FGSM-AT", "fgsm"), ("PGD-AT", "pgd"))
}
# claim -> (arm, control, figure, what the difference must be below)
CLAIMS: dict[str, tuple[str, str, str, float]] = {
    "1, FGM clean": ("fgm", "standard", "clean", 0.0),
    "1b, FGM under PGD l2": ("fgm", "standard", "l2", 0.0),
    "2, FreeLB clean": ("freelb", "standard", "clean", 0.0),
    "2b, FreeLB under PGD l2": ("freelb", "standard", "l2", 0.0),
    "3, SMART clean": ("smart", "fine-tuned", "clean", 0.0),
    "3b, SMART under PGD linf": ("smart", "fine-tuned", "linf", 0.0),
    "4, SAM clean, equal steps": ("sam", "standard, steps of SAM", "clean", 0.0),
    "4b, SAM clean, equal passes": ("sam", "standard", "clean", 0.0),
    "5, quantisation noise, int8": ("quantisation-noise", "standard", "int8", 0.0),
    "6, Jacobian under PGD linf": ("jacobian", "standard", "linf", 0.0),
    "6b, Jacobian under noise": ("jacobian", "standard", "noise", 0.0),
    "7, PGD-AT minus FGSM-AT, half clean": ("PGD-AT, 0.5 clean", "FGSM-AT, 0.5 clean", "PGD", 0.01),
    "8, PGD-AT minus FGSM-AT, none clean": ("PGD-AT, 0.0 clean", "FGSM-AT, 0.0 clean", "PGD", 0.01),
}
FIGURES = ("clean", "linf", "l2", "noise", "int8")


def few_task(data: tuple[Tensor, ...], seed: int, labels: int, *, turned: bool = False) -> Task:
    """That many training pictures of the seed, pooled; upright ones to test on."""
    x, y, x_test, y_test = data
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:labels]
    small, small_test = (F.adaptive_avg_pool2d(t[:, None], SIZE) for t in (x[rows], x_test[:TESTED]))
    train = TensorExamples((small.rot90(1, (2, 3)) if turned else small,), (y[rows],))
    test = TensorExamples((small_test,), (y_test[:TESTED],))
    network = partial(adversarial.network, SIZE)
    return Task(network, Classification(), (Domain(0, 1),), train, selection=test, test=test, unit="wrong")


def cell(arm: Arm, data: tuple[Tensor, ...], seed: int, labels: int, initial: str = "") -> dict[str, Any]:
    """One training, and what is measured of it."""
    techniques, passes = arm
    rate, schedule = (5e-4, "cosine") if initial else (2e-3, "one-cycle")
    settings = Settings(budget_passes=passes, batch=32, rate=rate, schedule=schedule, seed=seed, initial=initial)
    loop = Loop(few_task(data, seed, labels), build_all(techniques), settings)
    run = loop.run()
    return {**measured(loop), "steps": run.steps, "passes": run.passes.total}


def measured(loop: Loop) -> dict[str, float]:
    """Errors as they are, attacked, under noise; RMS change of the logits under int8 weights, relative to their RMS."""
    model, objective, domains = loop.model, loop.objective, loop.task.domains
    found = {"clean": loop.mean_error(model, loop.task.test)}
    with loop.passes.uncounted():
        for name, ball in (("linf", LINF), ("l2", L2)):
            batches = loop.batches(loop.task.test, 100)
            found[name] = attacked_error(model, objective, batches, domains, ball)
        with torch.no_grad():
            (batch,) = loop.batches(loop.task.test, TESTED)
            (x,), generator = batch.inputs, torch.Generator().manual_seed(0)
            noisy = (x + 0.3 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
            found["noise"] = float(objective.error(objective.outputs(model, (noisy,)), batch.targets).mean())
            logits = model(x)
            with rounded_weights(model, "int8", 1.0, 8, generator):
                found["int8"] = float((model(x) - logits).square().mean().sqrt() / logits.square().mean().sqrt())
    return found


def turned_start(data: tuple[Tensor, ...], seed: int, path: Path) -> str:
    """Weights of a network trained on turned pictures."""
    settings = Settings(budget_passes=PASSES, batch=32, rate=2e-3, seed=seed)
    loop = Loop(few_task(data, seed + 1000, TURNED, turned=True), [], settings)
    save_file({k: v.contiguous() for k, v in loop.run().model.state_dict().items()}, path)
    return str(path)


def tuned(arm: Arm, data: tuple[Tensor, ...], seed: int) -> dict[str, Any]:
    """Fine-tuning of the seed's start."""
    with TemporaryDirectory() as folder:
        return cell(arm, data, seed, FEW, turned_start(data, seed, Path(folder) / "start.safetensors"))


def verdicts(cells: Mapping[str, list[dict[str, Any]]]) -> str:
    """Every claim with its paired interval."""
    lines = []
    for claim, (arm, control, figure, limit) in CLAIMS.items():
        gap = paired(column(cells[arm], figure), column(cells[control], figure))
        said = "reproduced" if gap[2] < limit else "not reproduced" if gap[1] > limit else "inconclusive"
        below = f"below {limit:+.2f}" if limit else "below 0"
        lines.append(f"- {claim}, {below}: {shown(gap, 4)}: {said}")
    return "\n".join(lines)


def table(cells: Mapping[str, list[dict[str, Any]]]) -> str:
    """Arms against what is measured, mean and interval over seeds."""
    rows = [f"| arm | steps | {' | '.join(FIGURES)} |", "|---" * (2 + len(FIGURES)) + "|"]
    for name, found in cells.items():
        values = " | ".join(shown(interval(column(found, figure)), 4) for figure in FIGURES)
        rows.append(f"| {name} | {found[0]['steps']} | {values} |")
    return "\n".join(rows)


def main(options: argparse.Namespace) -> None:
    """All cells, then tables and verdicts."""
    data, out = mnist(), options.out
    kept = Study(out, {"labels": LABELS, "passes": PASSES, "tested": TESTED, "size": SIZE, "tuning": TUNING_PASSES})
    seeds = range(options.seeds)
    cells = {n: [kept.cell(f"{n} seed {s}", partial(cell, a, data, s, LABELS)) for s in seeds] for n, a in ARMS.items()}
    cells |= {n: [kept.cell(f"{n} seed {s}", partial(tuned, a, data, s)) for s in seeds] for n, a in TUNED.items()}
    shares = adversarial.study(out / "shares", SHARES, adversarial.EPS_SECOND, SIZE, 3, data)
    parts = [f"{options.seeds} seeds, {machine()}", table(cells), adversarial.table(shares), verdicts(cells | shares)]
    text = "\n\n".join(parts)
    print(text)
    (out / "table.md").write_text(text + "\n")


if __name__ == "__main__":
    main(study_options(__doc__, "few_labels"))
