"""Are all layers created equal? (arXiv:1902.01996, figure 1): FCN 3x256 on the full MNIST, layer by layer.

    python -m benchmarks.papers.layers            # about 15 minutes of one core; goes on where it stopped

Claims, fixed before the first run, for 60,000 training and 10,000 test images:

 1. re-randomising any one of the four layers ruins the network: error .89 .91 .91 .83 in the paper (read off its
    figure, +-.02); expected here: above 0.7 for every layer, by the interval over seeds;
 2. re-initialisation singles out the first layer: .38 .08 <=.03 .06 in the paper; expected: the first layer's error
    is above every other layer's, by the paired interval;
 3. the others are robust: expected below 0.15 each;
 4. the layers' distances from their first weights do not say which is critical: .13 .10 .08 .49 in the paper, where the
    last layer moves most and the first is the critical one; expected: the last layer moves most;
 5. weights of a few epochs suffice: the first layer put back to epoch 3 costs less than put back to step 0.

What is known of the training. The paper names SGD with momentum 0.9, batches of 128, 100 epochs and a rate that falls
to a fifth at epochs 30, 60 and 90 (its appendix, as remembered: the text could not be consulted again). Not known, and
chosen here beforehand: first rate 0.01, Glorot-uniform weights and zero biases (the default of the authors' framework),
inputs standardised by the mean and deviation of the training images, no weight decay, no augmentation. Trained for 90
epochs, where the figure ends. Which normalisation the paper's distances have is not known either: relative
|d|/|theta_0|, |d|/sqrt(number) and the maximum are all given.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.papers.study import Study, interval, machine, mnist, paired, shown, study_options
from techniques.checkpoint import load_state, save_state
from techniques.criticality import fresh_states, layer_criticality, snapshot

EPOCHS, BATCH = 90, 128
KEPT, DRAWS = (1, 2, 3, 8, 40, 90), 10
LAYERS = ("layer 1", "layer 2", "layer 3", "output")
PAPER = {
    "re-randomised": (0.89, 0.91, 0.91, 0.83),
    "re-initialised": (0.38, 0.08, 0.03, 0.06),
    "distance": (0.13, 0.10, 0.08, 0.49),
}
PLOT = "technique_criticality.png"


@dataclass(frozen=True)
class Recipe:
    """An optimiser: `rate` falls to `factor` of itself at each epoch of `falls`."""

    name: str
    rate: float
    momentum: float
    falls: tuple[int, ...] = ()
    factor: float = 0.2


RECIPE = Recipe("momentum", 0.01, 0.9, (30, 60))


class Glorot(nn.Linear):
    """A linear layer whose draw is Glorot-uniform, with zero bias."""

    def reset_parameters(self) -> None:
        """A new draw."""
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)


def network() -> nn.Module:
    """FCN 3x256."""
    sizes = (784, 256, 256, 256)
    hidden = [m for a, b in pairwise(sizes) for m in (Glorot(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, Glorot(256, 10))


def standardised_mnist() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(train [60000, 784], labels, test [10000, 784], labels)."""
    x, y, x_test, y_test = mnist()
    mean, std = x.mean(), x.std()
    return ((x - mean) / std).flatten(1), y, ((x_test - mean) / std).flatten(1), y_test


def one_epoch(model: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor, order: Tensor) -> None:
    """One pass over the data in that order; the last, smaller batch is used too."""
    for rows in torch.split(order, BATCH):
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(model(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]  # torch's stub
        optimiser.step()


def trained(
    recipe: Recipe, seed: int, data: tuple[Tensor, ...], folder: Path
) -> tuple[nn.Module, dict[int, dict[str, Tensor]]]:
    """(network, epoch -> weights); an epoch that is in the folder is not trained again."""
    torch.manual_seed(seed)
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), recipe.rate, momentum=recipe.momentum)
    kept, first, path = {0: snapshot(model)}, 0, folder / f"{recipe.name}-seed{seed}.safetensors"
    if path.exists():
        found = load_state(path)
        kept, first = found["kept"], found["epoch"]
        model.load_state_dict(found["model"])
        optimiser.load_state_dict(found["optimiser"])
    for epoch in range(first, EPOCHS):
        optimiser.param_groups[0]["lr"] = recipe.rate * recipe.factor ** sum(epoch >= fall for fall in recipe.falls)
        order = torch.randperm(len(data[0]), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        one_epoch(model, optimiser, data[0], data[1], order)
        if epoch + 1 in KEPT:
            kept[epoch + 1] = snapshot(model)
        if (epoch + 1) % 5 == 0 or epoch + 1 in KEPT:
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "kept": kept, "epoch": epoch + 1}
            save_state(path, state)
    return model, kept


def cell(recipe: Recipe, seed: int, data: tuple[Tensor, ...], folder: Path) -> dict[str, Any]:
    """Errors and distances of every layer, one seed."""
    model, kept = trained(recipe, seed, data, folder)

    @torch.no_grad()
    def error(net: nn.Module) -> float:
        return float((net(data[2]).argmax(-1) != data[3]).float().mean())

    fresh = list(fresh_states(network, DRAWS, seed))
    rows = layer_criticality(model, error, kept[0], fresh=fresh, checkpoints=kept)
    with torch.no_grad():
        wrong_on_training = float((model(data[0]).argmax(-1) != data[1]).float().mean())
    return {
        "test error": rows[0].trained,
        "training error": wrong_on_training,
        "re-initialised": {str(t): [row.re_initialised[t] for row in rows] for t in (0, *KEPT)},
        "re-randomised": [row.re_randomised for row in rows],
        "l2 relative": [row.l2_relative for row in rows],
        "l2 rms": [row.l2_rms for row in rows],
        "linf": [row.linf for row in rows],
    }


def table(cells: list[dict[str, Any]]) -> str:
    """Layers against errors and distances, the paper's beside them."""
    lines = [
        "| | " + " | ".join(LAYERS) + " |",
        "|---" * (len(LAYERS) + 1) + "|",
        _row("re-randomised, paper", [f"{v:.2f}" for v in PAPER["re-randomised"]]),
        _row("re-randomised", [shown(interval(_draws(cells, i)), 2) for i in range(4)]),
        _row("re-initialised, paper", [f"{v:.2f}" for v in PAPER["re-initialised"]]),
    ]
    for epoch in (0, *KEPT):
        errors = [shown(interval([c["re-initialised"][str(epoch)][i] for c in cells]), 3) for i in range(4)]
        lines.append(_row("re-initialised" if epoch == 0 else f"put back to epoch {epoch}", errors))
    lines.append(_row("distance, paper", [f"{v:.2f}" for v in PAPER["distance"]]))
    for name in ("l2 relative", "l2 rms", "linf"):
        lines.append(_row(name, [shown(interval([c[name][i] for c in cells]), 4) for i in range(4)]))
    return "\n".join(lines)


def verdicts(cells: list[dict[str, Any]]) -> str:
    """Every claim of the first lines, by its interval."""
    start = [[c["re-initialised"]["0"][i] for c in cells] for i in range(4)]
    drawn = [interval(_draws(cells, i)) for i in range(4)]
    later = [c["re-initialised"]["3"][0] for c in cells]
    first_over = [paired(start[0], start[i]) for i in (1, 2, 3)]
    moved = [paired([c["l2 relative"][3] for c in cells], [c["l2 relative"][i] for c in cells]) for i in (0, 1, 2)]
    claims = [
        (
            "1 re-randomising any layer gives an error above .7",
            [low - 0.7 for _, low, _ in drawn],
            [h for *_, h in drawn],
        ),
        ("2 the first layer is the critical one", [v[1] for v in first_over], [v[2] for v in first_over]),
        ("4 the output layer moves most (relative)", [v[1] for v in moved], [v[2] for v in moved]),
        (
            "5 epoch 3 costs the first layer less than step 0",
            [paired(start[0], later)[1]],
            [paired(start[0], later)[2]],
        ),
    ]
    lines = [f"- {name}: {_verdict(lows, highs)}" for name, lows, highs in claims]
    robust = [interval(values) for values in start[1:]]
    reproduced = "reproduced" if all(v[2] < 0.15 for v in robust) else "inconclusive"
    reproduced = "not reproduced" if any(v[1] > 0.15 for v in robust) else reproduced
    lines.insert(2, f"- 3 the other layers are robust (below .15): {reproduced}")
    return "\n".join(lines)


def _verdict(lows: list[float], highs: list[float]) -> str:
    if all(low > 0 for low in lows):
        return "reproduced"
    return "not reproduced" if any(high < 0 for high in highs) else "inconclusive"


def _draws(cells: list[dict[str, Any]], layer: int) -> list[float]:
    """One value a seed: the mean over its draws."""
    return [float(np.mean(c["re-randomised"][layer])) for c in cells]


def _row(name: str, values: list[str]) -> str:
    return "| " + " | ".join([name, *values]) + " |"


def plot(cells: list[dict[str, Any]], path: Path) -> None:
    """Two heat maps, as in the paper's figure: error and distance by layer."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    times = [str(t) for t in (0, *KEPT)]
    errors = np.array([[np.mean(_draws(cells, i)), *(_mean(cells, t, i) for t in times)] for i in range(4)])
    names = ("l2 relative", "linf")
    moved = np.array([[np.mean([c[n][i] for c in cells]) for n in names] for i in range(4)])
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), dpi=100, width_ratios=(4, 1.3), layout="constrained")
    for axis, values, columns, title in (
        (axes[0], errors, ["fresh draw", *(f"epoch {t}" for t in times)], "test error with one layer put back"),
        (axes[1], moved, ["L2, relative", "greatest"], "distance from step 0"),
    ):
        axis.imshow(values, cmap="magma_r", vmin=0, aspect="auto")
        axis.set_xticks(range(len(columns)), columns, rotation=35, ha="right")
        axis.set_yticks(range(4), LAYERS)
        axis.set_title(title)
        for (row, column), value in np.ndenumerate(values):
            dark = value > 0.6 * values.max()
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if dark else "black")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def _mean(cells: list[dict[str, Any]], epoch: str, layer: int) -> float:
    return float(np.mean([c["re-initialised"][epoch][layer] for c in cells]))


def described(recipe: Recipe, cells: list[dict[str, Any]]) -> str:
    """Caption, table and verdicts of one recipe."""
    errors = [shown(interval([c[name] for c in cells]), 4) for name in ("test error", "training error")]
    passes = 2 * EPOCHS * -(-60_000 // BATCH)
    return "\n".join(
        [
            f"Recipe {recipe}: {len(cells)} seeds, {EPOCHS} epochs of {BATCH} = {passes} passes, {DRAWS} draws;"
            f" seconds {[c['seconds'] for c in cells]}",
            f"test error {errors[0]}, training error {errors[1]}\n",
            f"{table(cells)}\n\n{verdicts(cells)}\n",
        ]
    )


def main(options: argparse.Namespace) -> None:
    """All seeds, then table, verdicts and plot."""
    data = standardised_mnist()
    study = Study(options.out, {**asdict(RECIPE), "epochs": EPOCHS, "batch": BATCH, "draws": DRAWS})
    cells = [
        study.cell(f"{RECIPE.name}-seed{seed}", partial(cell, RECIPE, seed, data, options.out / "weights"))
        for seed in range(options.seeds)
    ]
    text = f"FCN 3x256, MNIST; {machine()}\n{described(RECIPE, cells)}"
    print(text)
    (options.out / "table.md").write_text(text)
    plot(cells, options.out / PLOT)


if __name__ == "__main__":
    main(study_options(__doc__, "layers"))
