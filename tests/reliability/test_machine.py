"""Part A13: what the machine refuses is one line and leaves nothing half-written; a bug of ours ends with 4."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main
from harness.run.json import write_json
from tests.reliability.identity_model import write_card, write_case
from trueline._drafts import replacing
from trueline._machine import machine_error

SMALL = 2_000  # bytes


def _trueline(*arguments: object, cwd: Path, **limits: int) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own with limits of `resource`, by name."""
    code = "import resource, sys\n"
    code += "".join(f"resource.setrlimit(resource.{name}, ({n}, {n}))\n" for name, n in limits.items())
    code += "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nfrom harness.cli import main\nmain()\n"
    argv = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(argv, capture_output=True, text=True, cwd=cwd, env=environment, timeout=120, check=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a card, a case and a finished run."""
    folder = tmp_path_factory.mktemp("machine")
    write_card(folder / "card")
    write_case(folder / "cases", frames=4)
    done = _trueline("replay", "card", "--cases", "cases", "--engines", "ort-fp32", "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


COMMANDS = {
    "replay": ("replay", "card", "--cases", "cases", "--engines", "ort-fp32", "--out", "new/run"),
    "outputs": ("outputs", "card", "--case", "cases/c0", "--engine", "ort-fp32", "--out", "new/out.json"),
    "report": ("report", "run", "--out", "new/report.html"),
    "gate": ("gate", "run", "--junit", "new/junit.xml"),
    "synth": ("case", "synth", "--seed", 1, "--count", 1, "--seconds", 0.2, "--out", "new/cases"),
    "import": ("case", "import", "cases/c0/cameras/front/tensors", "--id", "x", "--out", "new/cases"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_line_and_leaves_no_file_that_is_cut_off(command: str, world: Path, tmp_path: Path) -> None:
    """No file may grow beyond a few bytes, which a library meets as it meets a full disk."""
    new = world / "new"
    new.mkdir(exist_ok=True)
    if command == "import":
        pytest.importorskip("cv2")
        import cv2
        import numpy as np

        folder = tmp_path / "pictures"
        folder.mkdir()
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        for number in range(2):
            cv2.imwrite(str(folder / f"{number}.png"), noise)
        arguments: tuple[object, ...] = ("case", "import", folder, "--id", "x", "--out", "new/cases")
    else:
        arguments = COMMANDS[command]
    done = _trueline(*arguments, cwd=world, RLIMIT_FSIZE=SMALL)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error: ") == 1
    files = [p for p in new.rglob("*") if p.is_file() and p.name != ".lock"]
    assert [p for p in files if p.name.startswith(".draft-") or p.stat().st_size in (0, SMALL)] == []


def test_few_descriptors_are_one_line(world: Path) -> None:
    done = _trueline(*COMMANDS["replay"][:-1], "few", cwd=world, RLIMIT_NOFILE=8)
    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stderr, done.stderr


def test_a_bug_of_ours_ends_with_4_and_its_traceback(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world)
    for error in (ZeroDivisionError("planted"), KeyError("planted"), FileNotFoundError(errno.ENOENT, "planted", "x")):

        def bug(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("harness.gate.judge", bug)
        with pytest.raises(SystemExit) as caught:
            main(["gate", "run"])
        assert caught.value.code == 4
        said = capsys.readouterr().err
        assert "Traceback" in said
        assert "planted" in said


def test_what_a_users_code_leaves_by_is_no_verdict(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world)

    def leaves(*_: object, **__: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr("harness.gate.judge", leaves)
    with pytest.raises(SystemExit) as caught:
        main(["gate", "run"])
    assert caught.value.code == 4
    assert "Traceback" in capsys.readouterr().err


class PolarsError(Exception):
    """As libraries in Rust tell of the system's errors."""

    __module__ = "polars.exceptions"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "No space left on device | where: /a/b"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "Permission denied | where: /a"),
        (MemoryError(), "out of memory"),
        (PolarsError("No space left on device (os error 28)"), "No space left"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (PolarsError("IOError(Os { code: 11, kind: WouldBlock, message: ... })"), "no more processes or threads"),
        (ImportError("libx.so: failed to map segment from shared object"), "more memory"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), "free some space"),
    ],
)
def test_what_the_machine_refuses_is_told_from_anywhere_in_a_chain(error: Exception, said: str) -> None:
    outer = RuntimeError("outer")
    outer.__cause__ = error
    for one in (error, outer):
        assert said in str(machine_error(one))
    assert machine_error(ValueError("(os error 28)")) is None
    assert machine_error(FileNotFoundError(errno.ENOENT, "no", "x")) is None


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1, "name": "\udcff"})
    before = path.read_bytes()

    def fails() -> None:
        with replacing(path) as draft:
            draft.write_bytes(b"half")
            raise OSError("planted")

    with pytest.raises(OSError, match="planted"):
        fails()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
