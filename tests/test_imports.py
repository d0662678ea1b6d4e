"""Imports point one way, and the command starts light."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import time
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from harness.cli.app import command_tree

ROOT = Path(__file__).parent.parent
PACKAGES = ("cases", "engines", "techniques", "harness")
ALLOWED = {"cases": set(), "engines": set(), "techniques": set(), "harness": {"cases", "engines"}}
TRAINING = ("harness/training.py", "harness/cli/train.py")  # the one place where training meets the harness
HEAVY = ("torch", "onnx", "onnxruntime", "polars", "numpy", "scipy", "cv2", "av", "pydantic")


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


# the way of the data; a room imports only rooms before it
ROOMS = (
    "errors", "ownership", "model", "feed", "lines", "run", "terminal", "measures", "replay", "layers", "gate",
    "diagnosis", "ladder", "summary", "history", "calibrate", "report", "init", "checks", "precision", "faults",
    "sweep", "leaderboard", "compare", "training", "job", "plugin", "cli",
)  # fmt: skip


def _room(module: Path) -> str:
    return module.relative_to(ROOT / "harness").parts[0].removesuffix(".py")


def _rooms_imported(source: str) -> set[str]:
    """Rooms of harness that a module imports, nested imports too."""
    nodes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom) and n.module and n.level == 0]
    deep = {n.module.split(".")[1] for n in nodes if n.module.startswith("harness.")}
    return deep | {alias.name for n in nodes if n.module == "harness" for alias in n.names}


def test_rooms_import_only_rooms_before_them_on_the_way_of_the_data() -> None:
    modules = [m for m in (ROOT / "harness").rglob("*.py") if m.parent != ROOT / "harness" or m.stem != "__init__"]
    assert {_room(m) for m in modules} == set(ROOMS)
    for module in modules:
        allowed = ROOMS[: ROOMS.index(_room(module)) + 1]
        later = _rooms_imported(module.read_text()) - set(allowed)
        assert not later, f"{module.relative_to(ROOT)} imports {sorted(later)}"


def _modules_imported(source: str, known: set[str]) -> set[str]:
    """Modules that are imported when this one is: imports at the top alone."""
    body = [n for n in ast.parse(source).body if isinstance(n, ast.ImportFrom) and n.module and n.level == 0]
    names = {n.module for n in body} | {f"{n.module}.{alias.name}" for n in body for alias in n.names}
    return names & known


def test_no_modules_import_each_other_in_a_circle() -> None:
    files = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
        for package in (*PACKAGES, "trueline")
        for p in (ROOT / package).rglob("*.py")
    }
    graph = {name: _modules_imported(path.read_text(), set(files)) - {name} for name, path in files.items()}
    TopologicalSorter({name: {n for n in to if not name.startswith(f"{n}.")} for name, to in graph.items()}).prepare()


def _loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(result.stdout.split())


def test_the_command_tree_loads_no_heavy_library() -> None:
    assert not _loaded_by("import harness.cli") & set(HEAVY)


def _loaded_by_command(*arguments: str) -> set[str]:
    """Modules that a command has loaded at its end; what it prints is shown where it fails."""
    code = f"""import sys
from harness.cli import main
try:
    main({list(arguments)!r})
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", *sys.modules)"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(result.stdout.rpartition("loaded:")[2].split())


def test_techniques_are_listed_without_loading_one() -> None:
    assert not _loaded_by_command("techniques", "--json") & {"torch", "numpy"}


def test_engines_are_listed_without_pytorch() -> None:
    from engines.torch_build import installed_torch

    if installed_torch().for_gpu:
        pytest.skip("a PyTorch built for GPUs is asked for them")
    assert not _loaded_by_command("engines", "--json") & {"torch", "onnx", "scipy", "cv2"}


def test_help_reads_the_options_of_no_command() -> None:
    assert "harness.model.card" not in _loaded_by_command("--help")
    bare = command_tree("").registered_commands
    assert not any(inspect.signature(command.callback).parameters for command in bare if command.callback)
    gate = next(c for c in command_tree("gate").registered_commands if c.callback and c.callback.__name__ == "gate")
    assert gate.callback is not None
    assert "policy" in inspect.signature(gate.callback).parameters


def test_pytorch_engines_leave_its_compiler_alone() -> None:
    numerics = "from engines.torch_engine import plain_numerics\nwith plain_numerics(): pass"
    assert not _loaded_by(numerics) & {"torch._dynamo", "torch._inductor.config", "sympy"}


def test_the_light_import_test_can_fail() -> None:
    assert "numpy" in _loaded_by("import harness.lines.table")


def test_help_answers() -> None:
    start = time.perf_counter()
    result = subprocess.run([sys.executable, "-m", "harness.cli", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0
    assert "replay" in result.stdout
    assert time.perf_counter() - start < 10  # hangs only; benchmarks/startup.py measures
