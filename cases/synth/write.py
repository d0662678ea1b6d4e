"""Writes synthetic scenes as case folders: what a car's camera would deliver, with calibration, ego motion and truth.

`video` stores YCbCr 4:2:0 (BT.601, limited range, chroma sited left as MPEG-2 has it) losslessly with FFV1, so nothing
but the camera's own format stands between the renderer and a model; `images` stores RGB as PNG.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cases.errors import CaseError, ImportSourceError
from cases.files import FRAMES, hash_file, hashed_files
from cases.frames import read_frames
from cases.picture import Ego, Picture
from cases.schema import CameraMeta, read_meta
from cases.synth.conditions import under
from cases.synth.render import render_clip
from cases.synth.scene import DASHED, TRUTH_X_M, Scene, draw_scene
from cases.writer import CaseWriter
from trueline._drafts import sweep_drafts
from trueline._workers import worker_pool

__all__ = ["Progress", "camera_picture", "case_id", "synth_cases", "write_synth_case"]

Progress = Callable[[str, int, int], None]
CAMERA = "front"
LICENCE = "CC0-1.0"
VERSION = 1  # of what a seed looks like: raise it with every change of the renderer's output

# Y, Cb, Cr of (R, G, B, 1), ITU-R BT.601, limited range
_YCBCR = np.array(
    [
        [0.299 * 219 / 255, 0.587 * 219 / 255, 0.114 * 219 / 255, 16],
        [-0.299 / 1.772 * 224 / 255, -0.587 / 1.772 * 224 / 255, 0.886 / 1.772 * 224 / 255, 128],
        [0.701 / 1.402 * 224 / 255, -0.587 / 1.402 * 224 / 255, -0.114 / 1.402 * 224 / 255, 128],
    ]
)


def case_id(seed: int, condition: str | None = None) -> str:
    """Name of a seed's case."""
    return f"synth_{seed:05d}" + (f"_{condition}" if condition else "")


def synth_cases(
    seed: int,
    count: int,
    seconds: float,
    out: Path,
    fps: float = 20.0,
    progress: Progress | None = None,
    jobs: int = 1,
    condition: str | None = None,
) -> list[Path]:
    """Cases of the seeds seed, seed + 1, ...; those that are there already, with the same settings, are kept.

    One of which a file was lost or damaged is rendered anew.

    Args:
        seed: first seed.
        count: how many cases.
        seconds: length of each.
        out: folder that gets the case folders.
        fps: frames per second.
        progress: called with ("cases", done, count).
        jobs: processes to render with; more than one pays off from some hundred frames on. They are spawned, so a
            script that asks for them must guard its main module.
        condition: one of cases.synth.conditions.CONDITIONS; a tag and the folder's name say so.

    Raises:
        CaseError: a folder of that name holds something else, or cannot be written.
        ImportSourceError: no whole frame fits into that time.
    """
    folders = [Path(out) / case_id(seed + k, condition) for k in range(count)]
    missing = [k for k, folder in enumerate(folders) if not folder.is_dir()]
    for k in set(range(count)) - set(missing):
        _require_same(folders[k], _source(seed + k, condition), seconds, fps)
        if _is_damaged(folders[k]):
            shutil.rmtree(folders[k])
            missing.append(k)
    write = partial(write_synth_case, seconds=seconds, out=out, fps=fps, condition=condition)
    try:
        for done, _ in enumerate(_each(write, [seed + k for k in missing], jobs), start=count - len(missing) + 1):
            if progress:
                progress("cases", done, count)
    except BaseException:
        sweep_drafts(Path(out))  # of workers that were killed
        raise
    return folders


def _each(write: Callable[[int], Path], seeds: list[int], jobs: int) -> Iterator[Path]:
    """Every seed's case, as it is done."""
    if jobs <= 1 or len(seeds) <= 1:
        yield from map(write, seeds)
        return
    with worker_pool(min(jobs, len(seeds))) as pool:
        for future in as_completed([pool.submit(write, seed) for seed in seeds]):
            yield future.result()


def write_synth_case(
    seed: int,
    seconds: float,
    out: Path,
    fps: float = 20.0,
    fmt: Literal["video", "images"] = "video",
    condition: str | None = None,
) -> Path:
    """Render one seed into OUT/synth_SEED, with a condition OUT/synth_SEED_CONDITION, and return that folder.

    Raises:
        ImportSourceError: no whole frame fits into that time, or no such condition.
        CaseError: the folder exists, or cannot be written.
    """
    if round(seconds * fps) < 1:
        raise ImportSourceError(
            f"{seconds:g} s at {fps:g} frames/s is no frame", where="seconds", remedy="ask for a longer clip"
        )
    scene = draw_scene(seed, seconds)
    scene = scene if condition is None else under(scene, condition)
    with CaseWriter(
        out,
        id=case_id(seed, condition),
        fps=fps,
        lossy=False,
        source=_source(seed, condition),
        licence=LICENCE,
        tags=(*_tags(scene), *([condition] if condition else [])),
    ) as writer:
        folder = writer.add_camera(CAMERA, _camera_meta(scene, fmt))
        store = _store_video if fmt == "video" else _store_images
        lines: list[NDArray[np.float64]] = []
        ego: list[Ego] = []
        store(folder, _collected(render_clip(seed, seconds, fps, condition=condition), lines, ego), fps)
        writer.set_frames(_frames_table(ego, fps))
        writer.set_truth(_truth_table(scene, lines))
    return writer.path


def camera_picture(rgb: NDArray[np.uint8]) -> Picture:
    """An RGB picture as the synthetic camera delivers it: yuv420p, BT.601 limited, chroma sited left.

    Chroma is filtered 1-2-1 across and averaged over two rows before every second sample is kept.
    """
    import cv2

    height, width = rgb.shape[:2]
    luma = cv2.transform(rgb, _YCBCR[:1])
    across, down = np.array([0.25, 0.5, 0.25]), np.array([0.0, 0.5, 0.5])
    half = cv2.sepFilter2D(rgb, cv2.CV_32F, across, down, borderType=cv2.BORDER_REPLICATE)[::2, ::2]
    chroma = np.rint(cv2.transform(np.ascontiguousarray(half), _YCBCR[1:])).astype(np.uint8)
    planes = [luma.reshape(-1), chroma[..., 0].reshape(-1), chroma[..., 1].reshape(-1)]
    data = np.concatenate(planes).reshape(height * 3 // 2, width)
    return Picture(data, "yuv420p", width, height, "bt601", "limited", "left")


def _source(seed: int, condition: str | None) -> str:
    return f"synthetic road, version {VERSION}, seed {seed}" + (f", {condition}" if condition else "")


def _require_same(folder: Path, source: str, seconds: float, fps: float) -> None:
    """A case that is there already must be the one that would be written."""
    meta = read_meta(folder)
    columns = read_frames(folder / FRAMES, list(meta.cameras)).columns  # None where it is damaged
    frames = round(seconds * fps) if columns is None else len(columns.of_moments["frame"])
    if (meta.source, meta.fps, frames) != (source, fps, round(seconds * fps)):
        raise CaseError(
            f"the folder holds {meta.source!r}, {frames} frames at {meta.fps:g} frames/s, "
            f"not {source!r}, {round(seconds * fps)} frames at {fps:g}",
            where=str(folder),
            remedy="give another folder, or remove this one",
        )


def _is_damaged(folder: Path) -> bool:
    """Whether a file is not the one that was rendered, or is gone."""
    listed = read_meta(folder).sha256
    files = {name: folder / name for name in {*listed, *hashed_files(folder)}}
    return any(not path.is_file() or hash_file(path) != listed.get(name) for name, path in files.items())


def _collected(
    frames: Iterator[tuple[NDArray[np.uint8], NDArray[np.float64], Ego]],
    lines: list[NDArray[np.float64]],
    ego: list[Ego],
) -> Iterator[NDArray[np.uint8]]:
    """Pictures pass through; the small rest is kept for the tables."""
    for rgb, frame_lines, frame_ego in frames:
        lines.append(frame_lines)
        ego.append(frame_ego)
        yield rgb


def _store_video(folder: Path, pictures: Iterator[NDArray[np.uint8]], fps: float) -> None:
    from fractions import Fraction

    import av
    from av.video.reformatter import ColorRange, Colorspace

    with av.open(str(folder / "video.mkv"), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("ffv1", rate=Fraction(fps).limit_denominator(1001))
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.colorspace = Colorspace.ITU601
        for index, rgb in enumerate(pictures):
            if index == 0:
                stream.height, stream.width = rgb.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.asarray(camera_picture(rgb).data, np.uint8), format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _store_images(folder: Path, pictures: Iterator[NDArray[np.uint8]], fps: float) -> None:
    import cv2

    for index, rgb in enumerate(pictures):
        cv2.imwrite(str(folder / "images" / f"{index:06d}.png"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def _camera_meta(scene: Scene, fmt: Literal["video", "images"]) -> CameraMeta:
    return CameraMeta(
        kind=fmt,
        pixel_format="yuv420p" if fmt == "video" else "rgb24",
        width=scene.camera.width,
        height=scene.camera.height,
        color_matrix="bt601",
        color_range="limited",
        chroma_siting="left",
        intrinsics=scene.camera.intrinsics.tolist(),
        extrinsics=scene.camera.extrinsics.tolist(),
    )


def _frames_table(ego: list[Ego], fps: float) -> pl.DataFrame:
    """frames.parquet: one camera, a fixed rate, ego motion at every frame."""
    index = np.arange(len(ego))
    return pl.DataFrame(
        {
            "frame": index,
            "timestamp_ns": np.round(index * 1e9 / fps).astype(np.int64),
            "camera": [CAMERA] * len(ego),
            "index": index,
            **{
                name: [getattr(moment, name) for moment in ego]
                for name in ("speed_mps", "yaw_rate_radps", "x_m", "y_m", "yaw_rad")
            },
        }
    )


def _truth_table(scene: Scene, lines: list[NDArray[np.float64]]) -> pl.DataFrame:
    """lines.parquet: the lines of the slots, class 0 solid, 1 dashed, 2 double."""
    slots = [(slot, line) for slot, line in enumerate(scene.slot_lines()) if line is not None]
    count = len(lines)
    rows = [(frame, position, slot, line) for frame in range(count) for position, (slot, line) in enumerate(slots)]
    return pl.DataFrame(
        {
            "frame": [frame for frame, _, _, _ in rows],
            "line": [position for _, position, _, _ in rows],
            "slot": [slot for _, _, slot, _ in rows],
            "class": [scene.markings[line].kind for _, _, _, line in rows],
            "score": [1.0] * len(rows),
            "topology": [0] * len(rows),
            "x": [TRUTH_X_M.tolist()] * len(rows),
            "y": [lines[frame][slot].tolist() for frame, _, slot, _ in rows],
        }
    )


def _tags(scene: Scene) -> tuple[str, ...]:
    """What one wants to pick cases by."""
    sharpest = float(abs(scene.road.curvature_per_m).max())
    kinds = {scene.markings[line].kind for line in scene.slot_lines() if line is not None}
    tags = ["synthetic", f"lanes-{len(scene.markings) - 1}", "curve" if sharpest > 0.001 else "straight"]
    tags += ["dusk"] if scene.look.white[1] < 135 else []
    tags += ["shadows"] if scene.look.shadow < 0.9 and scene.look.shade_threshold < 1 else []
    return (*tags, *(["dashed"] if DASHED in kinds else []))
