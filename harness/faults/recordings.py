"""Copies of cases for the self-test: as the virtual car recorded them, and decoded by another decoder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl

from cases.case import Case, open_case
from cases.files import FRAMES, camera_folder
from cases.schema import CameraMeta, CaseMeta, read_meta, write_meta
from cases.writer import CaseWriter
from harness.errors import FaultError
from trueline._drafts import draft_in

__all__ = ["as_recorded", "decoded_by_opencv"]


def as_recorded(case: Path, out: Path) -> Path:
    """The case as the virtual car recorded it, in OUT: its files linked, not lossy, without dumps of a real car.

    What a video codec lost, the virtual car never saw: the pictures of the case are what reaches it.
    """
    meta = read_meta(case)
    place = out / meta.id
    if place.exists():
        return place
    draft = draft_in(out)
    shutil.copytree(case, draft, copy_function=_linked, ignore=shutil.ignore_patterns("case.toml", "outputs"))
    write_meta(draft, _bare(meta))
    draft.rename(place)
    return place


def _bare(meta: CaseMeta) -> CaseMeta:
    kept = {name: sha for name, sha in meta.sha256.items() if not name.startswith("outputs/")}
    return meta.model_copy(update={"lossy": False, "outputs": {}, "sha256": kept})


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def decoded_by_opencv(case: Path, out: Path) -> Path:
    """The case with every video decoded by OpenCV into pictures, in OUT.

    Raises:
        FaultError: it has no video, or OpenCV cannot read it.
    """
    opened = open_case(case)
    if (place := out / opened.id).exists():
        return place
    if not any(camera.kind == "video" for camera in opened.meta.cameras.values()):
        raise FaultError("the case has no video", where=str(case), remedy="leave other_decoder out")
    said = opened.meta
    with CaseWriter(
        out, id=said.id, fps=said.fps, lossy=said.lossy, tags=said.tags, drive=said.drive, truth_frame=said.truth_frame
    ) as writer:
        for name, camera in said.cameras.items():
            _decode(opened, name, camera, writer)
        writer.set_frames(pl.read_parquet(case / FRAMES, glob=False))  # as it is; opening the case has checked it
        writer.set_truth(opened.truth())
    return place


def _decode(case: Case, name: str, camera: CameraMeta, writer: CaseWriter) -> None:
    import cv2

    source = camera_folder(case.root, name)
    if camera.kind != "video":
        shutil.copytree(source, writer.add_camera(name, camera), copy_function=_linked, dirs_exist_ok=True)
        return
    colours = {"kind": "images", "pixel_format": "bgr24"}
    folder = writer.add_camera(name, camera.model_copy(update=colours)) / "images"
    video = cv2.VideoCapture(str(next(source.glob("video.*"))))
    count = 0
    while True:
        read, picture = video.read()
        if not read:
            break
        cv2.imwrite(str(folder / f"{count:06d}.png"), picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        count += 1
    video.release()
    if count == 0:
        raise FaultError("OpenCV cannot read its video", where=str(source), remedy="leave other_decoder out")
