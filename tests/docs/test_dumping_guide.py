"""The header of docs/dumping.md that needs no library: what it writes is what Trueline reads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from engines.formats.trtexec import read_raw_folder
from tests.docs.blocks import blocks_of

PAGE = "docs/dumping.md"
MAIN = """#include "dump.hpp"
int main(int, char** words) {
    const float picture[6] = {0.f, 1.5f, -2.f, 3e38f, 5.f, -0.f};
    const std::int64_t state[1] = {-7};
    dump_tensor(words[1], 1700000000050000000, "images:0/crop", true, {1, 2, 3}, "fp32", picture, sizeof picture);
    dump_tensor(words[1], 1700000000050000000, "state", false, {}, "int64", state, sizeof state);
}
"""


@pytest.fixture(scope="module")
def dumped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("dump")
    (header,) = (b.code for b in blocks_of(PAGE) if b.code.startswith("// dump.hpp"))
    (folder / "dump.hpp").write_text(header, encoding="utf-8")
    (folder / "main.cpp").write_text(MAIN, encoding="utf-8")
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "main.cpp", "-o", "dump"], cwd=folder, check=True)
    subprocess.run([folder / "dump", folder / "car"], check=True)
    return folder / "car" / "1700000000050000000"


def test_what_the_header_writes_is_read_under_the_true_names(dumped: Path) -> None:
    read = read_raw_folder(dumped, ["images:0/crop"])
    assert sorted(read) == ["images:0/crop", "state"]
    np.testing.assert_array_equal(read["images:0/crop"], np.float32([[[0, 1.5, -2], [3e38, 5, -0.0]]]))
    assert (read["state"].shape, read["state"].dtype, int(read["state"])) == ((), np.int64, -7)


def test_no_draft_is_left(dumped: Path) -> None:
    assert sorted(p.name for p in dumped.iterdir()) == ["images_0_crop.input.1.2.3.fp32.raw", "state.output..int64.raw"]
