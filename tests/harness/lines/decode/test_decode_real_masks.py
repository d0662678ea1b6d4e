"""The mask decoder on masks of a published network and real pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.lines.decode.mask import MaskOptions, lines_of_margin
from tests.harness.lines.decode.mask_strokes import across_px, margin

CLIPS = {"solid_white_right": (0, 100), "highway_curve": (10, 40), "concrete_bridge": (0, 60)}

# a process of its own: the first session of a process decides about denormals for all
INFER = """
import sys, av, cv2, numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.set_denormal_as_zero", "1")
data, out, clip, *frames = sys.argv[1:]
session = onnxruntime.InferenceSession(f"{data}/models/twinlitenet.onnx", options)
found = []
with av.open(f"{data}/clips/{clip}.mp4") as video:
    for number, frame in enumerate(video.decode(video=0)):
        if str(number) in frames:
            rgb = cv2.resize(frame.to_ndarray(format="rgb24"), (640, 360), interpolation=cv2.INTER_AREA)
            image = np.ascontiguousarray(rgb.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
            (ll,) = session.run(["ll"], {"images": image})
            found.append(ll[0, 1] - ll[0, 0])
        if len(found) == len(frames):
            break
np.save(out, np.stack(found))
"""


@pytest.fixture(scope="module", params=CLIPS)
def margins(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    model = shared_data / "models" / "twinlitenet.onnx"
    if not model.exists():
        pytest.skip(f"no model at {model}")
    out = tmp_path_factory.mktemp("masks") / "margins.npy"
    frames = [str(f) for f in CLIPS[request.param]]
    subprocess.run([sys.executable, "-c", INFER, str(shared_data), str(out), request.param, *frames], check=True)
    return np.load(out)


def ego_lines(values: np.ndarray) -> list[np.ndarray]:
    """The lines that reach the near rows: those of the own lane, which a person sees at once in these frames."""
    lines = [points for points, _ in lines_of_margin(values, MaskOptions())]
    return [line for line in lines if line[0, 1] > 300]


def test_the_own_lane_has_its_two_lines(margins: np.ndarray) -> None:
    for values in margins:
        left, right = ego_lines(values)
        assert left[0, 0] < 200
        assert right[0, 0] > 440
        assert max(left[-1, 1], right[-1, 1]) < 235  # both reach far


def test_lines_run_inside_the_mask(margins: np.ndarray) -> None:
    for values in margins:
        away = cv2.distanceTransform((values <= 0).astype(np.uint8), cv2.DIST_L2, 3)
        for line in ego_lines(values):
            at = away[line[:, 1].astype(int), np.rint(line[:, 0]).astype(int)]
            assert at.max() < 2


def test_one_pixel_of_salt_moves_the_own_lane_by_less_than_one(margins: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    square = np.ones((3, 3))
    for values in margins:
        mask = (values > 0).astype(np.uint8)
        border = cv2.dilate(mask, square) != cv2.erode(mask, square)
        salted = mask ^ (border & (rng.random(mask.shape) < 0.15))
        clean, noisy = ego_lines(margin(mask > 0)), ego_lines(margin(salted > 0))
        assert len(noisy) == len(clean)
        assert max(across_px(a, b) for a, b in zip(clean, noisy, strict=True)) < 1.5
        assert np.mean([across_px(a, b) for a, b in zip(clean, noisy, strict=True)]) < 1
