"""Engines, one module each behind one small protocol; nothing here knows what a line is.

    engine = engines.open("ort-fp32", source)      # source: engines.protocol.ModelSource, from a model card
    outputs = engine.infer({"images": picture})

Names, families and third parties' engines: `engines.registry`. What each engine shows: docs/engines.md.
"""

from __future__ import annotations

from engines.registry import availability, names, open_engine

__all__ = ["availability", "names", "open", "open_engine"]

open = open_engine  # `engines.open(...)` is how it reads; the builtin is not used here
