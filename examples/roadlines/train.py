"""Trains one candidate of the demo model on the synthetic road.

    python examples/roadlines/train.py --candidate baseline --work build/roadlines
    python examples/roadlines/train.py --candidate robust --work build/roadlines
    python examples/roadlines/train.py --candidate cubic --work build/roadlines --start robust.safetensors \
        --scenes 100 --steps 600 --rate 1e-3 --decay 0.98

`baseline` and `robust` see the same scenes, mirrored at random, for the same number of steps from the same start.
`baseline` sees only the train pipeline. `robust` sees for every second picture a random mixture of ways to preprocess,
with random light, contrast, noise and softness, and its weights are an exponential moving average
(torch.optim.swa_utils). `cubic` learns as `robust` does, with the head of cubic.py, on from the weights of `robust`.
The work folder keeps the rendered pictures: a stopped run goes on where rendering stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from cubic import CubicRoadLines
from data import MIXTURES, TRAINING_SEED, VALIDATION_SEED, Samples, load_samples, make_samples
from network import RoadLines
from rich.progress import Progress, TaskID
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from harness.model.card import load_card
from techniques.photometric import disturbed

HERE = Path(__file__).resolve().parent
RATE, EMA_DECAY = 4e-3, 0.998
VALIDATION_SCENES = 25
MEAN, STD = 0.45, 0.25  # as in the cards


def main() -> None:
    """Render, train, validate, write the weights."""
    options = _options()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    label = f"training {options.candidate}"
    with Progress() as bar:
        samples, held_out = _rendered(options, bar)
        task = bar.add_task(label, total=options.steps)
        started = time.perf_counter()

        def tell(loss: float) -> None:
            bar.update(task, advance=1, description=f"{label}, loss {loss:.3f}")

        robust = options.candidate != "baseline"
        model = train(
            samples, options.steps, options.batch, robust, tell, started_model(options), options.rate, options.decay
        )
    print(f"trained in {time.perf_counter() - started:.0f} s")
    for variant, name in enumerate(("train pipeline", "random pipelines")):
        print(f"validation, {name}: {lateral_error(model, held_out, variant):.3f} m within 40 m")
    out = options.out or HERE / f"{options.candidate}.safetensors"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, out)
    print(f"weights: {out}")


def _rendered(options: argparse.Namespace, bar: Progress) -> tuple[Samples, Samples]:
    """Training and validation samples; what the work folder lacks is rendered."""
    card = load_card(HERE / f"{options.candidate}.toml")
    wanted = ((options.scenes, TRAINING_SEED), (VALIDATION_SCENES, VALIDATION_SEED))
    for scenes, seed in wanted:
        task = bar.add_task("rendering", total=None)

        def tell(_: str, done: int, total: int, task: TaskID = task) -> None:
            bar.update(task, completed=done, total=total)

        make_samples(card, options.work, scenes, first_seed=seed, progress=tell)
    variants = 1 if options.candidate == "baseline" else 1 + MIXTURES
    return (
        load_samples(options.work, options.scenes, variants=variants),
        load_samples(options.work, VALIDATION_SCENES, first_seed=VALIDATION_SEED),
    )


def started_model(options: argparse.Namespace) -> RoadLines:
    """The candidate's network, with fresh weights or those of --start that it has too."""
    model = CubicRoadLines() if options.candidate == "cubic" else RoadLines()
    if options.start:
        given = load_file(HERE / options.start)
        lacking, _ = model.load_state_dict({k: v for k, v in given.items() if k in model.state_dict()}, strict=False)
        assert not lacking, lacking
    return model


def train(
    samples: Samples,
    steps: int,
    batch: int,
    robust: bool,
    tell: Callable[[float], None],
    model: RoadLines | None = None,
    rate: float = RATE,
    decay: float = EMA_DECAY,
) -> RoadLines:
    """The trained network, in evaluation mode; a fresh one where none is given."""
    model = (model or RoadLines()).to(memory_format=torch.channels_last).train()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True) if robust else None
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.15)
    for image, lines in _batches(samples, steps, batch, robust):
        loss = loss_of(model, image, lines)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        if average is not None:
            average.update_parameters(model)
        tell(float(loss.detach()))
    return (average.module if average is not None else model).eval()


def loss_of(model: RoadLines, image: Tensor, lines: Tensor) -> Tensor:
    """Lateral error weighted towards the vehicle, its slope, presence, and the column each visible point lies in."""
    y_m, presence, logits = model.parts(image)
    there = torch.isfinite(lines)
    truth = torch.where(there, lines, 0)
    weight = there / (1 + model.station_m / 20)
    lateral = (F.smooth_l1_loss(y_m, truth, beta=0.1, reduction="none") * weight).sum() / weight.sum()
    bent = F.smooth_l1_loss(y_m.diff(n=2), truth.diff(n=2), beta=0.05, reduction="none")
    smooth = (bent * weight[..., 1:-1]).sum() / weight.sum()
    score = F.binary_cross_entropy_with_logits(presence, there[..., 0].float())
    return lateral + smooth + 0.2 * score + 0.1 * _column_loss(model, logits, truth, there)


def _column_loss(model: RoadLines, logits: Tensor, truth: Tensor, there: Tensor) -> Tensor:
    """Cross entropy of the column softmax against the two columns around the true one, where the camera sees it."""
    column = (model.column_m[:, 0] - truth) / model.cell_m[:, 0]
    inside = there & (column >= 0) & (column <= logits.shape[-1] - 1)
    near = (1 - (column[..., None] - torch.arange(logits.shape[-1])).abs()).clamp(min=0)
    entropy = -(near * torch.log_softmax(logits, dim=-1)).sum(-1)
    return (entropy * inside).sum() / inside.sum()


def _batches(samples: Samples, steps: int, batch: int, robust: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled epochs; both candidates draw the same pictures in the same order."""
    order, augment = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    images, lines = torch.from_numpy(samples.images), torch.from_numpy(samples.lines)
    queue = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(queue) < batch:
            queue = torch.cat([queue, torch.randperm(len(images), generator=order)])
        rows, queue = queue[:batch], queue[batch:]
        mirror = torch.rand(batch, generator=order) < 0.5
        variant = _variants(batch, images.shape[1], augment)
        image = images[rows, variant].float() / 255
        if robust:
            image = disturbed(image, augment)
        image, truth = _mirrored(image, lines[rows], mirror)
        yield ((image - MEAN) / STD).contiguous(memory_format=torch.channels_last), truth


def _variants(batch: int, variants: int, generator: torch.Generator) -> Tensor:
    """The train pipeline for every second picture, else one of the mixtures."""
    mixture = 1 + torch.randint(max(variants - 1, 1), (batch,), generator=generator)
    plain = torch.rand(batch, generator=generator) < 0.5
    return torch.where(plain | (variants == 1), 0, mixture)


def _mirrored(image: Tensor, lines: Tensor, mirror: Tensor) -> tuple[Tensor, Tensor]:
    """Left and right exchanged in picture and lines; the principal point is the picture's middle, so this is exact."""
    image = torch.where(mirror[:, None, None, None], image.flip(-1), image)
    return image, torch.where(mirror[:, None, None], -lines.flip(1), lines)


@torch.no_grad()
def lateral_error(model: RoadLines, samples: Samples, variant: int) -> float:
    """Mean lateral error over all true lines and stations up to 40 m, metres."""
    errors = []
    for start in range(0, len(samples.images), 64):
        image = torch.from_numpy(samples.images[start : start + 64, variant]).float() / 255
        y_m, _, _ = model.parts((image - MEAN) / STD)
        truth = torch.from_numpy(samples.lines[start : start + 64])
        near = model.station_m <= 40
        errors.append((y_m - truth).abs()[..., near].flatten())
    return float(torch.cat(errors).nanmean())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidate", choices=("baseline", "robust", "cubic"), required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the rendered pictures")
    parser.add_argument("--out", type=Path, help="weights to write; default beside this script")
    parser.add_argument("--seed", type=int, default=0, help="of the network's start")
    parser.add_argument("--scenes", type=int, default=1000, help="training scenes, 8 pictures each")
    parser.add_argument("--steps", type=int, default=2600, help="optimiser steps")
    parser.add_argument("--rate", type=float, default=RATE, help="largest learning rate")
    parser.add_argument(
        "--decay", type=float, default=EMA_DECAY, help="of the moving average, a step; less for a short run"
    )
    parser.add_argument("--start", type=Path, help="weights beside this script to begin with")
    parser.add_argument("--batch", type=int, default=32, help="pictures a step")
    parser.add_argument("--threads", type=int, default=1, help="of torch; the committed weights were made with 1")
    return parser.parse_args()


if __name__ == "__main__":
    main()
