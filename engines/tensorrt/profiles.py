"""Optimisation profiles: the sizes that a plan with dynamic dimensions must cover.

Sizes come from the card: where it gives a number, that number only; where it gives a name, the option `profiles` gives
(smallest, best, largest) for the name. The first dimension, the batch, is 1 where nothing is said: a replay goes frame
by frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engines.errors import EngineOptionError
from engines.protocol import TensorSpec
from engines.tensorrt.options import Range

__all__ = ["Profile", "profile_of"]

Profile = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]


def profile_of(
    dynamic: Mapping[str, Sequence[int]], inputs: Sequence[TensorSpec], profiles: Mapping[str, Range], name: str
) -> Profile:
    """Smallest, best and largest shape of every input that has a dynamic dimension.

    Args:
        dynamic: shape of each such input in the graph, -1 where a dimension is dynamic.
        inputs: the card's inputs, whose sizes and names of dimensions decide.
        profiles: sizes of named dimensions.
        name: of the engine, for messages.

    Raises:
        EngineOptionError: a named dimension without sizes, or sizes for a name that no input has.
    """
    card = {spec.name: spec.shape for spec in inputs}
    unknown = set(profiles) - {size for shape in card.values() for size in shape if isinstance(size, str)}
    if unknown:
        raise EngineOptionError(
            f"no input has a dimension {sorted(unknown)[0]!r}",
            where=f"option profiles of {name}",
            remedy="name a dimension by a string in the input's shape in model.toml",
        )
    found: Profile = {}
    for tensor, shape in dynamic.items():
        ranges = [
            (size, size, size) if size >= 0 else _sizes(card[tensor][axis], axis, profiles, f"{name}, input {tensor!r}")
            for axis, size in enumerate(shape)
        ]
        smallest, best, largest = zip(*ranges, strict=True)
        found[tensor] = (smallest, best, largest)
    return found


def _sizes(size: int | str, axis: int, profiles: Mapping[str, Range], where: str) -> Range:
    if isinstance(size, int):
        return (size, size, size)
    if size in profiles:
        return profiles[size]
    if axis == 0:
        return (1, 1, 1)
    raise EngineOptionError(
        f"dimension {size!r} has no sizes",
        where=where,
        remedy=f"give the option profiles = {{{size} = [smallest, best, largest]}}, or a number in model.toml",
    )
