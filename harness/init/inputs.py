"""What each input is: the camera's picture, a state, or something else; and how the picture comes to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from harness.init.guess import Guess, Settled
from harness.init.network import Head, Network, Port

__all__ = ["NORMALISATIONS", "TEXT", "Picture", "input_tables", "normalise_step", "picture_of", "state_table"]

COLOURS = (1, 3)
TEXT = ("a text",)
NORMALISATIONS: Mapping[str, dict[str, Any]] = {
    "unit": {"op": "normalise"},
    "imagenet": {"op": "normalise", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    "half": {"op": "normalise", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    "raw": {"op": "dtype", "to": "float32"},
}
"""Word -> step. unit: 0..1; imagenet: its mean and standard deviation, RGB; half: -1..1; raw: 0..255."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The input that takes the camera's picture.

    Attributes:
        port: the input.
        layout: NCHW or NHWC.
        channels, height, width: of the picture.
        head: what the graph does to it first.
    """

    port: Port
    layout: str
    channels: int
    height: int
    width: int
    head: Head


def picture_of(network: Network, settled: Settled) -> Picture:
    """The camera input and its size.

    Raises:
        UsageError: no input looks like a picture, or a dynamic size is not answered.
    """
    fitting = {p.name: found for p in network.inputs if (found := _sizes(p)) is not None}
    if not fitting:
        shown = ", ".join(f"{p.name} {list(p.shape)}" for p in network.inputs)
        raise UsageError(
            f"no input is a picture of 1 or 3 channels: {shown}",
            where=str(network.path),
            remedy="write the card by hand: an op of your own makes such an input (docs/cards.md, Your own op)",
        )
    names = sorted(fitting, key=lambda name: -_area(fitting[name]))
    evidence = f"{list(_port(network, names[0]).shape)}, the largest picture among the inputs"
    name = settled.settle(Guess("picture", names[0], evidence, sure=len(names) == 1, others=names[1:], words=names))
    layout, channels, height, width = fitting[name]
    if height == 0 or width == 0:
        size = settled.settle(
            Guess(
                "size",
                None,
                f"height and width of {name!r} are dynamic; say [width, height]",
                forms=("[width, height]",),
            )
        )
        width, height = (int(s) for s in size)
    return Picture(_port(network, name), layout, channels, height, width, network.head(name))


def _port(network: Network, name: str) -> Port:
    return next(p for p in network.inputs if p.name == name)


def _sizes(port: Port) -> tuple[str, int, int, int] | None:
    """(layout, channels, height, width) of a picture; dynamic sizes are 0."""
    if len(port.shape) != 4 or port.dtype not in ("float32", "float16", "uint8"):
        return None
    first, last = port.shape[1] in COLOURS, port.shape[3] in COLOURS
    if first == last:
        return None
    channels, height, width = port.shape[1:] if first else (port.shape[3], *port.shape[1:3])
    fixed = [size if isinstance(size, int) and size > 0 else 0 for size in (height, width)]
    if any(0 < size < 32 for size in fixed):
        return None
    return ("NCHW" if first else "NHWC"), int(channels), fixed[0], fixed[1]


def _area(found: tuple[str, int, int, int]) -> int:
    return found[1] * found[2] * found[3]


def input_tables(network: Network, picture: Picture, camera: str, settled: Settled) -> list[dict[str, Any]]:
    """`inputs` of the card: the picture, and every other input as a state or a constant.

    Raises:
        UsageError: an input is neither, and no answer says what it is.
    """
    tables = []
    for port in network.inputs:
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in port.shape]
        table: dict[str, Any] = {"name": port.name, "shape": shape, "dtype": port.dtype}
        if port.name == picture.port.name:
            sizes = {"NCHW": (picture.channels, picture.height, picture.width),
                     "NHWC": (picture.height, picture.width, picture.channels)}[picture.layout]  # fmt: skip
            table |= {"shape": [1, *sizes], "layout": picture.layout, "source": f"camera.{camera}"}
        else:
            table["source"] = settled.settle(_other(port, shape, network))
        tables.append(table)
    return tables


def _other(port: Port, shape: Sequence[int], network: Network) -> Guess:
    """What an input that is no picture is."""
    alike = [o.name for o in network.outputs if o.shape == port.shape and o.dtype == port.dtype]
    key = f"input {port.name}"
    if alike:
        return Guess(key, "state", f"output {alike[0]!r} has its shape {list(shape)}", others=["const:0"], forms=TEXT)
    if shape[1:2] == [1] and len(shape) == 4:
        evidence = f"{list(shape)}: a mask of the picture's padding, 0 where there is picture"
        return Guess(key, "const:0", evidence, others=["const:1"], forms=TEXT)
    return Guess(
        key, None, f"an input of shape {list(shape)}: say its source, const:0, ego.speed_mps, calib.front.K", forms=TEXT
    )


def state_table(network: Network, tables: Sequence[Mapping[str, Any]], settled: Settled) -> dict[str, str]:
    """`[state]` of the card: output -> input, for the inputs that are states."""
    found: dict[str, str] = {}
    for table in tables:
        if table["source"] == "state":
            port = _port(network, table["name"])
            alike = [o.name for o in network.outputs if (o.shape, o.dtype) == (port.shape, port.dtype)]
            free = [name for name in alike if name not in found]
            evidence = f"outputs of its shape: {', '.join(alike) or 'none'}"
            guess = Guess(
                f"state {port.name}", free[0] if free else None, evidence, len(alike) == 1, free[1:], words=alike
            )
            found[settled.settle(guess)] = port.name
    return found


def normalise_step(said: Any, channels: int) -> dict[str, Any]:
    """The step that an answer or guess of `normalisation` means.

    Raises:
        UsageError: neither a word of NORMALISATIONS nor a table with mean, std or scale.
    """
    if isinstance(said, Mapping):
        return {"op": "normalise", **said}
    if said not in NORMALISATIONS:
        raise UsageError(
            f"normalisation {said!r}",
            where="answer 'normalisation'",
            remedy=f"one of {', '.join(NORMALISATIONS)}, or a table with mean, std, scale",
        )
    step = dict(NORMALISATIONS[str(said)])
    if channels == 1 and "mean" in step:
        step |= {"mean": sum(step["mean"]) / 3, "std": sum(step["std"]) / 3}
    return step
