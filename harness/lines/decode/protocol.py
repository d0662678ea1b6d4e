"""What a decoder is, and what every decoder shares: reading options and outputs, dropping broken lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import DecoderError
from harness.lines.table import LineTable
from harness.model.card import Card

__all__ = [
    "Decoder", "Options", "Outputs", "in_picture", "line_table", "near_first", "read_options", "read_output",
    "read_scores", "require_pixels",
]  # fmt: skip

Array = NDArray[Any]
Outputs = Mapping[str, Array]


@runtime_checkable
class Decoder(Protocol):
    """Turns outputs into lines.

    Attributes:
        slots: how many slots the decoder has: line k of every frame is the same one; 0 where lines have no slots.
    """

    slots: int

    def decode(self, outputs: Outputs) -> LineTable:
        """Lines of a chunk of frames.

        Args:
            outputs: name -> [frames, ...], each frame as the engine gave it.

        Returns:
            Lines with frame numbers 0..frames-1, in frame order. Lines with a point or score that is not finite are
            left out; the replay counts those values by itself.

        Raises:
            DecoderError: an output is missing or has another shape than the card says.
        """
        ...


class Options(BaseModel):
    """Options of a decoder in the card; unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


OptionsT = TypeVar("OptionsT", bound=Options)


def read_options(card: Card, kind: type[OptionsT]) -> OptionsT:
    """The card's decoder options, checked; an empty string is None, which TOML cannot write.

    Raises:
        DecoderError: an option is unknown, missing or of the wrong kind.
    """
    try:
        return kind(**{key: None if value == "" else value for key, value in card.decoder.options.items()})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'options'}: {e['msg']}" for e in error.errors())
        raise DecoderError(
            f"decoder {card.decoder.name!r}: {problems}",
            where=f"{card.path} [decoder]",
            remedy=f"its options are {', '.join(kind.model_fields)}; see docs/cards.md",
        ) from error


def require_pixels(card: Card, what: str) -> None:
    """Refuse a card in metres for lines of the picture; `what` begins the sentence.

    Raises:
        DecoderError: the card's frame is not `image`.
    """
    if card.frame != "image":
        raise DecoderError(
            f"{what}, the card's frame is 'vehicle'",
            where=f"{card.path} [decoder]",
            remedy='set frame = "image", length_unit = "px" and [image]',
        )


def read_output(outputs: Outputs, name: str, shape: tuple[int | None, ...], meaning: str) -> Array:
    """One output as [frames, *shape]; the engines' batch axis of one is dropped.

    Args:
        outputs: of a chunk.
        name: the output.
        shape: sizes after the frame axis; None takes any.
        meaning: names of these axes, for the message.

    Raises:
        DecoderError: no such output, or another shape.
    """
    if name not in outputs:
        raise DecoderError(
            f"no output {name!r}", where="[decoder]", remedy=f"the model gives {sorted(outputs)}; name one of them"
        )
    values = outputs[name]
    if values.ndim == len(shape) + 2 and values.shape[1] == 1:
        values = values[:, 0]
    sizes = values.shape[1:]
    if len(sizes) != len(shape) or any(w is not None and s != w for s, w in zip(sizes, shape, strict=True)):
        wanted = ", ".join("any" if w is None else str(w) for w in shape)
        raise DecoderError(
            f"output {name!r} is {list(outputs[name].shape[1:])} a frame, must be [{wanted}] = {meaning}",
            where="[decoder]",
            remedy="fix the decoder's options, or choose another decoder",
        )
    return values


def read_scores(outputs: Outputs, name: str | None, slots: int, kind: str, frames: int) -> NDArray[np.float32]:
    """Scores in 0..1, float32 [frames, slots]; ones where the model has none, a sigmoid applied where kind is `logit`.

    Raises:
        DecoderError: as `read_output`.
    """
    if name is None:
        return np.ones((frames, slots), np.float32)
    raw = outputs.get(name)
    if raw is not None and raw.ndim > 2 and sorted(raw.shape[-2:]) == sorted((1, slots)):
        outputs = {name: raw.reshape(*raw.shape[:-2], slots)}
    scores = read_output(outputs, name, (slots,), "[slots]").astype(np.float32, copy=False)
    if kind == "logit":
        with np.errstate(over="ignore"):
            scores = np.float32(1) / (np.float32(1) + np.exp(-scores))
    return scores


def in_picture(points: Array) -> NDArray[np.bool_]:
    """Which points, in shares of the picture, lie inside it: [..., 2] -> [...]."""
    return np.asarray(((points >= 0) & (points <= 1)).all(axis=-1))


def near_first(points: Array) -> Array:
    """Lines of the picture from the bottom up: those that begin above their end are turned, [..., points, 2]."""
    turned = points[..., 0, 1] < points[..., -1, 1]
    return np.where(turned[..., None, None], points[..., ::-1, :], points)


def line_table(
    points: Array,
    scores: NDArray[np.float32],
    threshold: float,
    *,
    category: Array,
    topology: Array,
    kept: NDArray[np.bool_] | None = None,
    slots: bool = True,
) -> LineTable:
    """Lines of equally long candidates, without a loop.

    Args:
        points: [frames, slots, points, 2].
        scores: [frames, slots]; below `threshold`, or not finite, is no line.
        threshold: in 0..1.
        category: class of each slot, [slots].
        topology: OPEN or CLOSED of each slot, [slots].
        kept: [frames, slots, points] points that count; None for all. Lines of fewer than 2 are dropped.
        slots: whether position means identity.
    """
    found = scores >= threshold
    length = points.shape[2]
    if kept is None:
        found &= np.isfinite(points.reshape(*points.shape[:2], -1)).all(axis=2)
    else:
        found &= (np.isfinite(points).all(axis=3) | ~kept).all(axis=2) & (kept.sum(axis=2) >= 2)
    frame, slot = np.nonzero(found)
    chosen = points[frame, slot].astype(np.float32, copy=False)
    count = np.full(len(frame), length, np.int64) if kept is None else kept[frame, slot].sum(axis=1)
    flat = chosen.reshape(-1, 2) if kept is None else chosen[kept[frame, slot]]
    return LineTable(
        frame.astype(np.int64),
        slot.astype(np.int16) if slots else np.full(len(frame), -1, np.int16),
        category[slot].astype(np.int16),
        scores[frame, slot],
        topology[slot].astype(np.uint8),
        np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
        np.ascontiguousarray(flat[:, 0]),
        np.ascontiguousarray(flat[:, 1]),
    )
