"""Output that nobody reads any more ends a command quietly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("arguments", [["techniques"], ["techniques", "--json"], ["--help"]])
def test_a_closed_pipe_is_no_bug(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments], stdout=write, stderr=subprocess.PIPE, text=True, check=False,
        cwd=ROOT,
    )  # fmt: skip
    os.close(write)
    assert result.returncode == 141
    assert result.stderr == ""
