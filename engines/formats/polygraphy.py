"""Polygraphy's RunResults as JSON: what `polygraphy run --save-outputs` writes and its tools read.

    {"lst": [[runner, [{"outputs": {name: {"values": {"array": BASE64 OF .npy, "polygraphy_class": "ndarray"},
                                           "polygraphy_class": "LazyArray"}},
                        "runtime": seconds, "runner_name": runner, "polygraphy_class": "IterationResult"}]]],
     "polygraphy_class": "RunResults"}

and a list of {input: {"array": ..., "polygraphy_class": "ndarray"}}, one a frame, which `--load-inputs` reads.

Older files are read too. Until 0.29 the class is a key of its own ("__polygraphy_encoded_RunResults") and an array is
an .npz, its bytes as latin-1; since 0.30 it is as above (LazyArray was LazyNumpyArray). 0.26 and older wrote pickles,
which are refused. So are torch tensors, which are pickles inside, and arrays of objects.

Source of the layout: Polygraphy 0.20 to 0.53 (json/serde.py, comparator/struct.py); the package itself reads what
`write_runs` writes (tests).
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import first_line
from engines.errors import RecordingError
from engines.formats.npy import npy
from engines.formats.npz import Archive
from trueline._reading import json_of, read_file

__all__ = ["Iteration", "feeds_into", "is_runs", "iterations_of", "read_runs", "runners_of", "write_runs"]

_CLASS = "polygraphy_class"
_OLD_CLASS = "__polygraphy_encoded_"  # until 0.29 the marker was a key of its own


@dataclass(frozen=True)
class Iteration:
    """Outputs of one inference, and its seconds (None where not measured)."""

    outputs: Mapping[str, NDArray[Any]]
    runtime_s: float | None = None


def read_runs(path: Path) -> dict[str, list[Iteration]]:
    """Runner -> its iterations, in the file's order.

    Raises:
        RecordingError: the file is unreadable or no RunResults, or holds torch tensors, objects or damaged arrays.
    """
    try:
        content = json_of(read_file(path))
    except (OSError, ValueError) as error:
        raise RecordingError(
            f"not readable as Polygraphy JSON: {first_line(error)}",
            where=str(path),
            remedy="save it again, copy it whole",
        ) from error
    return {runner: iterations_of(content, runner, str(path)) for runner in runners_of(content, str(path))}


def write_runs(path: Path, runner: str, iterations: Iterable[Iteration]) -> None:
    """Write the iterations of one runner, one by one: memory holds one of them at a time.

    Args:
        path: JSON file.
        runner: name under which Polygraphy shows them.
        iterations: outputs in frame order.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"lst": [[{json.dumps(runner)}, [')
        for number, iteration in enumerate(iterations):
            file.write(", " * bool(number) + json.dumps(_encoded(runner, iteration)))
        file.write(f']]], "{_CLASS}": "RunResults"}}\n')


@contextmanager
def feeds_into(path: Path) -> Iterator[Callable[[Mapping[str, NDArray[Any]]], None]]:
    """A function that takes the inputs of one frame after the other and writes them as `--load-inputs` reads them."""
    with path.open("w", encoding="utf-8") as file:
        separators = chain(["["], repeat(",\n"))

        def add(inputs: Mapping[str, NDArray[Any]]) -> None:
            file.write(next(separators) + json.dumps({k: _ndarray(np.asarray(v)) for k, v in inputs.items()}))

        yield add
        file.write("[]\n" if file.tell() == 0 else "]\n")


def is_runs(content: Any) -> bool:
    """Whether parsed JSON has the outer form of RunResults."""
    return isinstance(content, dict) and (content.get(_CLASS) == "RunResults" or f"{_OLD_CLASS}RunResults" in content)


def runners_of(content: Any, where: str) -> list[str]:
    """Names of the runners in parsed JSON; of two with one name the second is `NAME#2`.

    Raises:
        RecordingError: no RunResults.
    """
    if not is_runs(content):
        raise _wrong("no RunResults of Polygraphy", where)
    try:
        names = [str(runner) for runner, _ in content["lst"]]
    except (KeyError, TypeError, ValueError) as error:
        raise _wrong(f"RunResults of another form ({first_line(error)})", where) from error
    before = [names[:at].count(name) for at, name in enumerate(names)]
    return [name if again == 0 else f"{name}#{again + 1}" for name, again in zip(names, before, strict=True)]


def iterations_of(content: Any, runner: str, where: str) -> list[Iteration]:
    """The iterations of one of `runners_of`.

    Raises:
        RecordingError: torch tensors, objects, damaged arrays, or another form.
    """
    at = runners_of(content, where).index(runner)
    try:
        return [_iteration(iteration, where) for iteration in content["lst"][at][1]]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise _wrong(f"RunResults of another form ({first_line(error)})", where) from error


def _iteration(content: Mapping[str, Any], where: str) -> Iteration:
    runtime = content.get("runtime")
    outputs = {name: _array(name, value, where) for name, value in content["outputs"].items()}
    return Iteration(outputs, None if runtime is None else float(runtime))


def _array(name: str, value: Mapping[str, Any], where: str) -> NDArray[Any]:
    value = value.get("values", value)  # unwraps LazyArray
    if "tensor" in value or value.get(_CLASS) == "Tensor":
        raise RecordingError(
            f"output {name!r} is a torch tensor, which is a pickle and could run code",
            where=where,
            remedy="save NumPy arrays: run the runner with outputs as NumPy, or convert the file where it was made",
        )
    if "array" not in value:
        raise _wrong(f"output {name!r} holds no array", where)
    try:
        return _loaded(value["array"])
    except (ValueError, RecordingError) as error:
        raise _wrong(f"output {name!r} is no .npy: {first_line(error)}", where) from error


def _loaded(text: str) -> NDArray[Any]:
    """An array as 0.30 and later write it (base64 of .npy), or as 0.27 to 0.29 did (an .npz of one array, latin-1).

    Raises:
        ValueError, RecordingError: neither, or it holds objects.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = text.encode("latin-1")
        if not data.startswith((b"PK", b"\x93NUMPY")):
            raise ValueError("neither base64 nor the bytes of an array") from None
    if not data.startswith(b"PK"):
        return npy(data)
    (array,) = Archive(io.BytesIO(data), "the archive").values()
    return array


def _encoded(runner: str, iteration: Iteration) -> dict[str, Any]:
    return {
        "outputs": {name: _encoded_array(np.asarray(array)) for name, array in iteration.outputs.items()},
        "runtime": iteration.runtime_s,
        "runner_name": runner,
        _CLASS: "IterationResult",
    }


def _encoded_array(array: NDArray[Any]) -> dict[str, Any]:
    return {"values": _ndarray(array), _CLASS: "LazyArray"}


def _ndarray(array: NDArray[Any]) -> dict[str, str]:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return {"array": base64.b64encode(stream.getvalue()).decode("ascii"), _CLASS: "ndarray"}


def _wrong(what: str, where: str) -> RecordingError:
    return RecordingError(what, where=where, remedy="save it again with `polygraphy run --save-outputs FILE.json`")
