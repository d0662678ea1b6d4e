"""Options that several commands share, defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "BaselineOption",
    "BatchOption",
    "CacheOption",
    "CardArgument",
    "CasesOption",
    "EnginesOption",
    "FloorOption",
    "GithubOption",
    "GpusOption",
    "HistoryOption",
    "IsolateOption",
    "JsonOption",
    "JunitOption",
    "KeepTensorsOption",
    "MarkdownOption",
    "OnlyOption",
    "PolicyOption",
    "PreprocessOption",
    "ProfileOption",
    "RayOption",
    "ReuseOption",
    "RunArgument",
    "RunOutOption",
    "StepsOption",
    "TimeoutOption",
    "names",
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
PolicyOption = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="FILE|NAME",
        help="NAME.trueline.toml, or smoke, release, strict (-image); without it the finding thresholds are the limits",
    ),
]
ProfileOption = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="profile of the policy")]
BaselineOption = Annotated[
    Path | None,
    typer.Option("--baseline", metavar="RUN|FILE", help="run to compare with, or what `trueline accept` wrote"),
]
JunitOption = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="write JUnit XML")]
MarkdownOption = Annotated[
    Path | None, typer.Option("--markdown", metavar="FILE", help="write the verdict for a pull request")
]
HistoryOption = Annotated[
    Path | None,
    typer.Option("--history", metavar="FILE", help="add the verdict to this SQLite file; see `trueline history`"),
]
GithubOption = Annotated[
    bool, typer.Option("--github", help="print annotations of a GitHub workflow, one for each cause")
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="CASE[:FIRST-LAST]", help="only this case, or these of its frames; may be repeated"),
]
StepsOption = Annotated[bool, typer.Option(help="add rungs that swap single preprocessing steps, both ways")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.001, help="seconds an isolated engine may take for a frame")
]
RunOutOption = Annotated[Path, typer.Option("--out", metavar="RUN", help="run folder; a half-done one is resumed")]
FloorOption = Annotated[bool, typer.Option("--floor", help="measure the noise floor of every engine")]
BatchOption = Annotated[
    int, typer.Option("--batch", min=1, help="frames an engine takes at once; states are not for batches")
]
IsolateOption = Annotated[
    bool, typer.Option("--isolate", help="every engine in a process of its own: a crash or a hang costs its rung")
]
ReuseOption = Annotated[
    bool, typer.Option("--reuse/--no-reuse", help="take cases that were replayed before from the cache, keep new ones")
]
KeepTensorsOption = Annotated[
    bool, typer.Option("--keep-tensors", help="keep what every engine gave too: another decoder runs no engine again")
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="prepared models and kept results (default .trueline/cache)"),
]
RayOption = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="replay on this Ray cluster; local starts one on this machine"),
]
GpusOption = Annotated[
    float, typer.Option("--gpus-per-engine", min=0, help="GPUs that every worker of the cluster has to itself")
]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON to standard output")]


def names(text: str | None) -> tuple[str, ...]:
    """The names in `A,B`; none in None."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
