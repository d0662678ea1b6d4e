"""Part A10: a program may announce, print, link and leave behind what it likes: its rung ends in one line, in time."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import engines
from engines.child.descendants import MARK
from engines.child.process import Process
from engines.errors import EngineCrashed
from engines.protocol import CommandSpec, Engine, ModelSource, TensorSpec

LIMIT_S = 20.0  # of a test's program; each is to end long before
PIPE = """
import os, sys, time, json
from safetensors.numpy import load, save
requests, answers = sys.stdin.buffer, sys.stdout.buffer
def send(data):
    answers.write(len(data).to_bytes(8, "little") + data)
    answers.flush()
def header(text):
    send(len(text).to_bytes(8, "little") + text)
while head := requests.read(8):
    good = load(requests.read(int.from_bytes(head, "little")))
"""


def _open(folder: Path, code: str, *arguments: str, **spec: object) -> Engine:
    folder.mkdir(exist_ok=True)
    (folder / "program.py").write_text(code)
    given = {"timeout_s": LIMIT_S, "max_output_mb": 8, **spec}
    command = CommandSpec((sys.executable, "-S" if "load" not in code else "-B", "program.py", *arguments), **given)  # type: ignore[arg-type]
    source = ModelSource("m", folder, (TensorSpec("y", (1, 3)),), ("y",), commands={"p": command})
    return engines.open("command:p", source)


def _refused(engine: Engine) -> str:
    """What the first frame says; in a moment, in one line."""
    start = time.monotonic()
    with pytest.raises(EngineCrashed) as caught:
        engine.infer({"y": np.zeros((1, 3), np.float32)})
    engine.close()
    assert time.monotonic() - start < LIMIT_S
    assert str(caught.value).isprintable()
    return str(caught.value)


DEEP = "b'[' * 100000 + b']' * 100000"
ANSWERS = {
    "announces 32 GiB": (
        "    answers.write((2**35).to_bytes(8, 'little')); answers.flush(); time.sleep(99)",
        "32768 MiB",
    ),
    "announces 9 MiB": ("    answers.write((9 << 20).to_bytes(8, 'little')); answers.flush(); time.sleep(99)", "9 MiB"),
    "announces 2^64": ("    answers.write(b'\\xff' * 8); answers.flush(); time.sleep(99)", "something else than"),
    "deep JSON": (f"    header(b'{{\"a\":' + {DEEP} + b'}}')", "something else than messages"),
    "metadata that is a list": ('    header(b\'{"__metadata__": ["error"]}\')', "something else than messages"),
    "metadata that is a number": ("    header(b'{\"__metadata__\": 5}')", "something else than messages"),
    "an error that is a number": ('    header(b\'{"__metadata__": {"error": 5}}\')', "something else than messages"),
    "no header": ("    send(b'')", "something else than messages"),
    "an empty tensor": ("    header(b'{\"y\": {}}')", "something else than messages"),
    "a negative shape": (
        '    header(b\'{"y":{"dtype":"F32","shape":[-1,-3],"data_offsets":[0,12]}}\' + bytes(12))',
        "something else than messages",
    ),
    "an endless line": ("    while True: answers.write(b'x' * 65536)", "something else than messages"),
    "an error with escapes": ("    send(save({}, metadata={'error': 'a\\nb\\x1b[31m[/x]'}))", "said: a b"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_a_running_program_answers_is_read_within_limits(answer: str, tmp_path: Path) -> None:
    code, said = ANSWERS[answer]
    assert said in _refused(_open(tmp_path / "m", PIPE + code, mode="pipe"))


OUTPUTS = {
    "a link to a device that never ends": ("os.symlink('/dev/zero', out)", "a device"),
    "a named pipe": ("os.mkfifo(out)", "a named pipe"),
    "a link to a named pipe": ("os.mkfifo(out + 'x'); os.symlink(out + 'x', out)", "a named pipe"),
    "a socket": ("import socket; socket.socket(socket.AF_UNIX).bind(out)", "a socket"),
    "too long a file": ("open(out, 'wb').truncate(9 << 20)", "more than 8 MiB"),
    "nothing": ("pass", "No such file"),
    "no folder any more": ("import shutil; shutil.rmtree(os.path.dirname(out))", "No such file"),
    "a link to itself": ("os.symlink(out, out)", "symbolic links"),
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_what_a_program_leaves_as_its_output_is_a_file(output: str, tmp_path: Path) -> None:
    code, said = OUTPUTS[output]
    assert said in _refused(_open(tmp_path / "m", f"import os, sys\nout = sys.argv[1]\n{code}\n", "{outputs}"))


def test_an_archive_that_unpacks_to_more_than_the_limit(tmp_path: Path) -> None:
    code = (
        "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z:\n"
        "    z.writestr('y.npy', bytes(9 << 20))\n"
    )
    assert "unpacks to 9 MiB" in _refused(_open(tmp_path / "m", code, "{outputs}", outputs="npz"))


@pytest.mark.parametrize("how", ["", "start_new_session=True", "start_new_session=True, stdin=subprocess.DEVNULL"])
@pytest.mark.parametrize("ends", ["", "sys.exit(3)", "time.sleep(99)"])
def test_nothing_that_a_program_started_survives(how: str, ends: str, tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(99)'], {how})\n"
        f"open('child', 'w').write(str(child.pid))\n{ends}\n"
    )
    _refused(_open(tmp_path / "m", code, timeout_s=4.0))
    _gone(int((tmp_path / "m" / "child").read_text()))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="daemons are found through /proc, on Linux")
def test_a_daemon_of_a_daemon_does_not_survive(tmp_path: Path) -> None:
    """Twice forked and in a session of its own, its parent gone: no signal to a group reaches it."""
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        open('child', 'w').write(str(os.getpid()))\n        time.sleep(99)\n    os._exit(0)\n"
        "while not os.path.exists('child'): time.sleep(0.01)\n"
    )
    _refused(_open(tmp_path / "m", code))
    _gone(int((tmp_path / "m" / "child").read_text()))


def _gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(pid):
        time.sleep(0.02)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_what_a_program_prints_is_kept_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.child.process._MOST_PRINTED_BYTES", 2**20)
    monkeypatch.setattr("engines.child.process._LOOK_S", 0.02)
    code = "import time\nfor _ in range(64): print('x' * 2**16, flush=True); time.sleep(0.005)\nprint('at last')"
    process = Process([sys.executable, "-S", "-c", code], cwd=tmp_path)
    assert process.wait(LIMIT_S) == 0
    process.tend()
    assert os.fstat(process._printed.fileno()).st_size <= 2**20
    assert process.last_words().endswith("at last")
    process.forget()


def test_a_mark_is_of_one_process(tmp_path: Path) -> None:
    code = f"import os, sys; sys.stderr.write(os.environ[{MARK!r}])"
    marks = set()
    for _ in range(2):
        process = Process([sys.executable, "-S", "-c", code])
        process.wait(LIMIT_S)
        marks.add(process.last_words())
        process.forget()
    assert len(marks) == 2
