"""Shared by every test: the shared-data folder, and pytest's own tester for the plugin."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("patient", deadline=None)  # a busy machine is no broken law
settings.load_profile("patient")

pytest_plugins = ["pytester"]

SHARED_DATA = Path(__file__).parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real clips and models outside the repository; skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no shared data at {SHARED_DATA}")
    return SHARED_DATA


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate-golden", action="store_true", help="write the files of tests/golden anew, and fail that run"
    )
