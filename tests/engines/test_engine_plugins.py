"""A card's libraries of custom operators: each runtime takes its own and does not touch the others'."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from engine_models import inputs_of

import engines
from engines.errors import ModelLoadError
from engines.plugins import for_onnx_runtime, for_tensorrt
from engines.protocol import ModelSource
from engines.sealed import file_sha256

Cards = Callable[..., ModelSource]

NOT_HERE = (
    "extern int of_a_runtime_that_is_not_here(void); int needed(void) { return of_a_runtime_that_is_not_here(); } "
)
CODE = {
    "ours": "void *RegisterCustomOps(void *options, void *api) { return 0; }",
    "creators": NOT_HERE + "int getCreators(void) { return needed(); }",
    "older": NOT_HERE + "int getPluginCreators(void) { return needed(); }",
    "registers_itself": NOT_HERE + "int here = 1;",
    "both": "void *RegisterCustomOps(void *options, void *api) { return 0; } int getCreators(void) { return 0; }",
}


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One library of each kind; those of TensorRT do not load, as without TensorRT."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    folder = tmp_path_factory.mktemp("libraries")
    made = {}
    for name, code in CODE.items():
        (folder / f"{name}.c").write_text(code)
        made[name] = folder / f"{name}.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-Wl,-z,now", "-o", made[name], folder / f"{name}.c"], check=True)
    return made


def test_what_a_library_exports_says_whose_it_is(libraries: dict[str, Path]) -> None:
    assert [path.stem for path in for_onnx_runtime(libraries.values())] == ["ours", "both"]
    assert [path.stem for path in for_tensorrt(libraries.values())] == ["creators", "older", "registers_itself", "both"]


@pytest.mark.parametrize("name", ["ort-fp32-none", "ort-fp32", "emulated-fp16"])
def test_onnx_runtime_registers_its_own_and_leaves_the_rest(
    name: str, shared_cards: Cards, libraries: dict[str, Path]
) -> None:
    source = replace(shared_cards("Lanes"), plugins=tuple(libraries.values()))
    engine = engines.open(name, source)
    assert engine.provenance["plugins"] == {f"{k}.so": file_sha256(libraries[k]) for k in ("ours", "both")}
    assert engine.infer(inputs_of(source))["lines"].shape == (1, 6)


def test_no_plugins_are_not_mentioned(shared_cards: Cards) -> None:
    assert "plugins" not in engines.open("ort-fp32", shared_cards("Lanes")).provenance


@pytest.mark.parametrize("content", [None, b"", b"#!/bin/sh\n"], ids=["absent", "empty", "script"])
def test_what_is_no_library_is_refused(content: bytes | None, shared_cards: Cards, tmp_path: Path) -> None:
    path = tmp_path / "ops.so"
    if content is not None:
        path.write_bytes(content)
    assert for_onnx_runtime([path]) == for_tensorrt([path]) == (path,)
    with pytest.raises(ModelLoadError) as caught:
        engines.open("ort-fp32", replace(shared_cards("Lanes"), plugins=(path,)))
    assert str(path) in caught.value.where
    assert "\n" not in str(caught.value)
