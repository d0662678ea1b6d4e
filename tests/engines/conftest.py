"""Fixtures for engine tests."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from engine_models import make_source

from engines.protocol import ModelSource


@pytest.fixture(scope="session")
def shared_cards(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ModelSource]:
    """Model name -> its source; built once, exports cached for the whole session."""
    root = tmp_path_factory.mktemp("cards")
    made: dict[str, ModelSource] = {}

    def source(model: str) -> ModelSource:
        if model not in made:
            made[model] = make_source(root / model, model)
        return made[model]

    return source


@pytest.fixture
def card(tmp_path: Path) -> Callable[..., ModelSource]:
    """A fresh card folder for tests that change it; keyword arguments replace fields of the source."""
    return lambda model="Lanes", **changes: replace(make_source(tmp_path / model, model), **changes)
