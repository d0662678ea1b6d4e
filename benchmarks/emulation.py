"""How true emulated precision is: against engines that really compute in it, and what it costs.

    python -m benchmarks.emulation examples/roadlines/robust.toml --seed 9000 --count 4 --seconds 3
    python -m benchmarks.emulation examples/twinlitenet/torch.toml --cases cases_twinlitenet --frames 80
    python -m benchmarks.emulation examples/roadlines/robust.toml --cuda      # on a machine with an NVIDIA GPU

Every engine's error is against the fp32 engine of its own runtime. Prints Markdown tables: the ratio of RMS errors, of
the distributions of bend (with the 5 to 95 % range over resampled frames), and how far the two engines err on the same
frames (rank correlation of the largest bend of each frame). The last rows compare two real engines with each other: no
emulation can be expected to agree with one better than the other does. `--cuda` does the same against the GPU's fp16
and TF32, and shows by single products which TF32 rounding the GPU has.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

import engines
from benchmarks.engines import case_options, cases_of, run_on, summary
from cases.case import open_case
from engines.emulated.formats import FORMATS
from harness.feed.inputs import InputBuilder, cameras_of
from harness.model.card import Card, load_card
from harness.run.folder import Run

FP32 = ("torch-fp32", "ort-fp32", "openvino-fp32")
REAL = ("torch-fp16", "openvino-fp16", "torch-bf16", "openvino-bf16")
GPU = ("torch-fp32@cuda", "torch-tf32", "torch-fp16@cuda", "torch-bf16@cuda")
EMULATED = (
    "emulated-fp16", "emulated-fp16-fused", "emulated-fp16:unfolded", "emulated-fp16-fused:late-fold",
    "emulated-fp16:chunk16", "emulated-bf16", "emulated-bf16:unfolded", "emulated-tf32", "emulated-tf32:rna",
    "emulated-tf32:rz",
)  # fmt: skip
COST = (*EMULATED, "emulated-reorder")
ROUNDS = 15
RESAMPLES = 400


def precision(engine: str) -> str:
    """fp16, bf16, tf32 or fp32."""
    return next(word for word in ("fp16", "bf16", "tf32", "fp32") if word in engine)


def agreement(run: Run) -> str:
    """Ratios of two engines of one precision: RMS error of each output, p50, p99 and max of bend; rank correlation."""
    rungs = {r["engine"]: (r["name"], r["parent"]) for r in run.rungs if r["status"] == "ok"}
    real = [e for e in (*REAL, *GPU) if e in rungs and "fp32" not in e]
    emulated = [e for e in EMULATED if e in rungs]
    rows = [
        "| engine | against | RMS error | bend p50 | bend p99 | bend max | rank correlation |",
        "|---|---|---|---|---|---|---|",
    ]
    for one, other in [*itertools.product(emulated, real), *itertools.combinations(real, 2)]:
        if precision(one) == precision(other):
            figures = " | ".join(compared(run, rungs[one], rungs[other]))
            rows.append(f"| `{one}` | `{other}` | {figures} |")
    return "\n".join(rows)


def compared(run: Run, one: tuple[str, str], other: tuple[str, str]) -> list[str]:
    """The figures of one row; each engine is its rung and the rung of its fp32."""
    from scipy.stats import spearmanr

    errors = [rms_errors(run, *rung) for rung in (one, other)]
    ratios = ", ".join(f"{output} {errors[0][output] / errors[1][output]:.2f}" for output in errors[0])
    both = bends(run, *one).join(bends(run, *other), on=["case", "frame"], suffix="_other").sort("case", "frame")
    largest = both.select(pl.col("bend", "bend_other").list.max())
    rank = spearmanr(largest["bend"], largest["bend_other"]).statistic
    return [ratios, *bend_ratios(both["bend"].to_list(), both["bend_other"].to_list()), f"{rank:.2f}"]


def bend_ratios(one: list[list[float]], other: list[list[float]]) -> list[str]:
    """Ratios of p50, p99 and max, each with its 5 to 95 % over resampled frames."""
    random = np.random.default_rng(0)

    def ratios(frames: NDArray[np.intp]) -> NDArray[np.float64]:
        levels = [np.quantile(np.concatenate([b[k] for k in frames]), (0.5, 0.99, 1)) for b in (one, other)]
        return np.asarray(levels[0] / levels[1])

    every = np.arange(len(one))
    resampled = [ratios(random.choice(every, len(every))) for _ in range(RESAMPLES)]
    bounds = np.quantile(resampled, (0.05, 0.95), axis=0).T
    return [f"{r:.2f} ({low:.2f} to {high:.2f})" for r, (low, high) in zip(ratios(every), bounds, strict=True)]


def rms_errors(run: Run, rung: str, parent: str) -> dict[str, float]:
    """RMS over frames of each output's relative RMS error."""
    own = run.read("tensor_metrics").filter(rung=rung, reference=parent)
    pooled = own.group_by("output").agg((pl.col("rel_rms") ** 2).mean().sqrt()).sort("output")
    return dict(pooled.rows())


def bends(run: Run, rung: str, parent: str) -> pl.DataFrame:
    """Bend of every line and band, as one list a frame."""
    own = run.read("line_metrics").filter(rung=rung, reference=parent)
    return own.with_columns(pl.col("bend").fill_nan(None)).drop_nulls("bend").group_by("case", "frame").agg("bend")


def cost(card: Card, case: Path, names: Sequence[str], cache: Path) -> str:
    """Processor time of one thread in units of `ort-fp32`, the engines taking turns: median of the rounds' ratios."""
    opened = {name: engines.open(name, card.source(cache), threads=1) for name in ("ort-fp32", *names)}
    ticks = itertools.islice(open_case(case).ticks(cameras_of(card)), ROUNDS)
    inputs = [InputBuilder(card, open_case(case), "deploy")(tick) for tick in ticks]
    repeats = max(1, round(0.05 / seconds(opened["ort-fp32"], inputs[0], 2)))
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for engine in opened.values():
        seconds(engine, inputs[0], 1)
    for tensors in inputs:
        taken = {name: seconds(engine, tensors, repeats) for name, engine in opened.items()}
        for name in names:
            ratios[name].append(taken[name] / taken["ort-fp32"])
    rows = ["| engine | x `ort-fp32` | 5 to 95 % of rounds |", "|---|---|---|"]
    for name, measured in ratios.items():
        low, middle, high = np.quantile(measured, (0.05, 0.5, 0.95))
        rows.append(f"| `{name}` | {middle:.2f} | {low:.2f} to {high:.2f} |")
    return "\n".join([f"{len(inputs)} rounds of {repeats}", "", *rows])


def seconds(engine: engines.protocol.Engine, tensors: engines.protocol.Tensors, repeats: int) -> float:
    """Processor time of one call."""
    start = time.process_time()
    for _ in range(repeats):
        engine.infer(tensors)
    return (time.process_time() - start) / repeats


def tf32_rounding(device: str) -> str:
    """Which rounding of its operands explains the GPU's products: of many, with a second factor of one."""
    import torch

    x = np.random.default_rng(0).standard_normal((512, 256)).astype(np.float32)
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    got = (torch.tensor(x, device=device) @ torch.eye(256, device=device)).cpu().numpy()
    names = [name for name in FORMATS if name.startswith("tf32")]
    shares = [f"{name} {np.mean(FORMATS[name].array(x) == got):.1%}" for name in names]
    return f"Operands of a TF32 product are rounded as {', '.join(shares)}; unrounded {np.mean(x == got):.1%}."


def overflow(device: str) -> str:
    """80 x x 1e-3 in real fp16: infinite on the way, where emulated fp16 says it is."""
    import torch

    x = torch.tensor([80.0, 1, 28, 29], dtype=torch.float16, device=device)
    return f"80 * x * x * 1e-3 in fp16 at x = 80, 1, 28, 29: {((80 * x * x) * 1e-3).tolist()}"


def main() -> None:
    """Print agreement and cost, or with --cuda the comparison with the GPU."""
    if len(sys.argv) < 2 or not sys.argv[1].endswith(".toml"):
        print("usage: python -m benchmarks.emulation CARD [--cuda] [--cases DIR --frames N | --seed S ...]")
        return
    parser = argparse.ArgumentParser()
    case_options(parser)
    parser.add_argument("--cuda", action="store_true", help="against the GPU's TF32, fp16 and bf16")
    parser.add_argument("--precision", choices=("fp16", "bf16", "tf32"), help="only engines of this one")
    parser.add_argument("--out", type=Path, help="work here and keep it; with --cases, a run that was killed goes on")
    options = parser.parse_args()
    card = load_card(options.card)
    if options.cuda and not cuda_ready():
        return
    with tempfile.TemporaryDirectory() as name:
        folder = options.out or Path(name)
        cases = cases_of(options, folder / "cases")
        real = [
            e
            for e in (GPU if options.cuda else REAL)
            if not options.precision or precision(e) in (options.precision, "fp32")
        ]
        chosen = [e for e in EMULATED if precision(e) in map(precision, real)]
        run = run_on(card, cases, [*FP32, *real, *chosen], folder)
        print(summary(run), agreement(run), sep="\n", flush=True)
        if not options.cuda:
            print("", cost(card, cases[0], COST, folder / "cache"), sep="\n")


def cuda_ready() -> bool:
    """Whether PyTorch sees a GPU; says which, what it rounds to, or that there is none."""
    import torch

    if not torch.cuda.is_available():
        print(f"not run on a GPU: this PyTorch ({torch.__version__}) sees no CUDA GPU")
        return False
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}", tf32_rounding("cuda"), sep="\n")
    print(overflow("cuda"))
    return True


if __name__ == "__main__":
    main()
