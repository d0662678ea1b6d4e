"""`python -m benchmarks.breaking [--quick] [--only GROUP,...] [--out FOLDER] [--kills N] [--inputs N]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.breaking import engines, fuzz, kills, machine
from benchmarks.breaking.trials import Results, table
from benchmarks.breaking.world import build

GROUPS = ("engines", "machine", "kills", "fuzz")


def main() -> None:
    """Run what is left of the trials and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.breaking", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the kills and of the inputs")
    parser.add_argument("--only", default=",".join(GROUPS), help="groups, of " + ", ".join(GROUPS))
    parser.add_argument(
        "--out", type=Path, default=Path(".trueline/breaking"), help="folder of the world and the results"
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--inputs", type=int, default=20_000)
    chosen = parser.parse_args()
    share = 10 if chosen.quick else 1
    world = build((chosen.out / "world").resolve())
    results = Results(chosen.out / "results.jsonl")
    groups = chosen.only.split(",")
    if "engines" in groups:
        engines.run(world, results)
    if "machine" in groups:
        machine.run(world, results)
    if "kills" in groups:
        kills.run(world, results, chosen.kills // share)
    if "fuzz" in groups:
        fuzz.run(world, results, fuzz.names(chosen.inputs // share))
    print(table(results))


main()
