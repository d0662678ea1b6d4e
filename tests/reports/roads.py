"""Small recordings: bright lines that drift over a textured road, as tensors, pictures or a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cases.schema import CameraMeta
from cases.writer import CaseWriter
from tests.reports.variant import Variant

__all__ = ["START_NS", "moments_ns", "road", "road_pictures", "write_pictures", "write_tensors"]

START_NS = 1_700_000_000_000_000_000


def moments_ns(variant: Variant) -> list[int]:
    """Time of every frame."""
    step = round(1e9 / variant.fps)
    return [START_NS + step * frame for frame in range(variant.frames)]


def road(
    variant: Variant, *, height: int = 0, width: int = 0, drift: float = 0.06, thin: float = 0.05
) -> NDArray[np.float32]:
    """Frames [frames, 1, 3, height, width] in 0..1: one bright line in each of `count` slices.

    Args:
        variant: seed, frames, number of lines; sizes where none are given.
        height, width: of the frames; 0 takes the network's.
        drift: how far lines move to either side, share of a slice.
        thin: half width of a line, share of a slice.
    """
    free = np.random.default_rng(variant.seed)
    height, width = height or variant.height, width or variant.width
    part = width / variant.count
    v, u = np.mgrid[0:height, 0:width] + 0.5
    texture = free.uniform(0, 0.2, (3, height, width))
    seconds = np.arange(variant.frames) / variant.fps
    sway = drift * part * np.sin(2 * np.pi * 0.4 * seconds + free.uniform(0, 2 * np.pi))
    bend = 0.1 * part * (v / height) ** 2
    frames = np.empty((variant.frames, 1, 3, height, width))
    for frame, moved in enumerate(sway):
        off = (u - bend - moved) % part - 0.3 * part  # off the middle, so that a flat map moves the line
        glow = np.exp(-((off / (thin * part)) ** 2))
        for channel in range(3):
            frames[frame, 0, channel] = glow * (0.8 - 0.15 * channel) + texture[channel]
    return np.clip(frames, 0, 1).astype(np.float32)


def road_pictures(variant: Variant, height: int, width: int, **look: float) -> NDArray[np.uint8]:
    """RGB pictures [frames, height, width, 3] of the same road."""
    frames = road(variant, height=height, width=width, **look)[:, 0]  # type: ignore[arg-type]  # keywords of road
    return np.round(frames.transpose(0, 2, 3, 1) * 255).astype(np.uint8)


def write_tensors(folder: Path, variant: Variant, frames: NDArray[np.float32], case: str = "") -> Path:
    """A case of recorded tensors; returns its folder."""
    with CaseWriter(folder, id=case or variant.case, fps=variant.fps, lossy=False, licence="MIT") as writer:
        place = writer.add_camera(variant.camera, CameraMeta(kind="tensors", pixel_format="tensor"))
        np.save(place / "tensors" / "frames.npy", frames)
        writer.set_frames(_frames(variant))
    return writer.path


def write_pictures(folder: Path, variant: Variant, pictures: NDArray[np.uint8]) -> Path:
    """A case of PNG pictures."""
    import cv2

    height, width = pictures.shape[1:3]
    with CaseWriter(folder, id=variant.case, fps=variant.fps, lossy=False, licence="MIT") as writer:
        meta = CameraMeta(kind="images", pixel_format="rgb24", width=width, height=height)
        place = writer.add_camera(variant.camera, meta)
        for frame, picture in enumerate(pictures):
            cv2.imwrite(str(place / "images" / f"{frame:06d}.png"), picture[..., ::-1])
        writer.set_frames(_frames(variant))
    return writer.path


def write_video(folder: Path, variant: Variant, planes: NDArray[np.uint8], matrix: int) -> Path:
    """A case of a lossless 4:2:0 video whose stream states its colour matrix.

    Args:
        folder: that will hold the case folder.
        variant: names and times.
        planes: I420 planes [frames, 3 height / 2, width], limited range.
        matrix: AVCOL_SPC_* code: 1 BT.709, 5 BT.601.
    """
    import av

    rows, width = planes.shape[1:]
    with CaseWriter(folder, id=variant.case, fps=variant.fps, lossy=False, licence="MIT") as writer:
        meta = CameraMeta(
            kind="video",
            pixel_format="yuv420p",
            width=width,
            height=rows * 2 // 3,
            color_matrix="bt709" if matrix == 1 else "bt601",
        )
        place = writer.add_camera(variant.camera, meta)
        with av.open(str(place / "video.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=round(variant.fps))
            stream.width, stream.height, stream.pix_fmt = width, rows * 2 // 3, "yuv420p"
            stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 1
            for picture in planes:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="yuv420p")
                frame.colorspace, frame.color_range = matrix, 1
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        writer.set_frames(_frames(variant))
    return writer.path


def _frames(variant: Variant) -> pl.DataFrame:
    index = list(range(variant.frames))
    cameras = [variant.camera] * variant.frames
    return pl.DataFrame({"frame": index, "timestamp_ns": moments_ns(variant), "camera": cameras, "index": index})
