"""Which reader a file needs: by suffix, and for JSON by its form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import first_line
from engines.errors import RecordingError
from engines.formats.npz import npz
from engines.formats.packed import read_safetensors
from engines.formats.polygraphy import Iteration, is_runs, iterations_of, runners_of
from engines.formats.polylines import frame_arrays, is_lines, read_parquet, stacked_frames
from engines.formats.trtexec import outputs_of_json, parse_json, read_raw_folder
from trueline._reading import json_of, read_file

__all__ = ["MANY", "SUFFIXES", "opened", "widened"]

SUFFIXES = (".npz", ".safetensors", ".json", ".jsonl", ".parquet")
MANY = (".jsonl", ".parquet")  # these always hold many frames
_PICKLE = b"\x80"  # the first byte of every pickle since protocol 2

Arrays = Mapping[str, NDArray[Any]]


@contextmanager
def opened(
    place: Path,
    wanted: Iterable[str] = (),
    *,
    stacked: bool = False,
    runner: str | None = None,
    most_bytes: int | None = None,
) -> Iterator[Arrays]:
    """Arrays by name; those of an .npz are read when asked for.

    Args:
        place: a file of one of SUFFIXES, or a folder of raw dumps.
        wanted: names of the outputs, for formats that change them.
        stacked: it holds many frames, and arrays are [frames, ...]; else it holds one.
        runner: of a Polygraphy file with several: its name, or a part of it that no other has.
        most_bytes: of a file, and of an array in an .npz; None takes any.

    Raises:
        RecordingError: whatever is wrong with it, in one line.
    """
    if place.is_dir():
        yield read_raw_folder(place, wanted)
    elif place.suffix in (".json", ".jsonl"):
        yield _json(place, stacked, runner, most_bytes)
    elif place.suffix == ".parquet":
        yield read_parquet(place)
    elif place.suffix == ".safetensors":
        yield read_safetensors(place, most_bytes)
    else:
        with npz(place, most_bytes) as arrays:
            yield arrays


def _json(path: Path, stacked: bool, runner: str | None, most_bytes: int | None) -> Arrays:
    content = _parsed(path, most_bytes)
    if is_runs(content):
        names = runners_of(content, str(path))
        return _iterations(iterations_of(content, _chosen(names, runner, path), str(path)), stacked, path)
    if is_lines(content):
        frames = content.get("frames")
        if stacked:
            return stacked_frames(frames if isinstance(frames, list) else [content], str(path))
        return frame_arrays(content, str(path))
    if isinstance(content, list) and not stacked:
        return outputs_of_json(content, str(path))
    raise RecordingError(
        "trtexec's JSON holds one frame"
        if isinstance(content, list)
        else "neither Polygraphy's JSON, nor trtexec's, nor lines",
        where=str(path),
        remedy="write one <timestamp_ns>.json a frame, Polygraphy's RunResults, or lines as docs/recordings.md says",
    )


def _parsed(path: Path, most_bytes: int | None) -> Any:
    """Content of a JSON file; the objects of a .jsonl stand under `frames`."""
    try:
        data = read_file(path, most_bytes)
        if data.startswith(_PICKLE):
            raise RecordingError(
                "a pickle, which could run code: Polygraphy up to 0.26 wrote them",
                where=str(path),
                remedy="convert it where it was made with `polygraphy to-json` of Polygraphy 0.27 to 0.30",
            )
        text = data.decode("utf-8")
        if path.suffix == ".jsonl":
            return {"frames": [json_of(line) for line in text.splitlines() if line.strip()]}
        return parse_json(text)
    except (OSError, ValueError) as error:
        raise RecordingError(
            f"not readable as JSON: {first_line(error)}", where=str(path), remedy="write it again, and copy it whole"
        ) from error


def _chosen(runners: Sequence[str], wanted: str | None, path: Path) -> str:
    """The runner asked for, or the only one."""
    if wanted is not None and wanted in runners:
        return wanted
    fit = [name for name in runners if wanted is None or wanted in name]
    if len(fit) == 1:
        return fit[0]
    what = f"{len(runners)} runners" if wanted is None else f"{len(fit)} runners for {wanted!r}"
    short = _short(runners)
    raise RecordingError(
        f"{what}: {list(runners)}",
        where=str(path),
        remedy=f"choose one: engine 'recorded:DUMP@{short[-1]}', or runner = {short[-1]!r} under [outputs.DUMP] of "
        f"case.toml; short names are {short}"
        if runners
        else "save the run of one",
    )


def _short(runners: Sequence[str]) -> list[str]:
    """The beginnings of names that tell them apart, cut at a dash: `onnxrt`, `trt`."""

    def beginning(name: str) -> str:
        parts = name.split("-")
        tries = ("-".join(parts[:count]) for count in range(1, len(parts)))
        return next((text for text in tries if sum(text in other for other in runners) == 1), name)

    return [beginning(name) for name in runners]


def _iterations(iterations: Sequence[Iteration], stacked: bool, path: Path) -> Arrays:
    if stacked:
        return _stacked(iterations, path)
    if not iterations or any(_differ(iterations[0], other) for other in iterations[1:]):
        raise RecordingError(
            f"{len(iterations)} iterations{' that differ' if iterations else ''} in the file of one frame",
            where=str(path),
            remedy=f"name it otherwise, and put {path.stem}.timestamps beside it, one timestamp_ns a line",
        )
    return iterations[0].outputs


def _differ(one: Iteration, other: Iteration) -> bool:
    """Whether two runs of one frame gave other bits."""
    return one.outputs.keys() != other.outputs.keys() or any(
        array.tobytes() != other.outputs[name].tobytes() for name, array in one.outputs.items()
    )


def _stacked(iterations: Sequence[Iteration], path: Path) -> Arrays:
    names = list(iterations[0].outputs) if iterations else []
    try:
        return {name: np.stack([i.outputs[name] for i in iterations]) for name in names}
    except (KeyError, ValueError) as error:
        raise RecordingError(
            f"iterations differ in names or shapes: {first_line(error)}",
            where=str(path),
            remedy="save runs whose outputs have one shape",
        ) from error


def widened(array: NDArray[Any]) -> NDArray[Any]:
    """Half precision as float32, anything else as it is: what follows an engine computes in float32 or wider."""
    return array.astype(np.float32) if array.dtype == np.float16 else array
