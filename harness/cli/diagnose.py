"""`trueline diagnose`: what exactly differs between the input tensors of lab and car."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import JsonOption
from harness.terminal import print_json, say, show

if TYPE_CHECKING:
    from harness.diagnosis.model import Diagnosis

__all__ = ["register", "say_diagnosis"]


def diagnose(
    places: Annotated[
        list[Path], typer.Argument(metavar="RUN | A.npz B.npz", help="a run, or tensors of the lab and of the car")
    ],
    dump: Annotated[
        str | None,
        typer.Option("--dump", metavar="NAME|PATH", help="the car's tensors: a dump of the case, or a file or folder"),
    ] = None,
    case: Annotated[str | None, typer.Option("--case", metavar="ID", help="which case of the run")] = None,
    cases: Annotated[
        list[Path] | None,
        typer.Option("--cases", metavar="DIR", help="where the cases lie now, if not where they were; may be repeated"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="for JSON and picture; default diagnosis/ in RUN or beside B"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Name what differs between the input tensors of lab and car."""
    from harness.diagnosis.alone import diagnose_files
    from harness.diagnosis.run import FOLDER, diagnose_run, write_diagnosis
    from harness.errors import UsageError
    from harness.run.folder import Run

    if len(places) == 2:
        solved, folder = diagnose_files(*places), out or places[1].parent / FOLDER
    elif len(places) == 1:
        run = Run.open(places[0])
        solved, folder = diagnose_run(run, case=case, dump=dump, cases=cases or ()), out or run.path / FOLDER
    else:
        raise UsageError(
            f"{len(places)} arguments", where="trueline diagnose", remedy="give a run, or two files of tensors"
        )
    files = [write_diagnosis(s, folder) for s in solved]
    if json:
        print_json([s.diagnosis.to_json() for s in solved])
        return
    if not solved:
        say("nothing to diagnose: the deploy pipeline is the train pipeline, and no dump holds input tensors")
    for one, file in zip(solved, files, strict=True):
        say_diagnosis(one.diagnosis)
        say(f"{file}   picture: {file.with_suffix('.png')}")


def say_diagnosis(found: Diagnosis) -> None:
    """Print a diagnosis: the sentence, other explanations, and what to do."""
    show(f"{found.input}: {found.sentence}")
    show(*(f"  as good: {other}" for other in found.others))
    show(*(f"  the card's deploy pipeline would say it so: {line}" for line in found.lines))
    show(*(f"  on the car: {edit.remedy}" for edit in found.edits))
    show(*(f"  note: {note}" for note in found.notes))


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(diagnose)
