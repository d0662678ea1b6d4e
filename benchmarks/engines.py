"""Every engine that runs here on one model: what each does to tensors and lines, against the rung above it.

    python -m benchmarks.engines examples/roadlines/robust.toml --seed 9000 --count 4 --seconds 3
    python -m benchmarks.engines examples/twinlitenet/torch.toml --cases cases_twinlitenet --frames 20
    python -m benchmarks.engines CARD --engines ort-fp32,emulated-fp16,emulated-fp16:plan

Prints a Markdown table (docs/evidence/engines.md). How well emulated precision stands for real precision is another
question: benchmarks/emulation.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

import engines
from cases.case import Case, find_cases, open_case
from cases.schema import CameraMeta
from cases.synth import synth_cases
from cases.writer import CaseWriter
from harness.feed.inputs import InputBuilder, cameras_of
from harness.model.card import Card, load_card
from harness.replay.replay import replay
from harness.run.folder import Run

ENGINES = (
    "torch-fp32", "torch-fp16", "torch-bf16", "torch-autocast-fp16", "torch-autocast-bf16", "torch-compile",
    "ort-fp32-none", "ort-fp32-basic", "ort-fp32-extended", "ort-fp32", "openvino-fp32", "openvino-fp16",
    "openvino-bf16", "emulated-tf32", "emulated-tf32:rz", "emulated-fp16", "emulated-fp16-fused",
    "emulated-fp16:chunk16", "emulated-bf16", "emulated-reorder",
)  # fmt: skip
DUMP_ENGINE = "ort-fp32"


def shortened(case: Case, frames: int, out: Path) -> Path:
    """The first frames of a case as an image case, which plays like the whole one; made once."""
    import cv2

    from harness.feed.preprocess.colour import to_rgb_u8

    if (out / f"{case.id}_{frames}" / "case.toml").is_file():
        return out / f"{case.id}_{frames}"
    camera = case.cameras[0]
    picture = next(iter(case.ticks([camera], stop=1))).pictures[camera]
    with CaseWriter(out, id=f"{case.id}_{frames}", fps=case.fps, lossy=case.meta.lossy, tags=case.meta.tags) as writer:
        meta = CameraMeta(kind="images", pixel_format="rgb24", width=picture.width, height=picture.height)
        folder = writer.add_camera(camera, meta) / "images"
        folder.mkdir(exist_ok=True)
        count = 0
        for count, tick in enumerate(case.ticks([camera], stop=frames), 1):
            cv2.imwrite(str(folder / f"{count - 1:06d}.png"), to_rgb_u8(tick.pictures[camera])[..., ::-1])
        writer.set_frames(case.frames.head(count).with_columns(pl.Series("index", range(count))))
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


def case_options(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what is replayed."""
    parser.add_argument("card", type=Path)
    parser.add_argument("--cases", type=Path, help="folder of cases; default: synthetic ones")
    parser.add_argument("--frames", type=int, default=20, help="of each case, from its beginning")
    parser.add_argument("--seed", type=int, default=9000)
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)


def cases_of(options: argparse.Namespace, folder: Path) -> list[Path]:
    """The cases that the arguments ask for, written to a folder."""
    if options.cases is None:
        return list(synth_cases(options.seed, options.count, options.seconds, folder))
    return [shortened(open_case(case), options.frames, folder) for case in find_cases([options.cases])]


def run_on(card: Card, cases: Sequence[Path], names: Sequence[str], folder: Path) -> Run:
    """Replay under the deploy pipeline with those of the engines that run here; names those that do not."""
    chosen = []
    for name in names:
        (answer,) = engines.availability(name)
        if name.startswith("torch") and card.torch is None:
            continue
        if answer.available:
            chosen.append(name)
        else:
            print(f"without {name}: {answer.detail}")
    return replay(
        card, cases, engines=chosen, preprocess=["deploy"], out=folder / "run", steps=False, cache=folder / "cache"
    )


def summary(run: Run) -> str:
    """What was replayed."""
    frames = sum(case["frames"] for case in run.meta["cases"])
    return f"{run.meta['card']['name']}: {len(run.meta['cases'])} cases, {frames} frames, lengths in {run.unit}\n"


def table(run: Run, reference: str = "") -> str:
    """One row per engine of the deploy pipeline, against its parent or `reference`; bend is of every line and band."""
    lines, tensors = run.read("line_metrics"), run.read("tensor_metrics")
    frames = run.read("frame_metrics")
    rows = [
        "| engine | against | RMS error | bend p50 | bend p99 | bend max | offset max | lines lost, gained |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rung in run.rungs:
        name, parent = rung["name"], reference or rung["parent"]
        if not name.startswith("deploy/") or name == parent or rung["status"] != "ok":
            continue
        own = lines.filter(rung=name, reference=parent)
        lost = frames.filter(rung=name, reference=parent)
        bend = own["bend"].drop_nulls().drop_nans()
        rms = tensors.filter(rung=name, reference=parent)["rel_rms"].max()
        figures = [rms, bend.quantile(0.5), bend.quantile(0.99), bend.max(), own["offset_max"].max()]
        shown = " | ".join("-" if f is None else f"{f:.2g}" for f in figures)
        against = parent.removeprefix("deploy/")
        counts = f"{lost['missing'].sum()}, {lost['extra'].sum()} of {lost['lines'].sum()}"
        rows.append(f"| `{rung['engine']}` | `{against}` | {shown} | {counts} |")
    return "\n".join(rows)


def main() -> None:
    """Run the matrix and print it."""
    if len(sys.argv) < 2 or not sys.argv[1].endswith(".toml"):
        print("usage: python -m benchmarks.engines CARD [--cases DIR --frames N | --seed S --count K --seconds T]")
        return
    parser = argparse.ArgumentParser()
    case_options(parser)
    parser.add_argument("--engines", default=",".join(ENGINES), help="A,B: these only")
    options = parser.parse_args()
    card = load_card(options.card)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = cases_of(options, folder / "cases")
        for case in cases:
            with_dump(card, case, folder / "cache")
        run = run_on(card, cases, [*options.engines.split(","), "recorded"], folder)
        print(summary(run), table(run), sep="\n")


if __name__ == "__main__":
    main()
