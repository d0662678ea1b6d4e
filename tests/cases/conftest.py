"""Small recordings for the tests of cases: clips encoded on the spot, image folders, tensor dumps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from recordings import HEIGHT, STEP_NS, WIDTH, planes_of, truth_of

from cases.frames import single_camera
from cases.schema import CameraMeta
from cases.writer import CaseWriter

Encode = Callable[..., Path]
MakeCase = Callable[..., Path]


@pytest.fixture(scope="session")
def encode() -> Encode:
    """encode(path, count=8, codec="ffv1", pix_fmt="yuv420p", ...): a clip of `planes_of` pictures, 20 frames/s."""
    import av

    def clip(
        path: Path,
        count: int = 8,
        codec: str = "ffv1",
        pix_fmt: str = "yuv420p",
        pts: Sequence[int] | None = None,
        matrix: int | None = None,
        color_range: int | None = None,
        pictures: Callable[[int], NDArray[np.uint8]] = planes_of,
        source_format: str = "yuv420p",
        **container: str,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", container_options=container) as out:
            options = {"preset": "ultrafast", "x264-params": "log-level=error"} if codec == "libx264" else {}
            stream = out.add_stream(codec, rate=20, options=options)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
            if matrix is not None:
                stream.codec_context.colorspace = matrix
            if color_range is not None:
                stream.codec_context.color_range = color_range
            for index in range(count):
                frame = av.VideoFrame.from_ndarray(pictures(index), format=source_format)
                if pix_fmt != source_format:
                    frame = frame.reformat(format=pix_fmt)
                frame.pts = index if pts is None else pts[index]
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        return path

    return clip


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """image_folder(count, suffix, names): images whose every pixel is (10 * index, 20, 200) in RGB."""
    import cv2

    def write(count: int = 4, suffix: str = ".png", names: Sequence[str] | None = None) -> Path:
        folder = tmp_path / "drive"
        folder.mkdir(exist_ok=True)
        for index, name in enumerate(names or [f"img_{i}" for i in range(count)]):
            bgr = np.full((HEIGHT, WIDTH, 3), (200, 20, 10 * index), np.uint8)
            cv2.imwrite(str(folder / f"{name}{suffix}"), bgr)
        return folder

    return write


@pytest.fixture
def video_case(tmp_path: Path, encode: Encode) -> MakeCase:
    """video_case(count, **encode options): a one-camera case with frames 0..count-1 and one truth line a frame."""

    def make(count: int = 8, id: str = "clip", truth: bool = True, **options: object) -> Path:
        camera = CameraMeta(kind="video", pixel_format="yuv420p", width=WIDTH, height=HEIGHT)
        with CaseWriter(tmp_path / "cases", id=id, fps=20.0, lossy=False) as case:
            encode(case.add_camera("front", camera) / "video.mkv", count, **options)
            case.set_frames(single_camera([i * STEP_NS for i in range(count)], "front"))
            case.set_truth(truth_of(count) if truth else None)
        return case.path

    return make


@pytest.fixture
def tensor_case(tmp_path: Path) -> MakeCase:
    """tensor_case(array): a case that replays the rows of an array; frames may be given."""

    def make(array: NDArray[np.generic], id: str = "dump", frames: pl.DataFrame | None = None) -> Path:
        with CaseWriter(tmp_path / "cases", id=id, fps=20.0, lossy=False) as case:
            folder = case.add_camera("front", CameraMeta(kind="tensors", pixel_format="tensor"))
            np.save(folder / "tensors" / "input.npy", array)
            rows = single_camera([i * STEP_NS for i in range(len(array))], "front")
            case.set_frames(rows if frames is None else frames)
        return case.path

    return make
