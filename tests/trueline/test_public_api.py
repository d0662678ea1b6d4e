"""The public API: one page, loaded on first use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import trueline

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "onnx", "onnxruntime", "numpy", "polars", "scipy", "cv2", "av", "pydantic", "rich", "typer")


def _loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_importing_it_loads_nothing_else() -> None:
    loaded = _loaded_by("import trueline")
    assert not loaded & {*HEAVY, "harness", "engines", "cases", "techniques"}
    assert {name for name in loaded if name.startswith("trueline.")} == {"trueline._errors", "trueline._text"}


def test_the_rule_can_fail() -> None:
    assert {"harness", "polars"} <= _loaded_by("import trueline; trueline.replay")


def test_asking_for_a_card_loads_no_runtime() -> None:
    assert not _loaded_by("import trueline; trueline.load_card") & {"torch", "onnx", "onnxruntime", "cv2", "av"}


@pytest.mark.parametrize("name", [n for n in trueline.__all__ if n != "__version__"])
def test_every_name_is_there_and_documented(name: str) -> None:
    assert getattr(trueline, name).__doc__
    assert name in dir(trueline)


def test_a_name_that_is_not_there_says_what_is() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'replya'; it has .*'replay'"):
        trueline.replya  # noqa: B018


def test_there_is_no_module_that_could_hide_a_name() -> None:
    modules = {p.stem for p in (ROOT / "trueline").glob("*.py")} - {"__init__"}
    assert all(name.startswith("_") for name in modules)
    assert (ROOT / "trueline" / "py.typed").exists()


def test_type_checkers_see_what_is_loaded_on_first_use() -> None:
    text = (ROOT / "trueline" / "__init__.py").read_text(encoding="utf-8")
    for name, home in trueline._HOMES.items():
        assert f"from {home} import {name} as {name}\n" in text
