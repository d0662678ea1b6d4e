"""How many threads of this machine are worth using."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["usable_cores"]


def usable_cores() -> int:
    """Physical cores this process may run on, at most what a container's quota and OMP_NUM_THREADS grant; at least 1.

    Hyperthreads share the units that convolutions keep busy, so two on one core count once. OMP_NUM_THREADS holds for
    every engine, as it does for PyTorch: who runs processes side by side says there how many threads each may have.
    """
    try:
        cores = len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})
    except AttributeError:  # not on Linux
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota(), _asked()))


def _asked() -> int:
    """OMP_NUM_THREADS, the first of a list; many where it says no number above 0."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else 1 << 16


def _siblings(cpu: int) -> str:
    """The set of hardware threads that share a core with this one, as the kernel writes it."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return str(cpu)


def _quota() -> int:
    """Whole processors that the control group grants; many where it sets no limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()[:2]
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return 1 << 16
