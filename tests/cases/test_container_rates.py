"""Frame rates of containers that write whole milliseconds, and containers that hold no pictures of their own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest

from cases.case import open_case
from cases.check import check_case
from cases.errors import CaseSchemaError, ImportSourceError
from cases.importing import import_case

CODECS = {"mp4": "mpeg4", "mkv": "mpeg4", "webm": "libvpx", "flv": "flv1"}


def film(path: Path, rate: Fraction, codec: str, *, frames: int = 40, skip: tuple[int, ...] = ()) -> Path:
    """A film of grey pictures at an even rate, some of them left out."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(frames):
            if i not in skip:
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), i * 4 % 255, np.uint8), format="rgb24")
                frame = frame.reformat(format="yuv420p")
                frame.pts, frame.time_base = i, 1 / rate
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("rate", [Fraction(30), Fraction(60), Fraction(120), Fraction(240), Fraction(30000, 1001)])
def test_a_rate_survives_a_container_of_whole_milliseconds(tmp_path: Path, suffix: str, rate: Fraction) -> None:
    source = film(tmp_path / f"film.{suffix}", rate, CODECS[suffix])
    assert open_case(import_case(source, id="a", out=tmp_path / "out")).fps == pytest.approx(float(rate), rel=1e-4)


def test_frames_that_were_dropped_change_no_rate(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv", Fraction(60), "mpeg4", skip=(7, 8, 21))
    assert open_case(import_case(source, id="a", out=tmp_path / "out")).fps == pytest.approx(60, rel=0.01)


@pytest.mark.parametrize(("told", "wrong"), [(20.0, False), (20.3, False), (25.0, True), (10.0, True), (40.0, True)])
def test_a_rate_that_the_times_contradict_is_refused(tmp_path: Path, told: float, wrong: bool) -> None:
    case = import_case(film(tmp_path / "film.mp4", Fraction(20), "mpeg4"), id="a", out=tmp_path / "out")
    text = (case / "case.toml").read_text()
    (case / "case.toml").write_text(text.replace("fps = 20.0", f"fps = {told}"))
    if not wrong:
        assert open_case(case).fps == told
        return
    with pytest.raises(CaseSchemaError, match=r"the moments come 20 times a second, case.toml says fps = "):
        open_case(case)
    assert any("times a second" in p.what for p in check_case(case))


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_case_of_few_moments_says_nothing_of_a_rate(tmp_path: Path, frames: int) -> None:
    case = import_case(film(tmp_path / "film.mp4", Fraction(20), "mpeg4", frames=frames), id="a", out=tmp_path / "out")
    assert open_case(case).length == frames


def test_dropped_moments_and_rough_times_contradict_no_rate(tmp_path: Path) -> None:
    case = import_case(film(tmp_path / "film.mkv", Fraction(240), "mpeg4", skip=(3, 9)), id="a", out=tmp_path / "out")
    assert len(np.unique(np.diff(open_case(case).timestamps_ns))) > 1
    assert not [p for p in check_case(case) if "times a second" in p.what]


def test_a_playlist_is_no_video(tmp_path: Path) -> None:
    outside = film(tmp_path / "s.ts", Fraction(25), "mpeg2video")
    playlist = tmp_path / "drive.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1.0,\n{outside}\n#EXT-X-ENDLIST\n")
    concat = tmp_path / "drive.ffconcat"
    concat.write_text(f"ffconcat version 1.0\nfile {outside.name}\n")
    for source in (playlist, concat):
        with pytest.raises(ImportSourceError, match="cannot be opened as video"):
            import_case(source, id="a", out=tmp_path / "out")


def test_the_table_is_what_it_was(tmp_path: Path) -> None:
    case = open_case(import_case(film(tmp_path / "film.mp4", Fraction(20), "mpeg4"), id="a", out=tmp_path / "out"))
    assert pl.read_parquet_schema(case.root / "frames.parquet")["timestamp_ns"] == pl.Int64
