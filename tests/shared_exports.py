"""Exports that are the same are made once for all tests and workers: exporting was two fifths of a test's time.

What makes an export the same is what the product's own cache goes by, and every test has a cache of its own still: only
the exporter's work is remembered. Tests of the exporter take the real one (tests/engines/test_export.py).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch import nn

from engines import export
from engines.cache import digest
from engines.dotted import source_files
from engines.protocol import ExportTarget, ModelSource

__all__ = ["Exporter", "remembered"]

Exporter = Callable[[nn.Module, ModelSource, ExportTarget, bool, Path], tuple[str, ...]]
HEARD = "heard.json"


def remembered(real: Exporter, kept: Path) -> Exporter:
    """The exporter, with what it wrote and warned of kept in a folder that several processes may share."""

    def run(module: nn.Module, source: ModelSource, how: ExportTarget, optimize: bool, path: Path) -> tuple[str, ...]:
        assert source.factory is not None
        files = source_files(source.factory.partition(":")[0], source.root)
        settings = export._settings(source, how, optimize)
        place = export._place(
            kept / source.name, settings, list(files), source.root.resolve(), _state_of(module)
        ).parent
        if not place.exists():
            heard = real(module, source, how, optimize, path)
            _keep(path.parent, heard, place)
            return heard
        shutil.copytree(place, path.parent, dirs_exist_ok=True, ignore=shutil.ignore_patterns(HEARD))
        return tuple(json.loads((place / HEARD).read_text(encoding="utf-8")))

    return run


def _state_of(module: nn.Module) -> str:
    """Weights, and whether anything in the network trains: BatchNorm in training mode is exported otherwise."""
    return digest({"state": export._state_digest(module), "training": [m.training for m in module.modules()]})


def _keep(made: Path, heard: tuple[str, ...], place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=place.parent))
    shutil.copytree(made, draft, dirs_exist_ok=True)
    (draft / HEARD).write_text(json.dumps(heard), encoding="utf-8")
    try:
        draft.replace(place)
    except OSError:  # another worker was first
        shutil.rmtree(draft)
