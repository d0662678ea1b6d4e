"""What speaks for and against a candidate beside the gate: BatchNorm drift, room in fp16, criticality and sensitivity.

    python -m benchmarks.evidence [--layers plain-0,fgsm] [--candidates build/candidates] [--out build/evidence]
    python -m benchmarks.evidence --table

Takes the candidates that `python -m benchmarks.candidates` has finished. Drift and headroom are measured for all of
them, block by block criticality and fp16 sensitivity for those of `--layers`. Finished cells are kept. The second
command prints the tables of docs/techniques/evidence.md and draws its picture.

Do the blocks whose training matters coincide with those that fp16 hurts? Fixed before the first run: criticality is the
rise of the test error when a block gets its weights of step 0 back; sensitivity the RMS movement of the lines when that
block alone is rounded; Spearman's rank correlation over all blocks that have weights and give lines (so not the one
that gives scores), with a bootstrap over these blocks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.candidates import candidates
from benchmarks.evidence_report import draw, tables
from benchmarks.papers.study import Study
from engines.dotted import load_dotted, modules_of
from harness.checks.sensitivity import sensitivity
from harness.cli.demo import example_folder
from harness.model.card import load_card
from harness.training import load_task_file
from techniques.batchnorm import evaluating
from techniques.bn_drift import bn_drift, bn_statistics
from techniques.criticality import Layer, distances, fresh_states, layers, snapshot, swapped
from techniques.headroom import headroom
from techniques.task import Task
from techniques.training import Loop, Settings

__all__ = ["blocks", "criticality", "pipelines"]

DRAWS, FRAMES = 3, 48
SCORES_ONLY = ("presence",)  # blocks of RoadLines that no line depends on
PLOT = Path("docs/images/technique_evidence.png")


def main() -> None:
    """Measure what is not measured yet, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=Path, default=Path("build/candidates"))
    parser.add_argument("--out", type=Path, default=Path("build/evidence"))
    parser.add_argument("--work", default="build/roadlines", help="rendered pictures of the task")
    parser.add_argument("--layers", default="plain-0,plain-1,plain-2,fgsm,swa", help="candidates to take apart")
    parser.add_argument("--table", action="store_true", help="print and draw what is finished")
    options = parser.parse_args()
    if options.table:
        report(options.out)
        return
    torch.set_num_threads(1)
    finished = [name for name in candidates() if (options.candidates / name / "columns.json").exists()]
    if not finished:
        print(f"no finished candidate in {options.candidates}; python -m benchmarks.candidates makes them")
        return
    file = load_task_file(example_folder() / "task.toml")
    with modules_of(file.path.parent):
        task: Task = load_dotted(file.factory, file.path.parent)(**{**file.options, "work": options.work})
    for name in finished:
        _measure(task, name, options.candidates, options.out, apart=name in options.layers.split(","))


def _measure(task: Task, name: str, folder: Path, out: Path, *, apart: bool) -> None:
    """All cells of one candidate; `apart`: block by block too."""
    candidate = folder / name / "candidate"
    weights = hashlib.sha256((candidate / "weights.safetensors").read_bytes()).hexdigest()
    study = Study(out / name, {"weights": weights, "frames": FRAMES, "draws": DRAWS})
    print(name, flush=True)
    model = _trained(task, candidate)
    study.cell("pipelines", lambda: pipelines(task, model))
    if apart:
        found = study.cell("fp16", lambda: _sensitivity(candidate, [folder / "cases"], out / "cache"))
        groups = [row["group"] for row in found["groups"]]
        settings = Settings(**json.loads((candidate / "provenance.json").read_text())["settings"])
        study.cell("critical", lambda: criticality(task, model, settings, groups))


def pipelines(task: Task, model: nn.Module, size: int = 50) -> dict[str, Any]:
    """BatchNorm drift from train to deploy inputs, layer by layer, and the headroom on deploy inputs.

    Args:
        task: whose test examples carry the deploy pipeline as first variant.
        model: the trained network.
        size: examples in one pass.
    """
    generator = torch.Generator().manual_seed(0)
    rows = torch.split(torch.arange(len(task.test)), size)
    batches = [task.test.batch(r, generator) for r in rows]
    deployed = [b.variants[0] for b in batches]
    measured = bn_statistics(model, task.objective, [b.inputs for b in batches])
    drift = bn_drift(model, task.objective, deployed, reference=measured)
    kept = ("layer", "shift_rms", "shift_max", "worst_channel", "ratio_low", "ratio_high")
    room = headroom(model, task.objective, deployed)
    return {
        "drift": [{key: getattr(row, key) for key in kept} for row in drift],
        "headroom": [
            asdict(row) | {"fp16": row.headroom_fp16, "autocast": row.headroom_autocast}
            for row in room
            if np.isfinite(row.headroom_autocast)
        ],
    }


def criticality(task: Task, model: nn.Module, settings: Settings, groups: Sequence[str]) -> dict[str, Any]:
    """Rise of the test error, task's unit, when one block gets its weights of step 0 back, or a fresh draw.

    Args:
        task: as it was trained on; its network's first weights follow from the seed.
        model: the trained network; afterwards what it was.
        settings: of its training.
        groups: blocks of the network, see `blocks`.
    """
    loop = Loop(task, [], settings)
    start, trained = snapshot(loop.model), snapshot(model)
    fresh = list(fresh_states(task.network, DRAWS, settings.seed))
    error = loop.mean_error(model, task.test)
    rows = {}
    with evaluating(model):
        for block in blocks(layers(model), groups):
            errors = []
            for state in (start, *fresh):
                model.load_state_dict(swapped(trained, state, block))
                errors.append(loop.mean_error(model, task.test) - error)
            moved, _, _ = distances(trained, start, block)
            rows[block.name] = {"re_initialised": errors[0], "re_randomised": errors[1:], "moved": moved}
        model.load_state_dict(trained)
    return {"unit": task.unit, "trained": error, "blocks": rows}


def blocks(parts: Sequence[Layer], groups: Sequence[str]) -> list[Layer]:
    """Layers put together by the group around them, in the network's order: a convolution and its BatchNorm are one.

    Args:
        parts: of techniques.criticality.
        groups: dotted paths, or "(root)"; a layer belongs to the longest path that leads to it, or else to none.
    """
    found: dict[str, list[Layer]] = {}
    for part in parts:
        around = [g for g in groups if part.name == g or part.name.startswith(f"{g}.")]
        if around:
            found.setdefault(max(around, key=len), []).append(part)
    return [
        Layer(name, tuple(k for m in members for k in m.keys), tuple(k for m in members for k in m.parameters))
        for name, members in found.items()
    ]


def report(out: Path) -> None:
    """Print the tables and draw the picture."""
    cells = {
        name: {p.stem: json.loads(p.read_text())["result"] for p in (out / name).glob("*.json")}
        for name in candidates()
    }
    print(tables({name: found for name, found in cells.items() if found}, SCORES_ONLY))
    draw({name: found for name, found in cells.items() if "critical" in found}, PLOT, SCORES_ONLY)


def _sensitivity(folder: Path, cases: Sequence[Path], cache: Path) -> Mapping[str, Any]:
    """fp16 group by group."""
    return asdict(sensitivity(load_card(folder), cases, frames=FRAMES, cache=cache))


def _trained(task: Task, folder: Path) -> nn.Module:
    from safetensors.torch import load_file

    model: nn.Module = task.network()
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    return model.eval()


if __name__ == "__main__":
    main()
