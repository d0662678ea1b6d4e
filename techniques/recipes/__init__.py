"""Named recipes: techniques with their options in a file, `NAME.toml` beside this module or anywhere.

    schema = 1
    [technique.preprocessing]     # in this order
    share = 0.5
    [technique.ema]
    decay = 0.998

or `same_as = "NAME"` alone. A recipe is whole: options that it does not name are the technique's own defaults, whatever
a task file says of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from techniques.errors import TaskError
from trueline._reading import read_toml

__all__ = ["load_recipe", "recipes"]

HERE = Path(__file__).resolve().parent


def recipes() -> list[str]:
    """Names of those that come along."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def load_recipe(name: str) -> dict[str, dict[str, Any]]:
    """Technique -> options, in order.

    Args:
        name: of a recipe that comes along, or path of a file.

    Raises:
        TaskError: there is no such recipe, or the file is none.
    """
    path = HERE / f"{name}.toml" if name in recipes() else Path(name)
    try:
        found = read_toml(path)
    except OSError as error:
        raise TaskError(
            f"no recipe {name!r}", where="--recipe", remedy=f"use one of {', '.join(recipes())}, or a file"
        ) from error
    except ValueError as error:
        raise TaskError(f"not TOML: {error}", where=str(path), remedy="fix the syntax at that line") from error
    return _checked(found, path)


def _checked(found: dict[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """The recipe's techniques, or those of the recipe that it is the same as."""
    if found.get("schema") != 1 or found.keys() not in ({"schema", "technique"}, {"schema", "same_as"}):
        raise TaskError(
            f"a recipe has schema = 1 and either [technique.NAME] tables or same_as, got {sorted(found)}",
            where=str(path),
            remedy="see techniques/recipes",
        )
    if "technique" in found:
        chosen = found["technique"]
        if isinstance(chosen, dict) and chosen and all(isinstance(options, dict) for options in chosen.values()):
            return dict(chosen)
        raise TaskError("[technique] holds no tables", where=str(path), remedy="write [technique.NAME]")
    other = found["same_as"]
    if other not in recipes() or other == path.stem:
        raise TaskError(f"it is the same as {other!r}, which is none", where=str(path), remedy="name another recipe")
    return load_recipe(other)
