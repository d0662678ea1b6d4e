"""Damaged files of every kind: each ends in a result or in one line of ours, within seconds and within its memory.

One process reads many, so that a trial costs milliseconds; where it dies, the input it was at is what killed it, and
another goes on behind it.
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from benchmarks.breaking.mutations import damaged
from benchmarks.breaking.readers import READERS, prepare
from benchmarks.breaking.trials import ROOT, Results, environment

__all__ = ["names", "run"]

MEMORY_BYTES = 12 * 2**30
INPUT_S = 60
BATCH_S = 900.0


def names(inputs: int) -> list[str]:
    """Trials of all readers, spread evenly."""
    each = -(-inputs // len(READERS))
    return [f"fuzz/{reader}/{number}" for reader in READERS for number in range(each)]


def run(world: Path, results: Results, wanted: list[str]) -> None:
    """Read what is left of the trials."""
    prepare(world)
    left: dict[str, list[int]] = {}
    for name in results.left(wanted):
        _, reader, number = name.split("/")
        left.setdefault(reader, []).append(int(number))
    for reader, numbers in left.items():
        while numbers:
            done = 0
            for number, trouble in _batch(world, reader, numbers):
                results.add(f"fuzz/{reader}/{number}", trouble)
                done += 1
            if done < len(numbers):
                results.add(f"fuzz/{reader}/{numbers[done]}", "the process died")
                done += 1
            numbers = numbers[done:]


def _batch(world: Path, reader: str, numbers: list[int]) -> Iterator[tuple[int, str]]:
    argv = [sys.executable, "-m", "benchmarks.breaking.fuzz", str(world), reader, json.dumps(numbers)]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=environment()
    ) as process:
        assert process.stdout is not None  # it is a pipe
        for line in process.stdout:
            if line.startswith("{"):
                told = json.loads(line)
                yield told["number"], told["trouble"]


def _child(world: Path, reader: str, numbers: list[int]) -> None:
    """Read damaged copies and print what became of each; runs in a process of its own."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, _late)
    with tempfile.TemporaryDirectory(prefix="trueline-fuzz-") as folder:
        for number in numbers:
            place = Path(folder) / str(number)
            signal.alarm(INPUT_S)
            trouble = _trouble(world, reader, number, place)
            signal.alarm(0)
            left = sorted(p.name for p in Path(folder).iterdir() if p != place and p.name != "imported")
            shutil.rmtree(place, ignore_errors=True)
            print(
                json.dumps({"number": number, "trouble": trouble or ("left behind: " + left[0] if left else "")}),
                flush=True,
            )


def _trouble(world: Path, reader: str, number: int, place: Path) -> str:
    from trueline import TruelineError

    top, pattern, read = READERS[reader]
    shutil.copytree(world / top, place)
    seed = f"{reader}-{number}"
    file = random.Random(seed).choice(sorted(place.glob(pattern)))
    file.write_bytes(damaged(file.read_bytes(), seed))
    try:
        read(place)
    except TruelineError as error:
        return "" if str(error).isprintable() else "a message that steers a terminal"
    except BaseException as error:  # whatever it is, it is what this looks for
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(ROOT))]
        at = f"{Path(frames[-1].filename).relative_to(ROOT)}:{frames[-1].lineno}" if frames else "?"
        return f"{type(error).__name__}: {str(error)[:100]} at {at}"
    return ""


def _late(_: int, __: FrameType | None) -> None:
    raise TimeoutError(f"not read within {INPUT_S} s")


if __name__ == "__main__":
    _child(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
