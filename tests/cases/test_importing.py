from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings import HEIGHT, STEP_NS, WIDTH, planes_of

from cases.case import open_case
from cases.check import check_case
from cases.errors import CaseError, CaseSchemaError, ImportSourceError
from cases.importing import DEFAULT_IMAGE_FPS, import_case

Encode = Callable[..., Path]
ImageFolder = Callable[..., Path]

CLIPS = {"solid_white_right": 221, "highway_curve": 76, "concrete_bridge": 88}


def test_a_video_is_copied_bit_for_bit_and_replays_as_it_was(tmp_path: Path, encode: Encode) -> None:
    source = encode(tmp_path / "Drive.MKV", 6)
    root = import_case(source, id="drive", out=tmp_path / "out", camera="rear", licence="MIT", tags=["day"])
    case = open_case(root)
    assert root == tmp_path / "out" / "drive"
    assert check_case(root) == []
    assert (root / "cameras" / "rear" / "video.mkv").read_bytes() == source.read_bytes()
    assert (case.fps, case.cameras, case.meta.source) == (20.0, ("rear",), "Drive.MKV")
    assert (case.meta.licence, case.meta.tags) == ("MIT", ("day",))
    for index, tick in enumerate(case.ticks()):
        assert tick.timestamp_ns == index * STEP_NS
        np.testing.assert_array_equal(tick.pictures["rear"].data, planes_of(index))
    assert case.length == 6


def test_times_are_the_containers_own(tmp_path: Path, encode: Encode) -> None:
    source = encode(tmp_path / "a.mkv", 4, pts=[2, 3, 7, 8])
    case = open_case(import_case(source, id="a", out=tmp_path / "out"))
    assert case.timestamps_ns.tolist() == [step * STEP_NS for step in (2, 3, 7, 8)]
    assert case.fps == 20.0


def test_fps_spaces_pictures_evenly_whatever_the_container_says(tmp_path: Path, encode: Encode) -> None:
    source = encode(tmp_path / "a.mkv", 4, pts=[2, 3, 7, 8])
    case = open_case(import_case(source, id="a", out=tmp_path / "out", fps=30.0))
    assert case.timestamps_ns.tolist() == [0, 33_333_333, 66_666_667, 100_000_000]
    assert case.fps == 30.0


@pytest.mark.parametrize(
    ("ext", "codec", "lossy"), [("mkv", "ffv1", False), ("mp4", "libx264", True), ("mp4", "mpeg4", True)]
)
def test_a_case_is_lossy_where_its_codec_is(tmp_path: Path, encode: Encode, ext: str, codec: str, lossy: bool) -> None:
    source = encode(tmp_path / f"a.{ext}", 3, codec=codec)
    assert open_case(import_case(source, id="a", out=tmp_path / "out")).meta.lossy is lossy


def test_stated_colours_are_recorded_and_unstated_ones_assumed_aloud(tmp_path: Path, encode: Encode) -> None:
    stated = encode(tmp_path / "stated.mp4", 2, codec="libx264", matrix=1, color_range=2)
    silent = encode(tmp_path / "silent.mp4", 2, codec="mpeg4")
    seen = {}
    for source in (stated, silent):
        root = import_case(source, id=source.stem, out=tmp_path / "out")
        camera = open_case(root).meta.cameras["front"]
        seen[source.stem] = (camera.color_matrix, camera.color_range, camera.color_assumed)
        assert check_case(root) == []
    assert seen == {"stated": ("bt709", "full", False), "silent": ("bt601", "limited", True)}


def test_a_motion_jpeg_has_centred_chroma_and_full_range(tmp_path: Path, encode: Encode) -> None:
    source = encode(tmp_path / "a.avi", 2, codec="mjpeg", pix_fmt="yuvj420p", source_format="yuvj420p")
    camera = open_case(import_case(source, id="a", out=tmp_path / "out")).meta.cameras["front"]
    assert (camera.chroma_siting, camera.color_range, camera.pixel_format) == ("center", "full", "yuv420p")


def test_an_rgb_video_becomes_rgb_pictures(tmp_path: Path, encode: Encode) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    source = encode(tmp_path / "a.mkv", 2, pix_fmt="bgr0", source_format="rgb24", pictures=lambda _: rgb)
    case = open_case(import_case(source, id="a", out=tmp_path / "out"))
    picture = next(case.ticks()).pictures["front"]
    assert picture.pixel_format == "rgb24"
    np.testing.assert_array_equal(picture.data, rgb)


def test_images_are_copied_in_natural_order(tmp_path: Path, image_folder: ImageFolder) -> None:
    source = image_folder(names=["img_10", "img_9", "img_100", "img_1"])
    (source / "notes.txt").write_text("not a picture")
    root = import_case(source, id="a", out=tmp_path / "out")
    images = sorted((root / "cameras" / "front" / "images").iterdir())
    assert [p.name for p in images] == [f"{i:06d}.png" for i in range(4)]
    ordered = [source / f"img_{n}.png" for n in (1, 9, 10, 100)]
    assert [p.read_bytes() for p in images] == [p.read_bytes() for p in ordered]
    assert check_case(root) == []
    reds = [int(tick.pictures["front"].data[0, 0, 0]) for tick in open_case(root).ticks()]
    assert reds == [30, 10, 0, 20]


def test_images_without_times_come_at_the_default_rate(tmp_path: Path, image_folder: ImageFolder) -> None:
    case = open_case(import_case(image_folder(3), id="a", out=tmp_path / "out"))
    assert case.fps == DEFAULT_IMAGE_FPS
    assert case.timestamps_ns.tolist() == [0, 100_000_000, 200_000_000]


def test_names_that_are_nanoseconds_are_times(tmp_path: Path, image_folder: ImageFolder) -> None:
    times = [1_700_000_000_000_000_000, 1_700_000_000_050_000_000, 1_700_000_000_100_000_000]
    source = image_folder(names=[str(t) for t in times])
    case = open_case(import_case(source, id="a", out=tmp_path / "out"))
    assert case.timestamps_ns.tolist() == times
    assert case.fps == 20.0


@pytest.mark.parametrize(("suffix", "lossy"), [(".png", False), (".bmp", False), (".jpg", True), (".webp", True)])
def test_images_are_lossy_where_their_format_is(
    tmp_path: Path, image_folder: ImageFolder, suffix: str, lossy: bool
) -> None:
    case = open_case(import_case(image_folder(2, suffix), id="a", out=tmp_path / "out"))
    assert case.meta.lossy is lossy


def _nothing(folder: Path, encode: Encode) -> Path:
    return folder / "nowhere.mp4"


def _empty(folder: Path, encode: Encode) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def _text(folder: Path, encode: Encode) -> Path:
    (folder / "a.mp4").write_text("not a video")
    return folder / "a.mp4"


def _sizes(folder: Path, encode: Encode) -> Path:
    for index, size in enumerate((8, 8, 9)):
        cv2.imwrite(str(folder / f"{index}.png"), np.zeros((size, 8, 3), np.uint8))
    return folder


def _broken_image(folder: Path, encode: Encode) -> Path:
    (folder / "0.png").write_bytes(b"\x89PNG")
    return folder


def _cut(folder: Path, encode: Encode) -> Path:
    source = encode(folder / "a.mp4", 40, codec="libx264", movflags="faststart")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    return source


def _bt2020(folder: Path, encode: Encode) -> Path:
    return encode(folder / "a.mp4", 2, codec="libx264", matrix=9)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (_nothing, "no such file or folder"),
        (_empty, "holds no images"),
        (_text, "cannot be opened as video"),
        (_sizes, "is 8x9, the first image 8x8"),
        (_broken_image, "cannot be decoded as an image"),
        (_cut, "truncated: its .* of 2.00 s announced"),
        (_bt2020, "colour matrix code 9"),
    ],
)
def test_a_source_that_cannot_become_a_case_is_one_clear_error(
    tmp_path: Path, encode: Encode, make: Callable[[Path, Encode], Path], told: str
) -> None:
    (tmp_path / "in").mkdir()
    source = make(tmp_path / "in", encode)
    with pytest.raises(ImportSourceError, match=told) as error:
        import_case(source, id="a", out=tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), 1e6])
def test_a_rate_that_cannot_be_is_refused(tmp_path: Path, image_folder: ImageFolder, fps: float) -> None:
    with pytest.raises(ImportSourceError, match="fps"):
        import_case(image_folder(2), id="a", out=tmp_path / "out", fps=fps)


def test_an_existing_case_is_refused_before_anything_is_decoded(tmp_path: Path, image_folder: ImageFolder) -> None:
    (tmp_path / "out" / "a").mkdir(parents=True)
    counts: list[int] = []
    with pytest.raises(CaseError, match="exists already"):
        import_case(image_folder(2), id="a", out=tmp_path / "out", progress=lambda done, _: counts.append(done))
    assert counts == []


def test_a_camera_is_a_plain_name(tmp_path: Path, image_folder: ImageFolder) -> None:
    with pytest.raises(CaseSchemaError, match="camera 'front left'"):
        import_case(image_folder(2), id="a", out=tmp_path / "out", camera="front left")
    assert list((tmp_path / "out").iterdir()) == []


def test_progress_counts_pictures(tmp_path: Path, encode: Encode, image_folder: ImageFolder) -> None:
    seen: list[tuple[int, int | None]] = []
    import_case(
        encode(tmp_path / "a.mp4", 3, codec="mpeg4"), id="v", out=tmp_path / "out", progress=lambda *c: seen.append(c)
    )
    import_case(image_folder(2), id="i", out=tmp_path / "out", progress=lambda *c: seen.append(c))
    assert seen == [(1, 3), (2, 3), (3, 3), (1, 2), (2, 2)]


@pytest.mark.parametrize("clip", CLIPS)
def test_a_real_clip_becomes_a_sound_case(tmp_path: Path, shared_data: Path, clip: str) -> None:
    source = shared_data / "clips" / f"{clip}.mp4"
    if not source.exists():
        pytest.skip(f"no clip at {source}")
    root = import_case(source, id=clip, out=tmp_path, licence="MIT")
    case = open_case(root)
    assert check_case(root) == []
    assert sum(1 for _ in case.ticks()) == CLIPS[clip]
    assert case.timestamps_ns.tolist() == [i * 40_000_000 for i in range(CLIPS[clip])]
    assert (case.fps, case.meta.lossy) == (25.0, True)
