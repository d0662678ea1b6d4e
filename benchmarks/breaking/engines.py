"""Programs and networks that crash, hang, leak or lie: their own rung is lost, in one line, in time."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.breaking.trials import Results, command, trouble_of
from tests.reliability.identity_model import write_card
from tests.reliability.test_programs import ANSWERS, OUTPUTS, PIPE

__all__ = ["run"]

LIMIT_S = 4
# what a program for every frame does, before it would answer
DEEDS = {
    "segfault": "import ctypes; ctypes.string_at(0)",
    "abort": "os.abort()",
    "hang": "time.sleep(999)",
    "stop": "os.kill(os.getpid(), 19)",
    "quiet exit": "os._exit(0)",
    "exit code": "sys.exit(7)",
    "ends its group": "os.kill(0, 15)",
    "prints without end": "while True: print('x' * 9999)",
    "daemon": "import subprocess; subprocess.Popen(['sleep', '99'], start_new_session=True)",
    "forks": "[os.fork() for _ in range(5)]; time.sleep(99)",
    "garbage": "open(out, 'wb').write(os.urandom(5000))",
    "escapes": "sys.exit('\\x1b]0;title\\x07[/images] \\u202e')",
}
# what a network does in its third frame; each runs in a process of its own
NETWORKS = {
    "segfault": "import ctypes; ctypes.string_at(0)",
    "leaves": "os._exit(0)",
    "sys.exit": "sys.exit(0)",
    "ctrl-c": "raise KeyboardInterrupt",
    "odd exception": "raise type('Odd', (BaseException,), {})('odd')",
    "hang": "time.sleep(999)",
    "leak": "torch.empty(10**13)",
    "another shape": "x = x[:, :, :5]",
    "nothing": "return None",
    "nan": "x = x * float('nan')",
    "closes files": "os.closerange(3, 200)",
    "prints on every descriptor": "[os.write(fd, b'x' * 100) for fd in (1, 2)]",
    "stops": "os.kill(os.getpid(), 19)",
}
NETWORK = """
import os, sys, time, torch
class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
    def forward(self, x):
        self.calls += 1
        if self.calls == 3:
            DEED
        return x * 1.0, torch.full((1, 4), 0.9)
def build():
    return Network()
"""


def run(world: Path, results: Results) -> None:
    """Every misdeed in a replay of its own, beside a rung that is sound."""
    programs = {f"engines/program/{name}": _per_frame(code) for name, code in DEEDS.items()}
    programs |= {f"engines/program output/{name}": _per_frame(code) for name, (code, _) in OUTPUTS.items()}
    programs |= {f"engines/program answer/{name}": _pipe(code) for name, (code, _) in ANSWERS.items()}
    for trial in results.left(programs):
        results.add(trial, _program(world, *programs[trial]))
    networks = {f"engines/network/{name}": code for name, code in NETWORKS.items()}
    for trial in results.left(networks):
        results.add(trial, _network(world, networks[trial]))


def _per_frame(code: str) -> tuple[str, str]:
    table = 'run = ["{python}", "{{root}}/users.py", "{{outputs}}"]\noutputs = "npz"\n'
    return f"import os, sys, time\nout = sys.argv[1]\n{code}\n", table


def _pipe(code: str) -> tuple[str, str]:
    return PIPE + code, 'run = ["{python}", "{{root}}/users.py"]\nmode = "pipe"\n'


def _program(world: Path, code: str, table: str) -> str:
    extra = f"[command.p]\n{table.format(python=sys.executable)}timeout_s = {LIMIT_S}\nmax_output_mb = 8\n"
    return _replayed(world, code, extra, "command:p", "deploy/command:p", ())


def _network(world: Path, deed: str) -> str:
    extra = '[torch]\nfactory = "users:build"\n'
    options = ("--isolate", "--timeout", str(LIMIT_S))
    return _replayed(world, NETWORK.replace("DEED", deed), extra, "torch-fp32", "deploy/torch-fp32", options)


def _replayed(world: Path, code: str, extra: str, engine: str, rung: str, options: tuple[str, ...]) -> str:
    """What is wrong with a replay of a bad engine and a sound one; the bad one must not be `ok` without a reason."""
    with tempfile.TemporaryDirectory(prefix="trueline-engines-") as name:
        folder = Path(name)
        card = write_card(folder / "card", code=code, extra=extra)
        card.write_text(card.read_text().replace("[onnx]", 'reference = "train/ort-fp32"\n[onnx]', 1))
        arguments = ("replay", "card", "--cases", world / "tensors", "--engines", f"ort-fp32,{engine}", "--out", "run")
        done = command(*arguments, *options, cwd=folder)
        if trouble := trouble_of(done, (0,)):
            return trouble
        rungs = {r["name"]: r for r in json.loads((folder / "run" / "run.json").read_text())["rungs"]}
    sound = [n for n, r in rungs.items() if r["engine"] == "ort-fp32" and r["status"] != "ok"]
    if sound:
        return f"{sound[0]} was lost too: {rungs[sound[0]]['reason']}"
    if not rungs[rung]["reason"].isprintable():
        return "a reason that steers a terminal"
    return ""
