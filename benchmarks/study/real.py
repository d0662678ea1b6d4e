"""A sanity check on real frames: how far a pipeline moves the lines, and how far they lie from a published model's.

Every fourth frame of two clips (docs of examples/twinlitenet say whose), cut so that the horizon lies where the demo's
camera has it, and TwinLiteNet's lines on the same frames as pseudo-truth. The demo model never saw a real road; this
choses nothing and claims nothing but that an order of arms on synthetic roads is, or is not, the order on real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.study.bench import LAB, PIPELINES, tensors
from cases.synth import camera_picture
from cases.synth.camera import Camera

__all__ = ["available", "on_frames"]

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CLIPS = ("highway_curve", "concrete_bridge")
MODEL = DATA / "models" / "twinlitenet.onnx"
EVERY, HORIZON_ROW = 4, 420  # of 720
NEAR_M = (8.0, 30.0)
Array = NDArray[Any]


def available() -> bool:
    """Whether clips and model are there."""
    return MODEL.exists() and all((DATA / "clips" / f"{clip}.mp4").exists() for clip in CLIPS)


def on_frames(networks: Sequence[Any], folder: Path) -> dict[str, Any]:
    """Mean |y(pipeline) - y(train)| of the ego lines within 40 m by pipeline and clip, mm; and distance to TwinLiteNet.

    `pixels`: median distance in columns of the ego lines' pixels between 8 and 30 m from TwinLiteNet's nearest line in
    that row; `seen`: share of those pixels where it has a line within 40 columns.
    """
    from benchmarks.study.candidate import together
    from benchmarks.study.measure import answers

    images, clip, masks = _frames(folder)
    y, presence = together([answers(n, images) for n in networks])
    ego, near = y[:, :, 1:3], np.arange(y.shape[-1]) * 2.5 <= 40
    lab = ego[:, PIPELINES.index(LAB)]
    gap = {
        name: [round(1000 * float(np.abs(ego[clip == c, i] - lab[clip == c])[..., near].mean()), 3) for c in (0, 1)]
        for i, name in enumerate(PIPELINES)
        if name != LAB
    }
    distance = np.concatenate([_to_mask(lines, mask) for lines, mask in zip(lab, masks, strict=True)])
    seen = distance <= 40
    return {
        "gap": gap,
        "pixels": round(float(np.median(distance[seen])), 2) if seen.any() else None,
        "seen": round(float(seen.mean()), 3),
        "present": round(float((presence[:, 0, 1:3] > 0).mean()), 3),
    }


def _to_mask(lines: Array, mask: Array) -> Array:
    """Columns from each pixel of the two ego lines [2, 33] to the nearest line pixel of its row; 999 where none."""
    x = np.arange(*NEAR_M, 1.0)
    camera, found = Camera(), []
    for y in lines:
        ground = np.column_stack([x, np.interp(x, np.arange(len(y)) * 2.5, y), np.zeros_like(x)])
        for u, v in camera.project(ground):
            if 0 <= u < camera.width and 0 <= v < camera.height:
                columns = np.flatnonzero(mask[round(min(v, camera.height - 1))])
                found.append(float(np.abs(columns - u).min()) if len(columns) else 999.0)
    return np.array(found)


def _frames(folder: Path) -> tuple[Array, Array, Array]:
    """(tensors of every pipeline, clip of each frame, TwinLiteNet's line mask [frame, 360, 640]), kept in a file."""
    path = folder / "real.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.npz")
        np.savez(unfinished, **_made())
        unfinished.rename(path)
    with np.load(path, allow_pickle=False) as found:
        return found["images"], found["clip"], found["masks"]


def _made() -> dict[str, Array]:
    import cv2
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
    pictures, clip, masks = [], [], []
    for number, name in enumerate(CLIPS):
        for frame in _read(DATA / "clips" / f"{name}.mp4")[::EVERY]:
            whole = cv2.resize(frame, (640, 360)).astype(np.float32).transpose(2, 0, 1)[None] / 255
            _, lines = session.run(None, {session.get_inputs()[0].name: whole})
            mask = (lines[0, 1] > lines[0, 0]).astype(np.uint8)
            pictures.append(camera_picture(np.ascontiguousarray(_cut(frame, cv2.INTER_AREA))))
            masks.append(_cut(cv2.resize(mask, (1280, 720), interpolation=cv2.INTER_NEAREST), cv2.INTER_NEAREST))
            clip.append(number)
    return {"images": tensors(pictures), "clip": np.array(clip), "masks": np.array(masks, bool)}


def _cut(frame: Array, kernel: int) -> Array:
    """Of [720, 1280, ...] the middle part, 640 x 360, whose horizon is the synthetic camera's."""
    import cv2

    camera = Camera()
    horizon = camera.horizon_row(0.0)
    first = round((HORIZON_ROW * camera.height - horizon * 720) / (camera.height - horizon))
    height = 720 - first
    width = 2 * round(height * camera.width / camera.height / 2)
    left = (1280 - width) // 2
    return np.asarray(
        cv2.resize(frame[first:, left : left + width], (camera.width, camera.height), interpolation=kernel)
    )


def _read(path: Path) -> list[Array]:
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
