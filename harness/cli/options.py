"""Options that several commands share, defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "CardArgument",
    "CasesOption",
    "EnginesOption",
    "JsonOption",
    "PolicyOption",
    "PreprocessOption",
    "RunArgument",
]

CardArgument = Annotated[Path, typer.Argument(metavar="CARD", help="model card (model.toml)")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="run folder made by `trueline replay`")]
CasesOption = Annotated[
    list[Path], typer.Option("--cases", metavar="DIR", help="case folder, or a folder of them; may be repeated")
]
EnginesOption = Annotated[
    str | None, typer.Option("--engines", metavar="A,B", help="engines to run; see `trueline engines`")
]
PreprocessOption = Annotated[
    str, typer.Option("--preprocess", metavar="train,deploy", help="preprocessing pipelines to run")
]
PolicyOption = Annotated[Path, typer.Option("--policy", metavar="FILE", help="NAME.trueline.toml")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON to standard output")]
