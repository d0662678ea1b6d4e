"""The difference picture says whose pictures it shows: those of a deploy pipeline are not the car's."""

from __future__ import annotations

import numpy as np
import pytest

from harness.diagnosis import pictures as module
from harness.diagnosis.model import Diagnosis
from harness.diagnosis.solve import Pictures


@pytest.mark.parametrize("whose", ["the car's", "the deploy pipeline's"])
def test_captions_name_whose_pictures_they_are(monkeypatch, whose):
    captions = []
    panel = module._panel
    monkeypatch.setattr(module, "_panel", lambda picture, text: captions.append(text) or panel(picture, text))
    gray = np.full((8, 640, 3), 128, np.float32)
    told = Diagnosis("image", "road", "the lab's", "named", subject=f"{whose} tensor")
    drawn = module.draw(Pictures(gray, gray + 2, gray), told)
    assert captions[:2] == ["expected: the lab's", whose]
    assert captions[2].startswith(f"{whose} - expected, x")
    assert drawn.shape[1] == 2 * 640 + 4
