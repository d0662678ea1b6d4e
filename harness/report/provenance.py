"""What is needed to repeat a run, in groups of key and value: versions, hashes, flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.run.facts import RunFacts

__all__ = ["provenance"]


def provenance(facts: RunFacts) -> list[tuple[str, list[tuple[str, str]]]]:
    """Versions, hashes and flags in groups of (key, value)."""
    meta = facts.meta
    card = meta.get("card", {})
    groups = [
        ("Run", _flat({k: meta[k] for k in ("started", "ended", "digest", "settings") if k in meta})),
        ("Model", _flat({k: v for k, v in card.items() if k != "grid"})),
        ("Software and machine", _flat(meta.get("provenance", {}))),
    ]
    groups += [(f"Rung {r.name}", _flat({"status": r.status, **(r.provenance or {})})) for r in facts.rungs.values()]
    groups += [(f"Case {c['id']}", _flat({k: v for k, v in c.items() if k != "id"})) for c in meta.get("cases", ())]
    return [(name, rows) for name, rows in groups if rows]


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, item in value.items():
        if isinstance(item, Mapping):
            rows += _flat(item, f"{prefix}{key}.")
        elif isinstance(item, list | tuple):
            rows.append((prefix + key, ", ".join(str(i) for i in item) or "–"))
        else:
            rows.append((prefix + key, "–" if item in (None, "") else str(item)))
    return rows
