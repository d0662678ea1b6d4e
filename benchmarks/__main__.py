"""Run every benchmark: `make bench`."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks


def main() -> None:
    """Run `main()` of every module beside this one that has one, in the order of names."""
    chosen = sys.argv[1:]
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name.startswith("_") or (chosen and module.name not in chosen):
            continue
        print(f"\n== {module.name}", flush=True)
        loaded = importlib.import_module(f"benchmarks.{module.name}")
        if hasattr(loaded, "main"):
            loaded.main()


main()
