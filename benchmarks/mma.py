"""Emulated tensor cores: are they exact, how fast are they, and how far do they move lines?

    python -m benchmarks.mma steps --count 1000000       # every architecture and type, against exact arithmetic
    python -m benchmarks.mma parity CARD --elements 1000 # random elements of a whole network against scalar chains
    python -m benchmarks.mma speed CARD                  # products a second of one core, gathering of windows included
    python -m benchmarks.mma lines CARD [--cases DIR --frames N | --seed S --count K --seconds T]

`lines` takes the way from fp32 to tensor cores apart: (a) operands and storage, (b) accumulation, (c) order; with
TensorRT for RTX and AutoCast installed, with storage by the compiled plan too. Times are processor time of one thread.
Tables: docs/engines.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import engines
from benchmarks.engines import case_options, cases_of, run_on, summary, table
from benchmarks.mma_reference import (
    FP16_SMALLEST,
    FP32_SMALLEST,
    chain,
    dyadic,
    element_pairs,
    step,
    step_cases,
    whole_step,
)
from engines.mma import engine as engine_module
from engines.mma.arithmetic import ARCHITECTURES, SMALLEST_EXPONENT, step_of
from engines.mma.chain import Arithmetic
from engines.mma.products import PRODUCTS
from harness.model.card import Card, load_card

SPEED = (
    "emulated-mma-fp16:ampere", "emulated-mma-fp16:hopper", "emulated-mma-fp16:ampere-acc16", "emulated-mma-fp16:volta",
    "emulated-mma-bf16:ampere", "emulated-mma-bf16:hopper", "emulated-mma-tf32:ampere", "emulated-mma-tf32:hopper",
)  # fmt: skip
MOVED = (
    "ort-fp32", "emulated-fp16-fused", "emulated-mma-fp16:ampere", "emulated-mma-fp16:hopper",
    "emulated-mma-fp16:ampere-acc16", "emulated-bf16-fused", "emulated-mma-bf16:ampere", "emulated-tf32:rz",
    "emulated-mma-tf32:ampere",
)  # fmt: skip
PLANNED = ("emulated-fp16:plan", "emulated-mma-fp16-plan:ampere", "emulated-mma-fp16-plan:hopper")
ORDER_REFERENCE = "emulated-mma-fp16:ampere"
ORDERS = tuple(f"{ORDER_REFERENCE}-order{seed}" for seed in (1, 2, 3))
ROWS = 100


def check_steps(count: int) -> Iterator[str]:
    """One row for each step that differs from all others: how many steps were tried, how many differ in a bit."""
    yield "| architectures | operands | accumulator | steps | not bit-equal | infinite | NaN | subnormal | zero |"
    yield "|---|---|---|---|---|---|---|---|---|"
    alike: dict[Any, list[str]] = {}
    for architecture, (_, kinds) in ARCHITECTURES.items():
        for kind in kinds:
            for half in (False, True) if kind == "fp16" else (False,):
                key = (kind, step_of(architecture, kind, half_accumulator=half))
                alike.setdefault(key, []).append(architecture)
    for (kind, step_), names in alike.items():
        found = sum((_batch(kind, step_, seed) for seed in range(-(-count // ROWS**2))), Counter())
        told = " | ".join(str(found[key]) for key in ("steps", "wrong", "infinite", "nan", "subnormal", "zero"))
        yield f"| {', '.join(names)} | {kind} | {'fp16' if step_.half_accumulator else 'fp32'} | {told} |"


def _batch(kind: str, step_: Any, seed: int) -> Counter[str]:
    a, b, c = step_cases(kind, step_, ROWS, ROWS, seed)
    want = exact_steps(kind, step_, a, b, c)
    index = np.arange(ROWS)
    got = Arithmetic(kind, step_).accumulate(a, b.reshape(-1), index, np.arange(len(b)) * ROWS, c)
    nan = np.isnan(want)
    wrong = np.where(nan, got.view(np.uint32) != 0x7FFFFFFF, got.view(np.uint32) != want.view(np.uint32))
    smallest = 2.0**-14 if step_.half_accumulator else 2.0**-126
    subnormal = (np.abs(want) < smallest) & (want != 0)
    kinds = {"wrong": wrong, "infinite": np.isinf(want), "nan": nan, "subnormal": subnormal, "zero": want == 0}
    return Counter({"steps": want.size, **{key: int(mask.sum()) for key, mask in kinds.items()}})


def exact_steps(kind: str, step_: Any, a: Any, b: Any, c: Any) -> Any:
    """Every row of a with every column of b on its accumulator, one after the other."""
    smallest = SMALLEST_EXPONENT[kind]
    finite_rows, finite_columns = np.isfinite(a).all(1), np.isfinite(b).all(0)
    rows, columns = a.tolist(), b.T.tolist()
    left, right = (dyadic(np.where(np.isfinite(x), x, 0), smallest) for x in (a, b.T))
    before = dyadic(np.where(np.isfinite(c), c, 0), FP16_SMALLEST if step_.half_accumulator else FP32_SMALLEST)
    want = np.empty(c.shape, np.float32)
    for m, n in np.ndindex(c.shape):
        if finite_rows[m] and finite_columns[n] and np.isfinite(c[m, n]):
            want[m, n] = whole_step(step_, left[m], right[n], before[m][n])
        else:
            want[m, n] = step(step_, kind, rows[m], columns[n], float(c[m, n]))
    return want


class Watched:
    """The products of an engine, with what goes in and comes out, and the processor time they take."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Arithmetic, dict[str, Any], Any, Any, Any, Any]] = []
        self.seconds: Counter[str] = Counter()
        engine_module.PRODUCTS = {op_type: self._wrap(op_type) for op_type in PRODUCTS}

    def _wrap(self, op_type: str) -> Any:
        def run(arithmetic: Arithmetic, attributes: dict[str, Any], x: Any, w: Any, bias: Any = None) -> Any:
            start = time.process_time()
            out = PRODUCTS[op_type](arithmetic, attributes, x, w, *([] if bias is None else [bias]))
            self.seconds[arithmetic.kind] += time.process_time() - start
            self.calls.append((op_type, arithmetic, attributes, x, w, bias, out))
            return out

        return run

    def forget(self) -> None:
        """Before another frame."""
        self.calls.clear()
        self.seconds.clear()


def frame_of(card: Card) -> dict[str, Any]:
    """Random numbers in [0, 1) for every input."""
    rng = np.random.default_rng(0)
    shapes = {spec.name: tuple(n if isinstance(n, int) else 1 for n in spec.shape) for spec in card.source().inputs}
    return {name: rng.random(shape, np.float32) for name, shape in shapes.items()}


def check_parity(card: Card, names: tuple[str, ...], elements: int) -> Iterator[str]:
    """Random elements of random products of a network, as scalar chains of exact arithmetic."""
    yield "| engine | elements | products of the network | not bit-equal |"
    yield "|---|---|---|---|"
    watched, rng = Watched(), np.random.default_rng(0)
    for name in names:
        engine = engines.open(name, card.source(), threads=1)
        watched.forget()
        engine.infer(frame_of(card))
        calls = [call for call in watched.calls if call[1].step is not None]
        wrong = 0
        for _ in range(elements):
            op_type, arithmetic, attributes, x, w, bias, out = calls[rng.integers(len(calls))]
            place = tuple(int(rng.integers(size)) for size in out.shape)
            operands = arithmetic.operand(x), arithmetic.operand(w)
            total = np.float32(
                chain(arithmetic.step, arithmetic.kind, [*element_pairs(op_type, attributes, *operands, place)])
            )
            if op_type == "Gemm":
                total = total * np.float32(attributes.get("alpha", 1.0))
            added = None if bias is None else bias[place[1] if op_type != "Gemm" else place[-1]]
            wrong += (total if added is None else total + np.float32(added)) != out[place]
        yield f"| `{name}` | {elements} | {len(calls)} | {wrong} |"


def check_speed(card: Card, names: tuple[str, ...], rounds: int = 3) -> Iterator[str]:
    """Products a second of one core over a whole frame: the least of some rounds."""
    yield "| engine | products a frame, G | products, G/s | whole frame, s | share of products |"
    yield "|---|---|---|---|---|"
    watched, tensors = Watched(), frame_of(card)
    for name in names:
        engine = engines.open(name, card.source(), threads=1)
        engine.infer(tensors)  # compiles
        times = []
        for _ in range(rounds):
            watched.forget()
            start = time.process_time()
            engine.infer(tensors)
            times.append((sum(watched.seconds.values()), time.process_time() - start))
        products, whole = min(times)
        count = sum(engine.provenance["multiplications"].values()) / 1e9
        yield f"| `{name}` | {count:.2f} | {count / products:.2f} | {whole:.2f} | {products / whole:.0%} |"


def check_lines(card: Card, options: argparse.Namespace) -> Iterator[str]:
    """Two tables: every engine against its parent; other orders against the documented one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = cases_of(options, folder / "cases")
        stored = PLANNED if all(engines.availability(name)[0].available for name in PLANNED) else ()
        run = run_on(card, cases, (*MOVED, *stored), folder / "moved")
        yield from (summary(run), table(run), "")
        yield f"Other orders of K against `{ORDER_REFERENCE}`:\n"
        reference = f"deploy/{ORDER_REFERENCE}"
        about = card.model_copy(update={"reference": reference})
        yield table(run_on(about, cases, (ORDER_REFERENCE, *ORDERS), folder / "orders"), reference)


def main() -> None:
    """One of the four checks."""
    if len(sys.argv) < 2 or sys.argv[1] not in ("steps", "parity", "speed", "lines"):
        print("usage: python -m benchmarks.mma steps | parity CARD | speed CARD | lines CARD")
        return
    what = sys.argv.pop(1)
    parser = argparse.ArgumentParser()
    if what == "steps":
        parser.add_argument("--count", type=int, default=ROWS**2)
        rows = check_steps(parser.parse_args().count)
    else:
        case_options(parser)
        parser.add_argument("--elements", type=int, default=1000)
        parser.add_argument("--engines", default="", help="joined by commas")
        options = parser.parse_args()
        card, names = load_card(options.card), tuple(filter(None, options.engines.split(",")))
        if what == "lines":
            rows = check_lines(card, options)
        elif what == "speed":
            rows = check_speed(card, names or SPEED)
        else:
            rows = check_parity(card, names or (SPEED[0], SPEED[1], SPEED[2], SPEED[4], SPEED[6]), options.elements)
    for row in rows:
        print(row, flush=True)


if __name__ == "__main__":
    main()
