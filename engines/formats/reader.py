"""Which reader a file needs: by suffix, and for JSON by its form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import first_line
from engines.errors import RecordingError
from engines.formats.npz import npz
from engines.formats.packed import read_safetensors
from engines.formats.polygraphy import Iteration, is_runs, runs_of_json
from engines.formats.trtexec import outputs_of_json, parse_json, read_raw_folder

__all__ = ["SUFFIXES", "opened", "widened"]

SUFFIXES = (".npz", ".safetensors", ".json")


@contextmanager
def opened(place: Path, wanted: Iterable[str] = (), *, stacked: bool = False) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Arrays by name; those of an .npz are read when asked for.

    Args:
        place: a file of one of SUFFIXES, or a folder of raw dumps.
        wanted: names of the outputs, for formats that change them.
        stacked: it holds many frames, and arrays are [frames, ...]; else it holds one.

    Raises:
        RecordingError: whatever is wrong with it, in one line.
    """
    if place.is_dir():
        yield read_raw_folder(place, wanted)
    elif place.suffix == ".json":
        yield _json(place, stacked)
    elif place.suffix == ".safetensors":
        yield read_safetensors(place)
    else:
        with npz(place) as arrays:
            yield arrays


def _json(path: Path, stacked: bool) -> Mapping[str, NDArray[Any]]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordingError(
            f"not readable as JSON: {first_line(error)}", where=str(path), remedy="write it again, and copy it whole"
        ) from error
    if is_runs(content):
        return _only_runner(runs_of_json(content, str(path)), stacked, path)
    if isinstance(content, list) and not stacked:
        return outputs_of_json(content, str(path))
    raise RecordingError(
        "trtexec's JSON holds one frame" if isinstance(content, list) else "neither Polygraphy's JSON nor trtexec's",
        where=str(path),
        remedy="write one <timestamp_ns>.json a frame, or Polygraphy's RunResults",
    )


def _only_runner(runs: Mapping[str, list[Iteration]], stacked: bool, path: Path) -> Mapping[str, NDArray[Any]]:
    if len(runs) != 1:
        raise RecordingError(
            f"{len(runs)} runners: {list(runs)}", where=str(path), remedy="save the runs of one runner"
        )
    (iterations,) = runs.values()
    if not stacked:
        if len(iterations) != 1:
            raise RecordingError(
                f"{len(iterations)} iterations in the file of one frame",
                where=str(path),
                remedy=f"name it otherwise, and put {path.stem}.timestamps beside it, one timestamp_ns a line",
            )
        return iterations[0].outputs
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
