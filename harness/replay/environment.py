"""What a replay asks of libraries through the environment, while it runs and for the processes it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["SETTINGS", "replay_environment"]

SETTINGS = {
    # Runtimes with thread pools of their own take turns in a replay. OpenMP threads that spin while another pool works
    # made a 0.2 ms PyTorch call take 35 to 55 ms on two busy cores; waiting passively costs microseconds. It takes
    # effect where PyTorch has not been loaded yet.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Part files are read one at a time when the tables are written: polars reads several ahead, and memory grew with
    # the number of cases.
    "POLARS_MAX_CONCURRENT_SCANS": "1",
    "POLARS_ROW_GROUP_PREFETCH_SIZE": "1",
}


@contextmanager
def replay_environment() -> Iterator[None]:
    """Set SETTINGS; a choice already made is kept, and the environment is as before afterwards."""
    added = {name: value for name, value in SETTINGS.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
