"""`trueline cache`: what is kept between runs, and how to be rid of it."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import CacheOption, JsonOption
from harness.terminal import print_json, say, show, table

__all__ = ["register"]

RESULTS = "results"
MB = 1e6


def cache(
    cache: CacheOption = None,
    clear: Annotated[bool, typer.Option("--clear", help="remove kept results; prepared models stay")] = False,
    clear_all: Annotated[bool, typer.Option("--clear-all", help="remove prepared models too")] = False,
    json: JsonOption = False,
) -> None:
    """What is kept between runs: results of cases, tensors of rungs, prepared models; --clear removes results."""
    from harness.model.card import DEFAULT_CACHE
    from harness.replay.results import LIMIT_BYTES

    folder = cache or DEFAULT_CACHE
    for kept in _folders(folder) if clear_all else [folder / RESULTS] if clear else []:
        shutil.rmtree(kept, ignore_errors=True)
    found = [_told(folder, kind) for kind in _kinds(folder)]
    if json:
        print_json(found)
        return
    rows = [(f["kind"], f["entries"], f"{f['bytes'] / MB:.1f} MB", f["used"] or "") for f in found]
    show(table(("kept", "entries", "size", "last used"), rows))
    say(f"folder: {folder}; results together are held below {LIMIT_BYTES / MB:g} MB, those used longest ago go first")


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(cache)


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []


def _kinds(cache: Path) -> list[Path]:
    """Folders of entries: those of results one level deeper."""
    return [k for top in _folders(cache) if top.is_dir() for k in (_folders(top) if top.name == RESULTS else [top])]


def _told(cache: Path, kind: Path) -> dict[str, Any]:
    entries = _folders(kind)
    size = sum(f.stat().st_size for f in kind.rglob("*") if f.is_file())
    used = max((e.stat().st_mtime for e in entries), default=None)
    when = datetime.fromtimestamp(used).isoformat(timespec="seconds") if used is not None else None
    return {"kind": kind.relative_to(cache).as_posix(), "entries": len(entries), "bytes": size, "used": when}
