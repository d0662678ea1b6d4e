"""pytester forgets every module that a test imports, and these cannot be imported twice in one process."""

from __future__ import annotations

import av
import cv2
import filelock
import onnx
import onnxruntime
import polars
import pytest
import scipy.sparse
import scipy.special
import torch

import harness.job
import harness.plugin.items
import harness.plugin.summary
import harness.replay.replay
from tests.harness.plugin.plugin_suites import fake_explanation, fake_replay, fake_report

__all__ = ["av", "cv2", "filelock", "harness", "onnx", "onnxruntime", "polars", "scipy", "torch"]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder whose replays are made up and reports are one word."""
    monkeypatch.setattr("harness.replay.replay.replay", fake_replay(pytester.path))
    monkeypatch.setattr("harness.job.explain", fake_explanation)
    monkeypatch.setattr("harness.job.write_report", fake_report)
    return pytester
