"""`openpilot`: lane lines and road edges as openpilot's driving model gives them.

From its public sources (selfdrive/modeld: constants.py, parse_model_outputs.py, fill_model_msg.py): a mixture density
output of 4 lines x 33 points x (y, z), first all means, then all log standard deviations, std = exp(raw); the stations
are x_i = 192 (i / 32)^2 m. Its device frame has y to the right, so y is negated here. Each line has two logits of being
there, of which its driving stack reads the second. Road edges have no logits: their score falls with the mean standard
deviation. Its networks give all they say as one vector; where in it the lines stand differs from version to version and
is told by `output_slices` beside the model, so a part of an output can be named: `outputs[4955:5483]`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.errors import DecoderError
from harness.lines.decode.protocol import Options, Outputs, line_table, read_options, read_output
from harness.lines.table import LineTable
from harness.model.card import Card

__all__ = ["STATIONS_M", "OpenpilotDecoder", "OpenpilotOptions", "build"]

Array = NDArray[Any]

POINTS = 33
STATIONS_M = 192 * (np.arange(POINTS) / 32) ** 2
LINE, EDGE = 0, 1
_PART = re.compile(r"(.+)\[(\d+):(\d+)\]")


class OpenpilotOptions(Options):
    """Options of `openpilot`.

    Attributes:
        lane_lines: output with [lines * 33 * 2 * 2] numbers, or `NAME[FROM:TO]`, a part of one.
        probabilities: output or part with [lines * 2] logits.
        road_edges: output or part with [edges * 33 * 2 * 2] numbers; None: no road edges.
        threshold: least score of a line.
        reach_m: farthest station kept.
        max_std_m: points with a larger standard deviation of y are left out; None: keep all.
        edge_std_m: standard deviation at which a road edge's score is 1/2.
    """

    lane_lines: str = "lane_lines"
    probabilities: str = "lane_lines_prob"
    road_edges: str | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    reach_m: Annotated[float, Field(gt=0)] = 192.0
    max_std_m: Annotated[float | None, Field(gt=0)] = None
    edge_std_m: Annotated[float, Field(gt=0)] = 1.0


class OpenpilotDecoder:
    """See `OpenpilotOptions`; slots are the lane lines from left to right, then the road edges."""

    def __init__(self, options: OpenpilotOptions, slots: int) -> None:
        self._options = options
        self._near = options.reach_m >= STATIONS_M
        self.slots = slots

    def decode(self, outputs: Outputs) -> LineTable:
        """See `harness.lines.decode.Decoder`."""
        o = self._options
        y, std = read_mixture(outputs, o.lane_lines)
        logits = _flat(outputs, o.probabilities)
        if logits.shape[1] != 2 * y.shape[1]:
            raise DecoderError(
                f"output {o.probabilities!r} has {logits.shape[1]} numbers for {y.shape[1]} lines, must have 2 a line",
                where="[decoder]",
                remedy="name the right outputs",
            )
        with np.errstate(over="ignore"):
            score = 1 / (1 + np.exp(-logits[:, 1::2]))
        category = np.full(y.shape[1], LINE)
        if o.road_edges is not None:
            edge_y, edge_std = read_mixture(outputs, o.road_edges)
            edge_score = o.edge_std_m / (o.edge_std_m + edge_std[..., self._near].mean(axis=2))
            y, std = np.concatenate([y, edge_y], axis=1), np.concatenate([std, edge_std], axis=1)
            score = np.concatenate([score, edge_score], axis=1)
            category = np.concatenate([category, np.full(edge_y.shape[1], EDGE)])
        kept = np.broadcast_to(self._near, y.shape) & (True if o.max_std_m is None else std <= o.max_std_m)
        points = np.stack([np.broadcast_to(STATIONS_M, y.shape), -y], axis=-1)
        topology = np.zeros(len(category), np.uint8)
        return line_table(
            points, score.astype(np.float32), o.threshold, category=category, topology=topology, kept=kept
        )


def read_mixture(outputs: Outputs, name: str) -> tuple[Array, Array]:
    """Mean and standard deviation of y in openpilot's frame (right positive), [frames, lines, 33] metres each.

    Raises:
        DecoderError: the output is missing, or no whole number of lines.
    """
    raw = _flat(outputs, name)
    each = POINTS * 2 * 2
    if raw.shape[1] == 0 or raw.shape[1] % each:
        raise DecoderError(
            f"output {name!r} has {raw.shape[1]} numbers, must be n x {each}: lines x 33 x (y, z) x (mean, std)",
            where="[decoder]",
            remedy="name the right output; cut it out of a fused one inside the graph",
        )
    half = raw.reshape(len(raw), 2, raw.shape[1] // each, POINTS, 2)[..., 0].astype(np.float64)
    with np.errstate(over="ignore"):
        return half[:, 0], np.exp(half[:, 1])


def _flat(outputs: Outputs, name: str) -> Array:
    """[frames, numbers], however the output is shaped; a part of it where the name says so."""
    if name in outputs:
        return outputs[name].reshape(len(outputs[name]), -1)
    output, part = _part_of(name)
    if part is None or output not in outputs:
        read_output(outputs, output, (None,), "[numbers]")
    whole = outputs[output].reshape(len(outputs[output]), -1)
    if part is not None and part[1] > whole.shape[1]:
        raise DecoderError(
            f"output {output!r} has {whole.shape[1]} numbers, {name!r} goes on to {part[1]}",
            where="[decoder]",
            remedy="take FROM and TO from the model's own output_slices",
        )
    return whole if part is None else whole[:, slice(*part)]


def _part_of(name: str) -> tuple[str, tuple[int, int] | None]:
    """`outputs[4955:5483]` is ("outputs", (4955, 5483)); a plain name has no part."""
    found = _PART.fullmatch(name)
    return (name, None) if found is None else (found[1], (int(found[2]), int(found[3])))


def build(card: Card) -> OpenpilotDecoder:
    """The decoder of a card; the output's shape, where the card gives it, says how many lines there are.

    Raises:
        DecoderError: the card's lines are not in the vehicle frame.
    """
    if card.frame != "vehicle":
        raise DecoderError(
            "openpilot lines are metres, the card's frame is 'image'",
            where=f"{card.path} [decoder]",
            remedy='set frame = "vehicle" and length_unit = "m"',
        )
    options = read_options(card, OpenpilotOptions)
    shapes = {o.name: o.shape for o in card.outputs}
    names = [n for n in (options.lane_lines, options.road_edges) if n is not None]
    return OpenpilotDecoder(options, sum(_lines_of(n, shapes.get(n)) for n in names))


def _lines_of(name: str, shape: tuple[int | str, ...] | None) -> int:
    """Lines in an output of that shape, or in a part of one; 0 where unknown."""
    part = _part_of(name)[1]
    if shape is None and part is not None:
        return max(part[1] - part[0], 0) // (POINTS * 4)
    sizes = [s for s in shape or () if isinstance(s, int)]
    return int(np.prod(sizes)) // (POINTS * 4) if shape and len(sizes) == len(shape) else 0
