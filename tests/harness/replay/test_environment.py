"""The heap of a process: what is freed may stay for a while, and is given back."""

from __future__ import annotations

import platform
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.replay.environment import roomy_heap

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such heap")

FLOATS = 24 << 20  # 96 MiB


def faults_of(work: Callable[[], object]) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def large() -> None:
    np.ones(FLOATS, np.float32)


def test_in_a_roomy_heap_a_large_array_costs_new_pages_once() -> None:
    large()
    usual = faults_of(large)
    assert usual > 40, "pages of 4 KiB or of 2 MiB, whatever the system gives"
    with roomy_heap():
        large()
        assert faults_of(large) < usual / 10
    assert faults_of(large) > usual / 2, "as before"


def test_after_a_roomy_heap_its_memory_is_given_back() -> None:
    before = resident_bytes()
    with roomy_heap():
        large()
        assert resident_bytes() > before + 3 * FLOATS
    assert resident_bytes() < before + FLOATS
