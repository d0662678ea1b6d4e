"""The process that a build runs in: it reads `order.json` of a folder, and writes there what came of it.

`model.plan` and `said.json` (warnings, the compiled plan's text), or `error.json`.
"""

from __future__ import annotations

import json
from pathlib import Path

from engines.child.messages import said
from engines.tensorrt.api import load
from engines.tensorrt.build import build_plan, read_order
from engines.tensorrt.plugins import load_plugins
from engines.tensorrt.product import product_of

__all__ = ["main"]


def main(place: str) -> None:
    """Build what the folder's order says."""
    folder = Path(place)
    order = read_order((folder / "order.json").read_text(encoding="utf-8"))
    try:
        api = load(product_of(order.name))
        load_plugins(api, order.plugins)
        built = build_plan(api, order)
    except Exception as error:  # whatever it is, the parent raises it
        (folder / "error.json").write_text(said(error), encoding="utf-8")
        return
    (folder / "model.plan").write_bytes(built.plan)
    told = {"warnings": built.warnings, "layers": built.layers}
    (folder / "said.json").write_text(json.dumps(told), encoding="utf-8")
