"""`trueline` without a command: what lies in this folder, and the command that comes next.

Only names and the beginnings of small files are read, and nothing heavy is imported.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trueline._reading import json_of, read_file, read_toml

__all__ = ["Found", "look_around", "next_step"]

POLICY = ".trueline.toml"
NAMED = {"rules", "extends"}  # what a policy has, one of them at least
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".h264", ".h265", ".hevc")
MAX_TOML_BYTES = 1_000_000
_SKIPPED = ("node_modules", "build", "dist")


@dataclass(frozen=True)
class Found:
    """What lies in a folder, paths relative to it.

    Attributes:
        cards: model cards.
        cases: folders that hold case folders, or are one.
        policies: policies that name rules, or extend others.
        runs: run folders, the one written last first.
        finished: those of them whose replay has finished.
        networks: ONNX files of the folder itself.
        videos: recordings of the folder itself that could become cases.
    """

    cards: tuple[Path, ...] = ()
    cases: tuple[Path, ...] = ()
    policies: tuple[Path, ...] = ()
    runs: tuple[Path, ...] = ()
    finished: tuple[Path, ...] = ()
    networks: tuple[Path, ...] = ()
    videos: tuple[Path, ...] = ()


def look_around(folder: Path) -> Found:
    """What a folder holds, two levels deep, and as deep below the folders of its cards."""
    files = [p for p in _below(folder, depth=2) if p.is_file()]
    homes = {p.parent for p in files if p.name == "model.toml"} - {folder}
    files = list(dict.fromkeys([*files, *(p for home in sorted(homes) for p in _below(home, depth=2) if p.is_file())]))
    tomls = {p: _toml(p) for p in files if p.suffix == ".toml"}
    runs = {p.parent: _json(p) for p in files if p.name == "run.json"}
    newest = sorted((r for r, meta in runs.items() if "rungs" in meta), key=lambda r: -(r / "run.json").stat().st_mtime)
    cases = [p.parent for p in files if p.name == "case.toml"]
    return Found(
        cards=_told(folder, (p for p, raw in tomls.items() if "inputs" in raw and "outputs" in raw)),
        cases=_told(folder, (c if c == folder or c.parent == folder else c.parent for c in cases)),
        policies=_told(folder, (p for p, raw in tomls.items() if p.name.endswith(POLICY) and raw.keys() & NAMED)),
        runs=_told(folder, newest),
        finished=_told(folder, (r for r in newest if runs[r].get("finished"))),
        networks=_told(folder, (p for p in files if p.parent == folder and p.suffix == ".onnx")),
        videos=_told(folder, (p for p in files if p.parent == folder and p.suffix.lower() in VIDEOS)),
    )


def next_step(found: Found, folder: Path) -> list[str]:
    """Lines: what there is, and what to do next."""
    return [*_inventory(found), *_advice(found, folder)]


def _inventory(found: Found) -> list[str]:
    kinds = (("model card", found.cards), ("cases", found.cases), ("policy", found.policies), ("run", found.runs))
    return [f"{kind:>10}: {_list(paths)}" for kind, paths in kinds if paths]


def _advice(found: Found, folder: Path) -> list[str]:
    half_done = [r for r in found.runs if r not in found.finished]
    if found.finished:
        return ["", *_after_replay(found, folder)]
    if half_done:
        return ["", f"The replay into {half_done[0]} has not finished: give the same command again and it goes on."]
    if not found.cards:
        return [*_without_card(found)]
    card = found.cards[0]
    if not found.cases:
        return [
            "",
            "No cases here yet:",
            *_commands(
                ["case", "import", "drive.mp4", "--id", "drive_01", "--out", "drives"], ["model", "check", str(card)]
            ),
        ]
    policy = ["--policy", str(found.policies[0])] if found.policies else []
    return [
        "",
        "Next, replay the cases from lab to car, judge and report:",
        *_commands(["run", str(card), "--cases", str(found.cases[0]), *policy, "--out", "runs/first"]),
    ]


def _without_card(found: Found) -> list[str]:
    where = "Cases are here, a model card is not." if found.cases else "No model card, case or run is here."
    network = str(found.networks[0]) if found.networks else "MODEL.onnx"
    videos = [str(video) for video in found.videos[:3]] or ["drive.mp4"]
    return [
        where,
        "Your own model and a video: cases, a first card and a policy, with what is guessed (docs/init.md):",
        *_commands(["init", network, *videos, "--out", "lanes"]),
        "To see it at work first, in a clone:",
        *_commands(["demo"]),
    ]


def _after_replay(found: Found, folder: Path) -> list[str]:
    run = found.finished[0]
    policy = ["--policy", str(found.policies[0])] if found.policies else []
    gate, explain, report = ["gate", str(run), *policy], ["explain", str(run)], ["report", str(run)]
    if not (folder / run / "verdict.json").exists():
        return [f"{run} is replayed. Next, judge it, see which step moved the lines, and write the report:",
                *_commands(gate, explain, report)]  # fmt: skip
    verdict = _json(folder / run / "verdict.json").get("verdict", "unknown")
    if not (folder / run / "report.html").exists():
        return [f"{run} is judged: {verdict}. Next:", *_commands(explain, report)]
    return [f"{run} is judged: {verdict}. Its report: {run / 'report.html'}", *_commands(explain)]


def _commands(*commands: Sequence[str]) -> list[str]:
    return [f"    {shlex.join(['trueline', *command])}" for command in commands]


def _list(paths: Sequence[Path], most: int = 4) -> str:
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(str(p) for p in paths[:most]) + more


def _told(folder: Path, paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(p.relative_to(folder) for p in paths))


def _below(folder: Path, depth: int) -> Iterable[Path]:
    """Files of a folder and of those below it, hidden and built ones left out; by name."""
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return
    for path in inside:
        if path.name.startswith(".") or path.name in _SKIPPED:
            continue
        if not path.is_dir():
            yield path
        elif depth:
            yield from _below(path, depth - 1)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return {} if path.stat().st_size > MAX_TOML_BYTES else read_toml(path)
    except (OSError, ValueError):
        return {}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json_of(read_file(path))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
