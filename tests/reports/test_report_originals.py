"""The reports' own folders come out right; skips where they do not lie beside the clone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.reports.originals import ORIGINALS, SHARED, Original, prepared
from tests.reports.trial import Answer

pytestmark = [
    pytest.mark.reports,
    pytest.mark.skipif(not SHARED.is_dir(), reason=f"no reports at {SHARED}"),
]


@pytest.mark.parametrize("original", ORIGINALS, ids=lambda o: f"{o.folder}-{o.card.removesuffix('.toml')}")
def test_an_original_comes_out_right(original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # report 31 calls `python`
    trial = prepared(original, tmp_path)
    answer = Answer(trial)
    for right in trial.rights:
        right.hold(answer)


def test_every_folder_is_tried() -> None:
    folders = {path.name for path in SHARED.iterdir() if path.is_dir() and path.name[0].isdecimal()}
    assert {o.folder for o in ORIGINALS} == folders
