"""A case that is not in use takes no memory for its tables, and gives the same afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cases.case import open_case
from cases.errors import CaseError
from cases.schema import CameraMeta
from cases.synth import synth_cases
from cases.writer import CaseWriter


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
        case.timestamps_ns  # noqa: B018  # reading is what is tried


def test_a_long_case_takes_no_more_memory_to_open_than_a_shorter_one(tmp_path: Path) -> None:
    peaks_mb = [_peak_of_opening(tmp_path, frames) for frames in (50_000, 300_000)]
    assert peaks_mb[1] - peaks_mb[0] < 8  # a table of 300,000 rows in memory takes 25 MB more


def _peak_of_opening(folder: Path, frames: int) -> float:
    """MB that are not of files, of a process that opens a case with motion and walks through its moments."""
    count = np.arange(frames)
    with CaseWriter(folder, id=f"long{frames}", fps=20, lossy=False) as writer:
        tensors = writer.add_camera("front", CameraMeta(kind="tensors", pixel_format="tensor")) / "tensors"
        np.save(tensors / "x.npy", np.zeros((frames, 1), np.uint8))
        table = {"frame": count, "timestamp_ns": count * 50_000_000, "camera": "front", "index": count}
        writer.set_frames(pl.DataFrame({**table, "speed_mps": np.sin(count), "yaw_rate_radps": np.cos(count)}))
    code = f"""
import threading
import trueline
from pathlib import Path
from cases.case import open_case
peak, done = [0], threading.Event()
def watch():
    while not done.wait(0.005):
        said = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("Rss"))
        peak[0] = max(peak[0], int(said["RssAnon"].split()[0]))
watcher = threading.Thread(target=watch)
watcher.start()
case = open_case(Path({str(writer.path)!r}))
for _ in case.ticks(pictures=False):
    pass
done.set()
watcher.join()
print(peak[0])
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(said.stdout) / 1024
