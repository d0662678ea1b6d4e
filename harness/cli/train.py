"""`trueline train` and `trueline techniques`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import JsonOption
from harness.cli.progress import progress_bar
from harness.terminal import listing, print_json, say, show, table

__all__ = ["register"]


def train(
    task: Annotated[Path, typer.Argument(metavar="TASK", help="task file (task.toml)")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="candidate's folder; a stopped run goes on there")],
    technique: Annotated[
        list[str] | None, typer.Option("--technique", metavar="NAME", help="may be repeated; see `trueline techniques`")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="NAME", help="deployable, robust, or a file: techniques with their options"),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="of weights, order and draws; default the task's")] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", min=1, help="forward plus backward passes; default the task's")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1; default the task's")] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="of PyTorch")] = None,
    name: Annotated[str | None, typer.Option("--name", help="of the candidate's card")] = None,
    json: JsonOption = False,
) -> None:
    """Train a candidate with robustness techniques; its folder goes through `replay` and `gate` as it is."""
    import torch

    from harness.training import load_task_file, train_candidate, with_recipe

    if threads is not None:
        torch.set_num_threads(threads)
    file, chosen = with_recipe(load_task_file(task), recipe, technique or [])
    with progress_bar("training:") as progress:
        candidate = train_candidate(
            file,
            chosen,
            out,
            seed=seed,
            budget_passes=budget,
            device=device,
            name=name,
            progress=progress,
        )
    facts = candidate.provenance
    if json:
        print_json(facts)
        return
    error, passes = facts["error"], facts["passes"]
    rows = [
        ("techniques", ", ".join(facts["techniques"]) or "none"),
        ("seed", facts["settings"]["seed"]),
        ("steps", facts["steps"]),
        ("passes", f"{passes['forward']} forward, {passes['backward']} backward"),
        ("seconds", facts["seconds"]),
        ("error, selection", f"{error['selection']:.4g} {error['unit']}"),
        ("error, test", f"{error['test']:.4g} {error['unit']}"),
    ]
    show(table(("candidate", str(candidate.folder)), rows))
    say(
        f"{'trained' if candidate.fresh else 'was there'}; next: trueline replay {out}/model.toml --cases DIR --out RUN"
    )


def techniques(json: JsonOption = False) -> None:
    """Which robustness techniques there are, and their options."""
    from techniques.registry import names, outline

    found: list[dict[str, Any]] = []
    for name in names():
        told = outline(name)
        found.append({"name": name, "summary": told.summary, "role": told.role, "options": told.options})
    if json:
        print_json(found)
        return
    rows = [
        (t["name"], t["summary"], t["role"] or "", ", ".join(f"{k}={v!r}" for k, v in t["options"].items()))
        for t in found
    ]
    show(*listing(("technique", "what", "only one", "options"), rows))


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the tree."""
    for command in (train, techniques):
        app.command()(command)
