"""Names of pipelines with swapped steps: `train+resize`, `deploy-resize`, `train+resize+crop`.

Either sign takes those steps from the other pipeline. `+` stands after the reference's pipeline (what does the step do
alone?), `-` after the other one (what is left without it?). Steps that only go together are joined by `+`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PIPELINES", "Swap", "other_pipeline", "single_swaps", "swap_of"]

PIPELINES = ("train", "deploy")


@dataclass(frozen=True, slots=True)
class Swap:
    """One pipeline with some steps of the other.

    Attributes:
        base: `train` or `deploy`.
        sign: `+` or `-`.
        steps: names of the steps that come from the other pipeline.
    """

    base: str
    sign: str
    steps: tuple[str, ...]

    @property
    def name(self) -> str:
        """`train+resize+crop`."""
        return f"{self.base}{self.sign}{'+'.join(self.steps)}"

    @property
    def factor(self) -> str:
        """`preprocess:resize+crop`."""
        return f"preprocess:{'+'.join(self.steps)}"


def swap_of(preprocess: str) -> Swap | None:
    """The swap that a pipeline's name stands for; None for `train` and `deploy` themselves."""
    for base in PIPELINES:
        sign, rest = preprocess[len(base) : len(base) + 1], preprocess[len(base) + 1 :]
        if preprocess.startswith(base) and sign in ("+", "-") and rest:
            return Swap(base, sign, tuple(rest.split("+")))
    return None


def other_pipeline(base: str) -> str:
    """`deploy` for `train`, `train` for `deploy`."""
    return PIPELINES[base == "train"]


def single_swaps(base: str, steps: Sequence[str]) -> tuple[Swap, ...]:
    """Each of several steps put into the base pipeline, and each taken out of the other one; of one step, none."""
    if len(steps) < 2:
        return ()
    return tuple(Swap(b, sign, (step,)) for b, sign in ((base, "+"), (other_pipeline(base), "-")) for step in steps)
