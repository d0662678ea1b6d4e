"""Processes side by side: what the environment tells them, and that it is put back."""

from __future__ import annotations

import os

import pytest

from engines.cpu import usable_cores
from trueline._workers import worker_pool


@pytest.mark.parametrize(
    ("said", "cores"), [("1", 1), ("1,2", 1), ("0", None), ("many", None), ("", None), ("999", None)]
)
def test_omp_num_threads_holds_for_every_engine(said: str, cores: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    there = usable_cores()
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert usable_cores() == (cores or there)


def test_workers_have_the_threads_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with worker_pool(1, threads=1) as pool:
        assert pool.submit(usable_cores).result() == 1
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
