"""SWALP: does the mean of low-precision weights get below the floor that low precision puts under training?

Yang et al. 2019 (1904.11943). Hypotheses, fixed before the first run:

    regression   the squared distance of the mean of 8-bit weights to the optimum ends below that of the optimum rounded
                 to 8 bits (the floor), that of the 8-bit weights themselves above it (the paper's section 5 and
                 figure 2, left)
    digits       SWALP's test error is less than that of low-precision training over the same passes, with 8 and with 4
                 bits for weights, activations, gradients, errors and momentum
    digits       SWALP's error with 8 bits is less than .3 points above that of full precision over the same passes
                 (6.70 against 6.81 in the paper: not worse)
    digits       SWA's error is less than that of a cosine schedule over the same passes, both in full precision: the
                 claim of benchmarks.papers.averages, here with true labels

Regression: 4096 examples of 32 features, batches of 32, a constant rate, only the weights in low precision. Digits:
1000 of MNIST, a small convolutional network with BatchNorm, SGD with momentum; low-precision and full-precision
training end a cosine schedule, SWA and SWALP average at a fifth of the rate over the last 45 %. All are evaluated
without rounding of activations.

A first run had 4000 steps and three seeds and left the floor and 4 bits inconclusive (log10 ratio -0.29 [-0.83, 0.25];
-0.19 [-0.44, 0.06] points). The mean's distance falls with the steps: this one has five times as many, and five seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, ClassVar

import torch
from torch import nn

from benchmarks.papers.study import Study, interval, machine, mnist, paired, shown, study_options
from techniques.low_precision import LowPrecision, Widths, quantised
from techniques.objectives import Classification
from techniques.swa import SWA, add_to_average, averaging
from techniques.swalp import SWALP
from techniques.task import Batch, Domain, Task, TensorExamples
from techniques.technique import Technique
from techniques.training import Loop, Settings

BITS = (8, 4)
PASSES, EXAMPLES, BATCH = 600, 1000, 50
STEPS, WARMUP, FEATURES, RATE = 20000, 400, 32, 0.02
WORSE_AT_MOST = 0.3
PLOT = "technique_swalp.png"


@dataclass
class LowPrecisionOnly(Technique):
    """Training in low precision without an average: the control of SWALP."""

    name: ClassVar[str] = "low-precision"
    bits: int = 8

    def start(self, loop: Loop) -> None:
        """First weights in low precision."""
        self._low = LowPrecision(Widths(*[self.bits] * 5), seed=_seed(loop))
        self._low.round_weights(loop.model.parameters())

    def before_step(self, loop: Loop, batch: Batch) -> Batch:
        """Quantisers in place."""
        self._low.install(loop.model, loop.optimiser)
        self._low.reseed(_seed(loop))
        return batch

    def finish(self, loop: Loop) -> None:
        """Quantisers out; BatchNorm anew, as for an average."""
        self._low.remove()
        loop.recompute_batchnorm(loop.model)


def _seed(loop: Loop) -> int:
    return int(torch.randint(2**62, (), generator=loop.generator))


def regression(bits: int, seed: int) -> dict[str, Any]:
    """Squared distances to the optimum along training, of the weights and of their mean; bits 0 is full precision."""
    torch.manual_seed(seed)
    x, true = torch.randn(4096, FEATURES, dtype=torch.float64), torch.randn(FEATURES, 1, dtype=torch.float64)
    y = x @ true + 0.5 * torch.randn(4096, 1, dtype=torch.float64)
    best = torch.linalg.lstsq(x, y).solution.T
    model = nn.Linear(FEATURES, 1, bias=False).double()
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
    LowPrecision(Widths(bits, 0, 0, 0, 0), seed=seed).install(model, optimiser)
    average = averaging(model)
    at, weights, means = _log_spaced(WARMUP + 1, STEPS), [], []
    for step in range(1, STEPS + 1):
        rows = torch.randint(4096, (32,))
        optimiser.zero_grad()
        (model(x[rows]) - y[rows]).square().mean().mul(0.5).backward()
        optimiser.step()
        if step > WARMUP:
            add_to_average(average, model)
        if step in at:
            weights.append(float((model.weight - best).detach().square().sum()))
            means.append(float((average.module.weight - best).square().sum()))
    floor = float((quantised(best, bits, rounding="nearest") - best).square().sum()) if bits else 0.0
    return {"steps": sorted(at), "weights": weights, "means": means, "floor": floor}


def _log_spaced(first: int, last: int) -> set[int]:
    return {round(s) for s in torch.logspace(math.log10(first), math.log10(last), 40).tolist()} | {last}


def digits(seed: int) -> Task:
    """A subset of MNIST, and half of its test set."""
    x, y, x_test, y_test = _mnist()
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:EXAMPLES]
    train, test = TensorExamples((x[rows, None],), (y[rows],)), TensorExamples((x_test[::2, None],), (y_test[::2],))
    return Task(network, Classification(), (Domain(),), train, test, test, unit="wrong")


_mnist = cache(mnist)


def network() -> nn.Sequential:
    """Two strided convolutions with BatchNorm and a linear layer."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(16 * 49, 10)),
    )


def conditions() -> list[tuple[str, int]]:
    """(how, bits); 0 is full precision."""
    return [("full", 0), ("swa", 0), *[(how, bits) for bits in BITS for how in ("low", "swalp")]]


def techniques(how: str, bits: int) -> list[Technique]:
    """What a condition plugs into the loop."""
    widths = {f"{kind}_bits": bits for kind in ("weight", "activation", "gradient", "error", "momentum")}
    made: dict[str, list[Technique]] = {
        "full": [],
        "swa": [SWA()],
        "low": [LowPrecisionOnly(bits or 8)],
        "swalp": [SWALP(**widths)],
    }
    return made[how]


def classified(how: str, bits: int, seed: int) -> dict[str, float]:
    """Test error of one cell, and what it cost."""
    settings = Settings(
        budget_passes=PASSES, batch=BATCH, optimiser="sgd", rate=0.05, weight_decay=5e-4, schedule="cosine", seed=seed
    )
    loop = Loop(digits(seed), techniques(how, bits), settings)
    trained = loop.run()
    error = loop.mean_error(trained.model, loop.task.test)
    return {"error": error, "passes": trained.passes.total, "training_s": round(trained.seconds, 2)}


def table(lines: Mapping[int, list[dict[str, Any]]], nets: Mapping[tuple[str, int], list[dict[str, float]]]) -> str:
    """Distances, errors and claims."""
    low = lines[8]
    distances = {
        "8-bit weights": [c["weights"][-1] for c in low],
        "mean of the 8-bit weights (SWALP)": [c["means"][-1] for c in low],
        "floor: the optimum in 8 bits": [c["floor"] for c in low],
        "fp64 weights": [c["weights"][-1] for c in lines[0]],
        "mean of the fp64 weights (SWA)": [c["means"][-1] for c in lines[0]],
    }
    text = ["| regression, after training | log10 of the squared distance to the optimum |", "|---|---|"]
    text += [f"| {k} | {shown(interval([math.log10(d) for d in v]), 2)} |" for k, v in distances.items()]
    text += ["", "| digits | bits | passes | test error, % | seconds |", "|---|---|---|---|---|"]
    for (how, bits), cells in nets.items():
        seconds = sum(c["training_s"] for c in cells) / len(cells)
        errors = shown(interval([100 * c["error"] for c in cells]), 2)
        text.append(f"| {how} | {bits or 32} | {int(cells[0]['passes'])} | {errors} | {seconds:.1f} |")
    text += ["", "| claim | difference | verdict |", "|---|---|---|"]
    text += [f"| {claim} | {shown(value, 2)} | {said} |" for claim, value, said in claims(lines, nets)]
    return "\n".join(text)


def claims(
    lines: Mapping[int, list[dict[str, Any]]], nets: Mapping[tuple[str, int], list[dict[str, float]]]
) -> list[tuple[str, tuple[float, float, float], str]]:
    """Every hypothesis with its interval and verdict."""

    def logs(key: str) -> list[float]:
        return [math.log10(c[key] if key == "floor" else c[key][-1]) for c in lines[8]]

    def errors(how: str, bits: int) -> list[float]:
        return [100 * c["error"] for c in nets[how, bits]]

    below, above = paired(logs("means"), logs("floor")), paired(logs("weights"), logs("floor"))
    found = [
        ("regression: SWALP below the floor (log10 ratio < 0)", below, verdict(below)),
        ("regression: 8-bit weights above it (log10 ratio > 0)", above, verdict(_mirrored(above))),
    ]
    for bits in BITS:
        value = paired(errors("swalp", bits), errors("low", bits))
        found.append((f"digits: SWALP less than low precision, {bits} bits (points)", value, verdict(value)))
    value = paired(errors("swa", 0), errors("full", 0))
    found.append(("digits: SWA less than a cosine, full precision (points)", value, verdict(value)))
    worse = paired(errors("swalp", 8), errors("full", 0))
    said = (
        "reproduced" if worse[2] < WORSE_AT_MOST else "not reproduced" if worse[1] > WORSE_AT_MOST else "inconclusive"
    )
    return [*found, (f"digits: SWALP, 8 bits, < {WORSE_AT_MOST} above full precision (points)", worse, said)]


def verdict(difference: tuple[float, float, float]) -> str:
    """By the interval: less was expected."""
    _, low, high = difference
    return "reproduced" if high < 0 else "not reproduced: the opposite" if low > 0 else "inconclusive"


def _mirrored(value: tuple[float, float, float]) -> tuple[float, float, float]:
    return -value[0], -value[2], -value[1]


def plot(
    lines: Mapping[int, list[dict[str, Any]]], nets: Mapping[tuple[str, int], list[dict[str, float]]], path: Any
) -> None:
    """Distances over steps (geometric mean over seeds), and errors over bits."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    for bits, colour, kind in ((8, "C3", "8-bit"), (0, "C0", "fp64")):
        steps = torch.tensor(lines[bits][0]["steps"])
        for key, style, what in (("weights", "-", "weights"), ("means", "--", "mean")):
            curve = torch.tensor([c[key] for c in lines[bits]]).log().mean(0).exp()
            left.loglog(steps, curve, style, color=colour, label=f"{kind} {what}")
    floor = math.exp(sum(math.log(c["floor"]) for c in lines[8]) / len(lines[8]))
    left.axhline(floor, color="k", lw=1, ls=":", label="floor: optimum in 8 bits")
    left.set(xlabel="step", ylabel="squared distance to the optimum", title="linear regression")
    left.legend(fontsize=8)
    for how, colour, mark, shift in (("low", "C3", "o", -0.1), ("swalp", "C0", "s", 0.1)):
        for place, bits in enumerate(BITS):
            mean, low, high = interval([100 * c["error"] for c in nets[how, bits]])
            label = {"low": "low precision", "swalp": "SWALP"}[how] if not place else None
            right.errorbar(
                place + shift, mean, [[mean - low], [high - mean]], fmt=mark, color=colour, label=label, capsize=3
            )
    for how, style in (("full", "-"), ("swa", "--")):
        mean = interval([100 * c["error"] for c in nets[how, 0]])[0]
        right.axhline(mean, color="0.4", ls=style, lw=1, label={"full": "fp32", "swa": "fp32, SWA"}[how])
    right.set(xticks=range(len(BITS)), xticklabels=[f"{b} bits" for b in BITS], ylabel="test error, %", title="digits")
    right.legend(fontsize=8)
    figure.savefig(path, dpi=100)


def main() -> None:
    options = study_options(__doc__, "swalp")
    linear = Study(options.out, {"steps": STEPS, "warmup": WARMUP, "features": FEATURES, "rate": RATE})
    study = Study(options.out, {"passes": PASSES, "examples": EXAMPLES, "batch": BATCH})
    lines: dict[int, list[dict[str, Any]]] = {}
    nets: dict[tuple[str, int], list[dict[str, float]]] = {key: [] for key in conditions()}
    for seed in range(options.seeds):
        for bits in (8, 0):
            cell = linear.cell(f"regression_{bits}_{seed}", partial(regression, bits, seed))
            lines.setdefault(bits, []).append(cell)
        for how, bits in conditions():
            nets[how, bits].append(study.cell(f"digits_{how}_{bits}_{seed}", partial(classified, how, bits, seed)))
    text = f"{table(lines, nets)}\n\n{options.seeds} seeds; {machine()}\n"
    (options.out / "table.md").write_text(text)
    plot(lines, nets, options.out / PLOT)
    print(text)


if __name__ == "__main__":
    main()
