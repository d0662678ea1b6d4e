"""A warm start: a run that begins with trained weights, as fine-tuning does.

    [training]
    initial = "baseline.safetensors"

The weights go into the network that the task builds, by name and shape, all of them or not at all
(techniques.weight_files). What decides the outcome is the file's content, not its place: a checkpoint of the run knows
its SHA-256. Techniques that would train a first network themselves ask here whether there is one already.
"""

from __future__ import annotations

from techniques.errors import TechniqueOptionError
from techniques.technique import Run

__all__ = ["check_warm"]


def check_warm(loop: Run, name: str, option: str) -> None:
    """Nothing if the run began with trained weights.

    Raises:
        TechniqueOptionError: it did not, and the option's value 0 stands for them.
    """
    if not loop.settings.initial:
        raise TechniqueOptionError(
            "0 means the weights that the run begins with, and those are random",
            where=f"[technique.{name}] {option}",
            remedy='give [training] initial = "WEIGHTS.safetensors", or a share of the budget above 0',
        )
