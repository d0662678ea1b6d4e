"""Every technique's candidate of the demo model: trained at one budget, measured in three columns.

    python -m benchmarks.candidates [--only 'fgsm;swa'] [--out build/candidates]
    python -m benchmarks.candidates --table

Controls are plain training with three seeds; every technique is trained once, with seed 0, for the same number of
forward plus backward passes. The second command prints the tables of docs/techniques/one_run.md. A candidate's
folder keeps what is finished; two of these commands may run side by side, each takes what the other has not begun.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from benchmarks.candidate_columns import CORRUPTIONS, clean_and_robust, deployability
from benchmarks.papers.study import interval
from cases.synth import synth_cases
from engines.dotted import load_dotted, modules_of
from engines.torch_model import build_module
from harness.cli.demo import example_folder
from harness.gate import judge, load_policy, write_verdict
from harness.model.card import load_card
from harness.replay.replay import replay
from harness.training import TaskFile, load_task_file, train_candidate
from techniques.registry import names
from techniques.task import Task

ENGINES = ("torch-fp32", "ort-fp32-none", "ort-fp32", "emulated-fp16")
CONTROL_SEEDS = (0, 1, 2)
PROBES = ("criticality", "datapath", "lazy")
TOGETHER = (("preprocessing", "ema"),)
# Declared after the first runs of these two had been seen: with the task's options they hardly looked at the picture.
SECOND_LOOKS: dict[str, tuple[str, dict[str, float]]] = {
    "fgsm, eps 0.5/255": ("fgsm", {"eps": 0.5 / 255}),
    "jacobian, weight 1e-4": ("jacobian", {"weight": 1e-4}),
}
DATA: dict[str, dict[str, bool]] = {"temporal": {"next_frames": True}}  # options of the task that a technique needs
BLIND = 1.5  # times the controls' clean error: from there on a small gap is no merit
FIRST_CASE_SEED, CASES, CASE_SECONDS = 9400, 12, 2.0


def main() -> None:
    """Train and measure, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/candidates"))
    parser.add_argument("--only", help="candidates, separated by semicolons")
    parser.add_argument("--work", default="build/roadlines", help="rendered training pictures")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="print the tables of what is finished")
    parser.add_argument("--constant", action="store_true", help="print the error of the same lines on every road")
    options = parser.parse_args()
    wanted = candidates()
    if options.table:
        print(tables({n: c for n in wanted if (c := _columns(options.out / _folder(n))) is not None}))
        return
    torch.set_num_threads(options.threads)
    chosen = options.only.split(";") if options.only else list(wanted)
    file = load_task_file(example_folder() / "task.toml")
    file = file.model_copy(update={"options": {**file.options, "work": options.work}})
    task: Task | None = None
    if options.constant:
        print(f"the median training line on every test picture: {constant_error(_task(file)):.3f} m")
        return
    for name in chosen:
        folder = options.out / _folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / ".lock", timeout=0):
                if _columns(folder) is None:
                    task = task or _task(file)
                    _one(file, task, name, *wanted[name], folder, options.out)
        except Timeout:
            print(f"{name}: another command is at it")


def candidates() -> dict[str, tuple[tuple[str, ...], int]]:
    """Name -> (techniques, seed)."""
    found: dict[str, tuple[tuple[str, ...], int]] = {f"plain-{seed}": ((), seed) for seed in CONTROL_SEEDS}
    found |= {name: ((name,), 0) for name in names()}
    found |= {"+".join(pair): (pair, 0) for pair in TOGETHER}
    return found | {name: ((technique,), 0) for name, (technique, _) in SECOND_LOOKS.items()}


def _one(
    file: TaskFile, task: Task, name: str, techniques: tuple[str, ...], seed: int, folder: Path, out: Path
) -> None:
    if name in SECOND_LOOKS:
        file = file.model_copy(update={"technique": {**file.technique, **dict([SECOND_LOOKS[name]])}})
    options = {**file.options, **{k: v for technique in techniques for k, v in DATA.get(technique, {}).items()}}
    file = file.model_copy(update={"options": options})
    candidate = train_candidate(file, techniques, folder / "candidate", seed=seed, name=folder.name)
    card = load_card(candidate.folder)
    model = build_module(card.source(folder / "cache"))  # with filters, where the candidate has them
    columns: dict[str, Any] = {"techniques": techniques, "seed": seed, **clean_and_robust(task, model)}
    with FileLock(out / ".cases.lock"):
        cases = synth_cases(FIRST_CASE_SEED, CASES, CASE_SECONDS, out / "cases")
    run = replay(card, cases, engines=ENGINES, out=folder / "run", steps=False, cache=folder / "cache")
    verdict = judge(run, load_policy(example_folder() / "release.trueline.toml"))
    write_verdict(verdict, folder / "run" / "verdict.json")
    columns["gate"] = deployability(run, verdict.to_json())
    facts = candidate.provenance
    columns |= {"passes": facts["passes"], "steps": facts["steps"], "seconds": facts["seconds"]}
    (folder / "columns.json").write_text(json.dumps(columns, indent=1))
    print(
        f"{name}: clean {columns['clean']:.3f} m, gap {columns['gap']:.4f} m, {columns['gate']['verdict']}", flush=True
    )


def constant_error(task: Task) -> float:
    """Error on the test pictures of a network that draws the median line of the training set whatever it sees, m."""
    generator = torch.Generator().manual_seed(0)

    def lines(part: Any) -> torch.Tensor:
        (found,) = part.batch(torch.arange(len(part)), generator).targets
        return found

    truth = lines(task.test)
    always = lines(task.train).nanmedian(0).values.expand_as(truth)
    return float(task.objective.error((always,), (truth,)).nanmean())


def _folder(name: str) -> str:
    return name.replace("++", "-plus").replace("+", "-").replace(", ", "-").replace(" ", "-").replace("/", "of")


def _task(file: TaskFile) -> Task:
    root = file.path.parent
    factory = load_dotted(file.factory, root)
    with modules_of(root):
        task: Task = factory(**file.options)
    return task


def _columns(folder: Path) -> dict[str, Any] | None:
    path = folder / "columns.json"
    return json.loads(path.read_text()) if path.exists() else None


def tables(found: dict[str, dict[str, Any]]) -> str:
    """Three Markdown tables: clean and robust, deployability, and the gap against the control case by case."""
    controls = [c for n, c in found.items() if n.startswith("plain")]
    if not controls:
        return "no control is finished yet"
    return "\n\n".join([_robust_table(found, controls), _deploy_table(found), _gap_table(found)])


def _robust_table(found: dict[str, dict[str, Any]], controls: list[dict[str, Any]]) -> str:
    rows = [
        "| candidate | steps | s | clean | PGD-10 | corruptions | deploy pipeline |",
        "|---|---|---|---|---|---|---|",
    ]
    base = {key: float(np.mean([c[key] for c in controls])) for key in ("pgd", "deploy", *CORRUPTIONS)}
    for name, columns in found.items():
        ratio = {key: columns[key] / base[key] for key in base}
        corrupted = float(np.mean([ratio[key] for key in CORRUPTIONS]))
        rows.append(
            f"| {name} | {columns['steps']} | {columns['seconds']:.0f} | {columns['clean']:.3f} m "
            f"| {ratio['pgd']:.2f} | {corrupted:.2f} | {ratio['deploy']:.2f} |"
        )
    return "\n".join(rows)


def _deploy_table(found: dict[str, dict[str, Any]]) -> str:
    rows = [
        "| candidate | bend p99, car | bias, car | jitter, car | swings, car | bend p99, fp16 | offset max, fp16 "
        "| verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, columns in found.items():
        car, half = columns["gate"]["car"], columns["gate"]["fp16"]
        rows.append(
            f"| {name} | {car['bend_p99']:.3f} m | {car['bias']:.3f} m | {car['jitter']:.3f} m | {car['swings']} "
            f"| {1000 * half['bend_p99']:.2f} mm | {1000 * half['offset_max']:.2f} mm | {columns['gate']['verdict']} |"
        )
    return "\n".join(rows)


def _gap_table(found: dict[str, dict[str, Any]]) -> str:
    """Mean |offset| of the car's pipeline per case: candidate minus the control of the same seed, Student's t."""
    rows = ["| candidate | gap | minus control | seeds of the control | shrinks the gap? |", "|---|---|---|---|---|"]
    control = found.get("plain-0")
    if control is None:
        return "plain-0 is not finished yet"
    base = control["gate"]["car"]["offset_by_case"]
    means = [
        float(np.mean(list(c["gate"]["car"]["offset_by_case"].values()))) for n, c in found.items() if "plain" in n
    ]
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else math.nan
    sighted = BLIND * float(np.mean([c["clean"] for n, c in found.items() if "plain" in n]))
    for name, columns in found.items():
        own = columns["gate"]["car"]["offset_by_case"]
        mean, low, high = interval([1000 * (own[case] - base[case]) for case in base])
        beyond = abs(mean) > 2 * 1000 * spread
        said = "yes" if high < 0 and beyond else "grows it" if low > 0 and beyond else "not shown"
        said = said if columns["clean"] <= sighted else "no claim: clean error"
        rows.append(
            f"| {name} | {1000 * np.mean(list(own.values())):.1f} mm | {mean:+.1f} [{low:+.1f}, {high:+.1f}] mm "
            f"| sd {1000 * spread:.1f} mm | {'-' if name.startswith('plain') else said} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
