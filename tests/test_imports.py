"""Imports point one way, and the command starts light."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("cases", "engines", "techniques", "harness")
ALLOWED = {"cases": set(), "engines": set(), "techniques": set(), "harness": {"cases", "engines"}}
TRAINING = ("harness/training.py", "harness/cli/train.py")  # the one place where training meets the harness
HEAVY = ("torch", "onnx", "onnxruntime", "polars", "numpy", "scipy", "cv2", "av", "plotly", "pydantic")


def _imported(source: str) -> set[str]:
    """Top-level names of all imports of a module, nested ones too."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    for module in (ROOT / package).rglob("*.py"):
        allowed = ALLOWED[package] | ({"techniques"} if str(module.relative_to(ROOT)) in TRAINING else set())
        foreign = (_imported(module.read_text()) & set(PACKAGES)) - {package} - allowed
        assert not foreign, f"{module.relative_to(ROOT)} imports {sorted(foreign)}"


def test_the_import_rule_sees_nested_imports() -> None:
    assert _imported("def f():\n    from harness.lines.table import concat\n") == {"harness"}


def _loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(result.stdout.split())


def test_the_command_tree_loads_no_heavy_library() -> None:
    assert not _loaded_by("import harness.cli") & set(HEAVY)


def test_the_light_import_test_can_fail() -> None:
    assert "numpy" in _loaded_by("import harness.lines.table")


def test_help_answers() -> None:
    start = time.perf_counter()
    result = subprocess.run([sys.executable, "-m", "harness.cli", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0
    assert "replay" in result.stdout
    assert time.perf_counter() - start < 10  # hangs only; benchmarks/startup.py measures
