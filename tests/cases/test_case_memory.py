"""A case that is not in use takes no memory for its tables, and gives the same afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cases.case import open_case
from cases.errors import CaseError
from cases.synth import synth_cases


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synth_cases(1, 1, 0.5, tmp_path_factory.mktemp("cases"))[0]


@pytest.mark.parametrize("frames", [None, (2, 5)])
def test_a_forgotten_case_gives_the_same_again(folder: Path, frames: tuple[int, int] | None) -> None:
    case = open_case(folder) if frames is None else open_case(folder).clip(*frames)
    told = [(tick.frame, tick.timestamp_ns) for tick in case.ticks(())]
    length, times = case.length, case.timestamps_ns
    case.forget()
    assert "_columns" not in vars(case)
    assert case.length == length == len(told)
    assert np.array_equal(case.timestamps_ns, times)
    assert [(tick.frame, tick.timestamp_ns) for tick in case.ticks(())] == told


def test_tables_that_changed_meanwhile_are_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    case = open_case(copy)
    case.forget()
    content = bytearray((copy / "frames.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "frames.parquet").write_bytes(bytes(content))
    with pytest.raises(CaseError):
        case.frames  # noqa: B018  # reading is what is tried
