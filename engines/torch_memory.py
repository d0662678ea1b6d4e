"""Whether a PyTorch module remembers the frames it has seen, found by running it twice on one input.

It does where anything in it that could hold a memory changes between the two calls (a buffer written to, an attribute
replaced, a list that grew, BatchNorm's statistics in training mode), or where the outputs differ. What the first call
fills once and for all, such as a cached grid, is no memory. Memory outside the module (globals, files) is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["remembers"]

_OF_TORCH = frozenset({"_modules", "_parameters", "_buffers", "_non_persistent_buffers_set"})
_DEEPEST = 4  # containers inside containers that are looked into


def remembers(module: torch.nn.Module, call: Callable[[], Sequence[torch.Tensor]]) -> bool:
    """Run a module twice and tell whether it remembers; it is not what it was afterwards where it does.

    Args:
        module: whose parts are watched.
        call: runs it on one and the same input, and gives its outputs.

    Raises:
        Exception: whatever the module raises.
    """
    import torch

    with torch.random.fork_rng(devices=()):
        first = [tensor.clone() for tensor in call()]
        before = list(_held(module))
        second = call()
        after = list(_held(module))
    return not (_same(before, after) and all(_equal(a, b) for a, b in zip(first, second, strict=True)))


def _held(module: torch.nn.Module) -> Iterator[tuple[str, Any, Any]]:
    """Everything in a module that could hold a memory: (name, the object, kept alive; what tells that it changed)."""
    for path, part in module.named_modules():
        plain = {key: value for key, value in vars(part).items() if key not in _OF_TORCH}
        for name, value in {**plain, **part._buffers, **part._parameters}.items():
            yield from _leaves(f"{path}.{name}", value, 0)


def _leaves(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any, Any]]:
    import torch

    if isinstance(value, torch.Tensor):
        yield name, value, None if value.is_inference() else value._version
    elif isinstance(value, int | float | complex | str | bytes | type(None)):
        yield name, None, repr(value)
    elif depth < _DEEPEST and isinstance(value, Mapping):
        for key, item in list(value.items()):
            yield from _leaves(f"{name}[{key!r}]", item, depth + 1)
    elif depth < _DEEPEST and (isinstance(value, Sequence | set | frozenset) or hasattr(value, "maxlen")):
        for index, item in enumerate(list(value)):
            yield from _leaves(f"{name}[{index}]", item, depth + 1)
    else:
        yield name, value, None


def _same(before: Sequence[tuple[str, Any, Any]], after: Sequence[tuple[str, Any, Any]]) -> bool:
    return len(before) == len(after) and all(
        a[0] == b[0] and a[1] is b[1] and a[2] == b[2] for a, b in zip(before, after, strict=True)
    )


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are the same, not-a-number being equal to itself."""
    import torch

    return one.shape == other.shape and bool(((one == other) | (torch.isnan(one) & torch.isnan(other))).all())
