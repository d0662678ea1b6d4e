"""What a run was made with, as text in groups, and what differs between two runs: the first thing to look at when
numbers moved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["Provenance", "provenance_differences", "provenance_of"]

DIGITS = 12  # of a hash: enough to tell two apart
_OF_ITS_PLACE = frozenset({"engine", "model", "seconds", "command"})  # paths, times, and what the group's name says

Provenance = Mapping[str, Mapping[str, str]]
"""Group (`model`, `versions`, an engine, a pipeline, `settings`) -> name -> value."""


def provenance_of(meta: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """run.json in groups; paths and times are left out, they change nothing."""
    card = meta.get("card") or {}
    groups: dict[str, dict[str, str]] = {
        "model": {str(k): _written(v) for part in ("files", "code") for k, v in (card.get(part) or {}).items()},
        "versions": {str(k): _written(v) for k, v in (meta.get("provenance") or {}).items()},
        "settings": {k: _written(v) for k, v in (meta.get("settings") or {}).items() if k != "steps"},
    }
    for rung in meta.get("rungs", ()):
        facts = rung.get("provenance") or {}
        told = {k: _written(v) for k, v in facts.items() if k not in _OF_ITS_PLACE and isinstance(v, str | int | float)}
        if told:
            groups.setdefault(str(rung.get("engine") or rung["name"]), {}).update(told)
    for source, pipelines in (meta.get("pipelines") or {}).items():
        for name in ("train", "deploy"):
            steps = pipelines.get(name, ())
            groups[f"{name} of {source}"] = {
                f"{step.get('step')}: {option}": _written(value)
                for step in steps
                for option, value in step.items()
                if option != "step"
            }
    return {name: dict(sorted(facts.items())) for name, facts in groups.items() if facts}


def provenance_differences(old: Provenance, new: Provenance) -> tuple[str, ...]:
    """`GROUP: NAME OLD -> NEW` for all that differs, in groups that both have."""
    return tuple(
        f"{group}: {name} {old[group].get(name, 'none')} -> {new[group].get(name, 'none')}"
        for group in old
        if group in new
        for name in sorted({*old[group], *new[group]})
        if old[group].get(name) != new[group].get(name)
    )


def _written(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    is_hash = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:DIGITS] if is_hash else text
