"""Every engine that runs here on one model: what each does to tensors and lines, against the rung above it.

    python -m benchmarks.engines examples/roadlines/robust.toml --seed 9000 --count 2 --seconds 2
    python -m benchmarks.engines examples/twinlitenet/model.toml --cases cases_twinlitenet --frames 20

Prints a Markdown table (docs/engines.md has it) and how well emulated fp16 stands for real fp16: the distribution of
bend, and the rank correlation of bend frame by frame.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

import engines
from cases.case import Case, find_cases, open_case
from cases.schema import CameraMeta
from cases.synth import synth_cases
from cases.writer import CaseWriter
from harness.card import Card, load_card
from harness.inputs import InputBuilder, cameras_of
from harness.replay import replay
from harness.run import Run

ENGINES = (
    "torch-fp32", "torch-bf16", "torch-fp16", "ort-fp32-none", "ort-fp32", "openvino-fp32", "openvino-fp16",
    "openvino-bf16", "emulated-tf32", "emulated-fp16", "emulated-fp16-fused", "emulated-bf16", "emulated-reorder",
)  # fmt: skip
DUMP_ENGINE = "ort-fp32"
EMULATED = ("emulated-fp16", "emulated-fp16-fused")
REAL = ("torch-fp16", "openvino-fp16")


def shortened(case: Case, frames: int, out: Path) -> Path:
    """The first frames of a case as an image case, which plays like the whole one."""
    import cv2

    from cases.picture import Tick
    from harness.preprocess.colour import to_rgb_u8

    camera = case.cameras[0]
    ticks: list[Tick] = list(case.ticks([camera], stop=frames))
    picture = ticks[0].pictures[camera]
    with CaseWriter(out, id=f"{case.id}_{frames}", fps=case.fps, lossy=case.meta.lossy, tags=case.meta.tags) as writer:
        meta = CameraMeta(kind="images", pixel_format="rgb24", width=picture.width, height=picture.height)
        folder = writer.add_camera(camera, meta) / "images"
        folder.mkdir(exist_ok=True)
        for k, tick in enumerate(ticks):
            cv2.imwrite(str(folder / f"{k:06d}.png"), to_rgb_u8(tick.pictures[camera])[..., ::-1])
        writer.set_frames(case.frames.head(len(ticks)).with_columns(pl.Series("index", range(len(ticks)))))
    return out / f"{case.id}_{frames}"


def with_dump(card: Card, folder: Path, cache: Path) -> None:
    """Give a case the outputs of DUMP_ENGINE under the deploy pipeline, as a car would have dumped them."""
    from cases.writer import seal_case

    case = open_case(folder)
    engine, build = engines.open(DUMP_ENGINE, card.source(cache)), InputBuilder(card, case, "deploy")
    dump = folder / "outputs" / "car"
    dump.mkdir(parents=True)
    for tick in case.ticks(cameras_of(card)):
        np.savez(dump / f"{tick.timestamp_ns}.npz", **engine.infer(build(tick)))  # type: ignore[arg-type]  # numpy's stub
    engine.close()
    text = (folder / "case.toml").read_text()
    (folder / "case.toml").write_text(text + '\n[outputs.car]\npath = "outputs/car"\ntolerance_ms = 5.0\n')
    seal_case(folder)


def table(run: Run) -> str:
    """One row per engine of the deploy pipeline, against its parent; lengths in the run's unit."""
    lines, tensors, latency = run.read("line_metrics"), run.read("tensor_metrics"), run.read("latency")
    p50 = dict(latency.group_by("rung").agg(pl.col("p50_ms").median()).rows())
    rows = [
        "| rung | against | RMS error | bend p50 | bend p99 | bend max | offset max | ms | x ort-fp32 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    base = p50.get("deploy/ort-fp32", float("nan"))
    for rung in run.rungs:
        name, parent = rung["name"], rung["parent"]
        if not name.startswith("deploy/") or rung["status"] != "ok":
            continue
        own = lines.filter(rung=name, reference=parent)
        rms = tensors.filter(rung=name, reference=parent)["rel_rms"].max()
        bend = own["bend"].drop_nulls()
        figures = [rms, bend.quantile(0.5), bend.quantile(0.99), bend.max(), own["offset_max"].max()]
        shown = " | ".join("-" if f is None else f"{f:.2g}" for f in figures)
        ms = p50.get(name, float("nan"))
        rows.append(f"| {name} | {parent} | {shown} | {ms:.2f} | {ms / base:.2f} |")
    return "\n".join(rows)


def agreement(run: Run) -> str:
    """Emulated against real fp16: RMS error, bend and its rank correlation frame by frame, each against its parent."""
    from scipy.stats import spearmanr

    lines, tensors = run.read("line_metrics"), run.read("tensor_metrics")
    parents = {r["engine"]: (r["name"], r["parent"]) for r in run.rungs if r["name"].startswith("deploy/")}

    def per_frame(engine: str) -> pl.DataFrame:
        name, parent = parents[engine]
        own = lines.filter(rung=name, reference=parent)
        return own.group_by("case", "frame").agg(pl.col("bend").max()).sort("case", "frame").drop_nulls()

    rows = ["| emulated | real | RMS ratio | bend p50, p99, max ratio | rank correlation |", "|---|---|---|---|---|"]
    for emulated in (e for e in EMULATED if e in parents):
        for real in (e for e in REAL if e in parents):
            rms = [
                tensors.filter(rung=parents[e][0], reference=parents[e][1])["rel_rms"].median()
                for e in (emulated, real)
            ]
            both = per_frame(emulated).join(per_frame(real), on=["case", "frame"], suffix="_real")
            ratios = [both["bend"].quantile(q) / both["bend_real"].quantile(q) for q in (0.5, 0.99, 1.0)]
            rank = spearmanr(both["bend"], both["bend_real"]).statistic
            shown = ", ".join(f"{r:.2f}" for r in ratios)
            rows.append(f"| {emulated} | {real} | {rms[0] / rms[1]:.2f} | {shown} | {rank:.2f} |")
    return "\n".join(rows)


def main() -> None:
    """Run the matrix and print both tables."""
    if len(sys.argv) < 2 or not sys.argv[1].endswith(".toml"):
        print("usage: python -m benchmarks.engines CARD [--cases DIR --frames N | --seed S --count K --seconds T]")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("card", type=Path)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--seed", type=int, default=9000)
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    card = load_card(options.card)
    here = {a.name for a in engines.availability() if a.available}
    chosen = [e for e in ENGINES if e in here and (card.torch is not None or not e.startswith("torch"))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.cases is None:
            cases = synth_cases(options.seed, options.count, options.seconds, folder / "cases")
        else:
            cases = [shortened(open_case(c), options.frames, folder / "cases") for c in find_cases([options.cases])]
        for case in cases:
            with_dump(card, case, folder / "cache")
        run = replay(
            card, cases, engines=[*chosen, "recorded"], preprocess=["deploy"], out=folder / "run", steps=False,
            cache=folder / "cache",
        )  # fmt: skip
        print(f"{card.name}: {len(cases)} cases, {sum(c['frames'] for c in run.meta['cases'])} frames\n")
        print(table(run), agreement(run), sep="\n\n")
        shutil.rmtree(folder / "run")


if __name__ == "__main__":
    main()
