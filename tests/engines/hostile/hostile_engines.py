"""A third party's engine that misbehaves as it is told: `hostile:MISDEED` or `hostile:MISDEED-N`, from its Nth call on.

Misdeeds that end the process or never come back belong into a process of their own. Without one it draws straight
lines, moved by the mean of its inputs.
"""

import ctypes
import os
import signal
import sys
import time

import numpy as np

from engines.base import FrameEngine
from engines.errors import EngineCrashed, EngineUnavailable, RecordingGap


def open_engine(name, source, **options):
    misdeed, _, call = name.partition(":")[2].partition("-")
    if misdeed.startswith("open_"):
        MISDEEDS[misdeed.removeprefix("open_")]()
    return Hostile(name, source, misdeed, int(call or 1), options)


class Hostile(FrameEngine):
    uses_time = True

    def __init__(self, name, source, misdeed, first_call, options):
        facts = {"pid": os.getpid(), "options": options, "variable": os.environ.get("HOSTILE_TEST", "")}
        super().__init__(name, facts)
        self._source, self._misdeed, self._first_call, self._calls = source, misdeed, first_call, 0
        self._now_ns, self._kept = 0, None

    def start_case(self, context):
        self._provenance["case"] = context.case
        if self._misdeed == "case":
            segfault()

    def seek(self, timestamp_ns):
        self._now_ns = timestamp_ns

    def infer(self, inputs):
        self._calls += 1
        if self._misdeed in MISDEEDS and self._calls >= self._first_call:
            MISDEEDS[self._misdeed]()
        if self._misdeed == "echo":
            kept, self._kept = self._kept, dict(inputs)
            return (
                {**inputs, "now": np.array(self._now_ns)} if kept is None else {**kept, "now": np.array(self._now_ns)}
            )
        value = np.nan if self._misdeed == "nan" and self._calls >= self._first_call else 0.0
        return self._lines(value + 1e-3 * float(np.mean([np.mean(a) for a in inputs.values()])))

    def _lines(self, shift_m):
        x = np.linspace(0, 80, 33, dtype=np.float32)
        lines = np.stack([np.stack([x, np.full_like(x, y + shift_m)], -1) for y in (5.4, 1.8, -1.8, -5.4)])[None]
        made = {"lines": lines.astype(np.float32), "scores": np.full((1, 4), 0.95, np.float32)}
        return {name: made[name] for name in self._source.outputs}


def segfault():
    print("about to read address 1", file=sys.stderr, flush=True)
    ctypes.string_at(1)


def out_of_memory():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    print("waiting for a lock", file=sys.stderr, flush=True)
    time.sleep(3600)


def leave():
    os._exit(7)


def foreign():
    raise ValueError("a foreign error\nof two lines")


def quits():
    sys.exit("no licence")


def ours():
    raise EngineCrashed("the runtime said no", where="layer 3", remedy="ask it")


def gap():
    raise RecordingGap("nothing there", where="hostile", remedy="none")


def unavailable():
    raise EngineUnavailable("no such board", where="hostile", remedy="buy one")


MISDEEDS = {
    "segfault": segfault,
    "oom": out_of_memory,
    "hang": hang,
    "exit": leave,
    "foreign": foreign,
    "quits": quits,
    "ours": ours,
    "gap": gap,
    "unavailable": unavailable,
}
