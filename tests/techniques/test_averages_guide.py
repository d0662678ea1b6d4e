from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from techniques.ema import EMA
from techniques.swa import SWA
from techniques.swa_detection import SWADetection
from techniques.swalp import SWALP

GUIDE = (Path(__file__).parents[2] / "docs" / "techniques" / "averages.md").read_text(encoding="utf-8")


def test_the_guide_s_code_runs_and_learns() -> None:
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL):
        exec(code, names)
    x = torch.randn(200, 4)
    with torch.no_grad():
        wrong = (names["model"].eval()(x).argmax(1) != x[:, :3].argmax(1)).float().mean()
    assert wrong < 0.2


@pytest.mark.parametrize("kind", [SWA, EMA, SWADetection, SWALP])
def test_every_option_is_in_the_guide(kind: Any) -> None:
    for field in dataclasses.fields(kind):
        if field.init:
            assert f"`{field.name}`" in GUIDE
