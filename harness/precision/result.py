"""What a precision search found: the mixed graph, lists for the runtimes, and what is told of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.layers.mixed import Mixed
from harness.gate import Verdict
from harness.run.json import plain, write_json
from trueline._drafts import replacing

__all__ = ["Found", "Searched", "Setback", "found_json", "found_lines", "kept_cells", "write_found"]

SCHEMA = 1
SHOWN = 3  # setbacks and nodes that are told in words


@dataclass(frozen=True)
class Searched:
    """One search: its seed and the set that it ended at."""

    seed: int
    kept: frozenset[str]


@dataclass(frozen=True)
class Setback:
    """A set that held, and what made it fail when it was kept in fp32 as well."""

    held: frozenset[str]
    worse_with: frozenset[str]


@dataclass(frozen=True)
class Found:
    """What came of a search.

    Attributes:
        card, engine, precision: which model, on what, in which format.
        kept: nodes of the folded graph to keep in fp32, in the network's order; none where nothing need be.
        broken: rules that fail with everything reduced and hold in fp32.
        searched: every search; each set is 1-minimal.
        costs: multiplications of every node in a frame.
        origins: node of the folded graph -> nodes of the file.
        mixed: the graph.
        trials: replays that it took.
        setbacks: where a node more in fp32 made it worse.
        proof: the verdict on all cases, replayed anew at the end.
        unproved: rules that the proof breaks; none, or the search was misled.
    """

    card: str
    engine: str
    precision: str
    kept: tuple[str, ...]
    broken: frozenset[str]
    searched: tuple[Searched, ...]
    costs: Mapping[str, float]
    origins: Mapping[str, tuple[str, ...]]
    mixed: Mixed
    trials: int
    setbacks: tuple[Setback, ...]
    proof: Verdict
    unproved: frozenset[str]

    @property
    def share(self) -> float:
        """Of the multiplications that stay in fp32."""
        total = sum(self.costs.values())
        return sum(self.costs[name] for name in self.kept) / total if total else 0.0

    @property
    def fp32_nodes(self) -> tuple[str, ...]:
        """Nodes of the file that stay in fp32, those that only move what the kept ones give among them."""
        names = self.mixed.kept if self.kept else ()
        return tuple(dict.fromkeys(node for name in names for node in self.origins.get(name, (name,))))


def found_json(found: Found) -> dict[str, Any]:
    """JSON values."""
    told = {
        "schema": SCHEMA,
        "card": found.card,
        "engine": found.engine,
        "precision": found.precision,
        "broken": sorted(found.broken),
        "kept": found.kept,
        "fp32_nodes": found.fp32_nodes,
        "macs_in_fp32": found.share,
        "searches": [{"seed": one.seed, "kept": sorted(one.kept)} for one in found.searched],
        "trials": found.trials,
        "proved": not found.unproved,
        "unproved": sorted(found.unproved),
        "setbacks": [{"held": sorted(one.held), "worse_with": sorted(one.worse_with)} for one in found.setbacks],
    }
    result: dict[str, Any] = plain(told)
    return result


def write_found(found: Found, folder: Path) -> None:
    """Write `mixed.onnx`, `precision.json`, and the lists for AutoCast and TensorRT."""
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "mixed.onnx") as draft:
        onnx.save(found.mixed.model, draft)
    write_json(folder / "precision.json", found_json(found))
    excluded = [f"^{re.escape(name)}$" for name in found.fp32_nodes]
    _write(folder / "nodes_to_exclude.json", json.dumps(excluded, indent=1) + "\n")
    _write(folder / "layer_precisions.txt", ",".join(f"{name}:fp32" for name in found.fp32_nodes) + "\n")


def found_lines(found: Found) -> Iterator[str]:
    """What came of it, in words."""
    if not found.broken:
        yield f"no rule that holds in fp32 fails on {found.engine}: nothing need be kept in fp32"
        return
    yield f"{found.engine} breaks {', '.join(sorted(found.broken))}"
    yield (
        f"they hold again with {len(found.kept)} nodes in fp32, {100 * found.share:.2g} % of the multiplications; "
        f"{found.trials} replays"
    )
    for one in found.searched:
        same = " (taken)" if one.kept == frozenset(found.kept) else ""
        yield f"seed {one.seed}: {len(one.kept)} nodes{same}"
    proved = f"no, {', '.join(sorted(found.unproved))} broken" if found.unproved else "yes"
    yield f"proved on all cases: {proved}"
    if found.setbacks:
        worse = sorted({name for one in found.setbacks for name in one.worse_with})
        more = f" and {len(worse) - SHOWN} more" if len(worse) > SHOWN else ""
        yield (
            f"{len(found.setbacks)} times a set held and a larger one did not; what was added: "
            f"{', '.join(worse[:SHOWN])}{more}"
        )


def kept_cells(found: Found) -> list[tuple[object, ...]]:
    """Rows of a table: node, what it is in the file, share of the multiplications."""
    total = sum(found.costs.values()) or 1.0
    return [
        (name, ", ".join(found.origins.get(name, ())), f"{100 * found.costs[name] / total:.2g} %")
        for name in found.kept
    ]


def _write(path: Path, text: str) -> None:
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
