"""Averages and straight paths between the weights of networks: state dicts in, new state dicts out.

    average(states, shares)         sum of share_i * state_i             soups, averages of checkpoints
    interpolate(start, end, share)  (1 - share) * start + share * end    WiSE-FT

Sums are taken in double precision and rounded once to the dtype of the ingredients, so half-precision weights lose
nothing on the way and the average of equal fp32 weights is that weight. Integer and boolean buffers (counters, masks)
have no mean: they are the first's. An ingredient that has the whole share comes back bit for bit, buffers included.
BatchNorm's running statistics are averaged like all else and then belong to no network: recompute them
(techniques.batchnorm).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from techniques.errors import ModelMismatch, TechniqueOptionError

__all__ = ["State", "average", "check_alike", "cloned", "interpolate", "least_cosine"]

State = Mapping[str, Tensor]


def cloned(state: State) -> dict[str, Tensor]:
    """A copy that training does not change."""
    return {key: value.detach().clone() for key, value in state.items()}


def check_alike(states: Sequence[State]) -> None:
    """Nothing if all states are of one architecture.

    Raises:
        ModelMismatch: no state at all, or keys, shapes or dtypes that differ; the first difference is named.
    """
    if not states:
        raise ModelMismatch(
            "there are no weights to combine", where="check_alike(states)", remedy="give at least one state dict"
        )
    first = states[0]
    for number, other in enumerate(states[1:], 1):
        missing, extra = sorted(first.keys() - other.keys()), sorted(other.keys() - first.keys())
        if missing or extra:
            raise ModelMismatch(
                f"its keys differ: without {missing[:3]}, but with {extra[:3]}",
                where=f"states[{number}]",
                remedy="combine checkpoints of one architecture, saved in the same way",
            )
        for key, value in first.items():
            own, theirs = (f"{v.dtype} {list(v.shape)}" for v in (value, other[key]))
            if own != theirs:
                raise ModelMismatch(
                    f"{key!r} is {theirs}, the first has {own}",
                    where=f"states[{number}]",
                    remedy="combine checkpoints of one architecture and precision",
                )


def average(states: Sequence[State], shares: Sequence[float] | None = None) -> dict[str, Tensor]:
    """Weighted mean of states; neither aliases nor changes them.

    Args:
        states: of one architecture; tensors of one key on one device.
        shares: one for each, not negative, sum 1; None for equal ones.

    Raises:
        ModelMismatch: the states differ in keys, shapes or dtypes, or there are none.
        TechniqueOptionError: shares that do not fit.
    """
    check_alike(states)
    if shares is None:
        shares = [1 / len(states)] * len(states)
    fits = len(shares) == len(states) and all(s >= 0 for s in shares)
    if not fits or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise TechniqueOptionError(
            f"{len(states)} states cannot take the shares {list(shares)}",
            where="average(shares)",
            remedy="give one share for each, not negative, of sum 1",
        )
    used = [(s, float(share)) for s, share in zip(states, shares, strict=True) if share > 0]
    if len(used) == 1:
        return cloned(used[0][0])
    return {key: _mean(states[0][key], [(s[key], share) for s, share in used]) for key in states[0]}


def interpolate(start: State, end: State, share: float) -> dict[str, Tensor]:
    """(1 - share) * start + share * end; 0 gives `start` and 1 gives `end` bit for bit.

    Raises:
        ModelMismatch: the states differ in keys, shapes or dtypes.
        TechniqueOptionError: a share outside 0..1.
    """
    if not 0 <= share <= 1:
        raise TechniqueOptionError(
            f"a share must be in 0..1, got {share}", where="interpolate(share)", remedy="stay between the two networks"
        )
    return average([start, end], [1 - share, share])


def least_cosine(states: Sequence[State]) -> float:
    """Least cosine between the floating tensors of two states, each state as one vector; NaN for a single state.

    Near 1 for networks of one start that did not go far, near 0 for independent starts, which must not be averaged.
    """
    check_alike(states)
    vectors = [torch.cat([v.detach().double().flatten() for v in s.values() if v.is_floating_point()]) for s in states]
    pairs = [(a, b) for i, a in enumerate(vectors) for b in vectors[:i]]
    return min((float(torch.dot(a, b) / (a.norm() * b.norm())) for a, b in pairs), default=math.nan)


def _mean(first: Tensor, parts: list[tuple[Tensor, float]]) -> Tensor:
    """Sum of share * tensor in double precision, in the dtype of `first`; `first` itself if it is not floating."""
    if not (first.is_floating_point() or first.is_complex()):
        return first.detach().clone()
    wide = torch.complex128 if first.is_complex() else torch.float64
    total = torch.zeros(first.shape, dtype=wide, device=first.device)
    for tensor, share in parts:
        total += share * tensor.detach().to(wide)
    return total.to(first.dtype)
