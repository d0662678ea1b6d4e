"""How much of bare PyAV's decoding speed `Case.ticks` keeps; budget 0.9 (docs/DESIGN.md section 8).

    python -m benchmarks.decode [VIDEO ...] [--repeats N]

Each video is imported as a case once. Then, in one process and turn by turn, it is decoded by bare PyAV as it comes
(one thread, slices), by bare PyAV with as many threads as a case uses, and by `Case.ticks`; every pass makes an array
of every picture. The ratio of each turn is bare time / case time: above 1 a case is the faster. Without VIDEO a clip is
encoded on the spot, 1280x720, 100 pictures of moving noise over gradients.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from cases.case import Case, open_case
from cases.importing import import_case

BUDGET = 0.9


def main(arguments: Sequence[str] = ()) -> int:
    """Print one row per video; 1 where the median ratio at equal threads misses the budget."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode", description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", type=Path, metavar="VIDEO")
    parser.add_argument("--repeats", type=int, default=9)
    asked = parser.parse_args(arguments)
    print(f"{'video':24} {'pictures':>8} {'case ms':>8} {'vs 1 thread':>22} {'vs same threads':>22}  budget {BUDGET}")
    within = True
    with tempfile.TemporaryDirectory() as folder:
        for video in asked.videos or [made_clip(Path(folder) / "noise_720p.mp4")]:
            case = open_case(import_case(video, id=f"{video.stem}", out=Path(folder) / "cases"))
            within &= measure(video, case, asked.repeats) >= BUDGET
    return 0 if within else 1


def measure(video: Path, case: Case, repeats: int) -> float:
    """Print the row of one video; the median ratio against bare PyAV with the same threads."""
    ways: dict[str, Callable[[], int]] = {
        "one": lambda: decode_bare(video, "SLICE"),
        "same": lambda: decode_bare(video, "AUTO"),
        "case": lambda: sum(1 for tick in case.ticks()),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    pictures = {way() for way in ways.values()}  # also a warm-up
    assert len(pictures) == 1, pictures
    for _ in range(repeats):
        for name, way in ways.items():
            start = perf_counter()
            way()
            times[name].append(perf_counter() - start)
    ratios = {name: [b / c for b, c in zip(times[name], times["case"], strict=True)] for name in ("one", "same")}
    count = pictures.pop()
    print(
        f"{video.stem:24} {count:8} {median(times['case']) / count * 1e3:8.3f}"
        f" {spread(ratios['one']):>22} {spread(ratios['same']):>22}"
    )
    return median(ratios["same"])


def decode_bare(video: Path, threads: str) -> int:
    """Decode a file with PyAV alone, one array per picture; the number of pictures."""
    import av

    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.thread_type = threads  # type: ignore[assignment]  # PyAV takes names, its stubs do not
        return sum(1 for frame in container.decode(stream) if frame.to_ndarray().size)


def spread(ratios: Sequence[float]) -> str:
    """Median and range."""
    return f"{median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"


def made_clip(path: Path) -> Path:
    """An H.264 clip of a moving texture, so that the benchmark runs without any recording."""
    import av

    noise = np.random.default_rng(0).integers(0, 60, (720, 1280 + 100), dtype=np.uint8)
    chroma = np.full((360, 1280), 128, np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for shift in range(100):
            luma = noise[:, shift : shift + 1280] + np.linspace(20, 160, 720, dtype=np.uint8)[:, None]
            frame = av.VideoFrame.from_ndarray(np.concatenate([luma, chroma]), format="yuv420p")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
