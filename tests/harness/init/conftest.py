"""A small network through init."""

from __future__ import annotations

import pytest

from harness.init import init_project
from harness.model.card import load_card
from tests.harness.init.init_models import pictures, write_network


@pytest.fixture
def made(tmp_path):
    """Runs init on outputs; (project, card)."""
    folder = pictures(tmp_path / "drive")

    def make(outputs, answers=None, out="out", **network):
        path = write_network(tmp_path / "lanes.onnx", outputs, **network)
        project = init_project(str(path), [folder], tmp_path / out, answers=answers, cache=tmp_path / "cache")
        return project, load_card(project.card)

    return make
