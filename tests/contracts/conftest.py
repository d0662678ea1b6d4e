"""Each version of NVIDIA's bindings, and a machine with a fake TensorRT of that version."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contract_bindings import PACKAGES
from contract_fakes import fake_module
from contract_host import HostDevice
from contract_machine import Machine, adapter_uses, real
from contract_rtx import VERSIONS
from contract_uses import Uses
from contract_world import World

from engines.tensorrt.api import ONLY


@pytest.fixture(params=PACKAGES)
def version(request: pytest.FixtureRequest) -> str:
    """Each version in turn."""
    return str(request.param)


@pytest.fixture(params=[*PACKAGES, *VERSIONS])
def any_version(request: pytest.FixtureRequest) -> str:
    """Each version of TensorRT, and of TensorRT for RTX."""
    return str(request.param)


@pytest.fixture
def real_surface(any_version: str) -> dict[str, Any]:
    """What that version's bindings offer."""
    return real(any_version)


@pytest.fixture
def uses() -> Uses:
    """Everything that the adapter asks of TensorRT, by its source."""
    return adapter_uses()


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Machine]]:
    """Start a machine with a version of TensorRT; at the end, all it was asked must stand in the adapter's source."""
    started: list[Machine] = []

    def start(version: str, capability: tuple[int, int] = (8, 6), gpu: str = "Fake GPU") -> Machine:
        world = World(version, "{}.{}".format(*capability))
        module = fake_module(real(version), world)
        device = HostDevice(gpu, capability)
        monkeypatch.setitem(sys.modules, "tensorrt", module)
        for place in ("engines.tensorrt.opening", "engines.tensorrt.device"):
            monkeypatch.setattr(f"{place}.open_device", lambda name: device)
        started.append(Machine(world, device, world.record))
        return started[-1]

    yield start
    for machine in started:
        dynamic = {name for name in machine.record.names if name.startswith("BuilderFlag.")}  # by the recipe's names
        asked_for = {name for only in ONLY for name in (only, only.partition(".")[0])}
        unread = machine.record.names - dynamic - adapter_uses().names - asked_for
        assert sorted(unread) == [], "contract_uses does not see where these are asked for"


@pytest.fixture
def machine(boot: Callable[..., Machine], version: str) -> Machine:
    """A machine with each version in turn."""
    return boot(version)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Folder of a card; its cache lies beside."""
    return tmp_path / "card"
