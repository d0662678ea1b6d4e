"""Shared by every test: the shared-data folder, and pytest's own tester for the plugin."""

from __future__ import annotations

import os
from collections.abc import Iterator
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


@pytest.fixture(scope="session", autouse=True)
def _exports_are_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The same export is made once for all tests and workers."""
    from engines import export
    from tests.shared_exports import remembered

    base = tmp_path_factory.getbasetemp()
    kept = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exports"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "run_exporter", remembered(export.run_exporter, kept))
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate-golden", action="store_true", help="write the files of tests/golden anew, and fail that run"
    )
