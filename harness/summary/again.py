"""The command that replays just the frames of a block."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.run.rungs import engine_of
from harness.summary.blocks import Block

__all__ = ["again"]


def again(block: Block, meta: Mapping[str, Any], most: int = 3) -> str:
    """`trueline replay ...` of the frames that a block is about, on its rungs; empty where the run does not say.

    Args:
        block: what did not pass.
        meta: run.json of the run it is of.
        most: cases named, the first of the block; more would be no line to paste.
    """
    card = (meta.get("card") or {}).get("path")
    paths = {str(c.get("id")): c.get("path") for c in meta.get("cases", ())}
    cases = [name for name in block.cases if paths.get(name)][:most]
    if not card or not cases or not block.rungs:
        return ""
    words = ["trueline", "replay", str(card)]
    for name in cases:
        words += ["--cases", str(paths[name])]
    if any(block.frames.get(name) for name in cases):  # who names one case must name all
        for name in cases:
            frames = block.frames.get(name)
            words += ["--only", name if frames is None else f"{name}:{frames[0]}-{frames[1]}"]
    words += ["--engines", ",".join(dict.fromkeys(engine_of(r) for r in block.rungs))]
    words += ["--out", str(Path("runs") / "again")]
    return " ".join(shlex.quote(word) for word in words)
