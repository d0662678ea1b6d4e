"""`trueline case ...`: import, check, show and synthesise cases."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.progress import Update, progress_bar
from harness.errors import UsageError
from harness.terminal import listing, print_json, say, show
from trueline._text import counted

__all__ = ["app"]

app = typer.Typer(help="Import, check, show and synthesise cases.", no_args_is_help=True, rich_markup_mode=None)


@app.command("import")
def import_(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="video files or folders of images")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="folder that gets the case folder ID")],
    id: Annotated[str, typer.Option("--id", help="id of the new case; default: the source's name")] = "",
    camera: Annotated[str, typer.Option("--camera", help="name of the camera")] = "front",
    fps: Annotated[float | None, typer.Option("--fps", help="frames per second of an image folder")] = None,
    licence: Annotated[str, typer.Option("--licence", help="licence of the recording")] = "",
    tag: Annotated[list[str] | None, typer.Option("--tag", help="tag; may be repeated")] = None,
    drive: Annotated[str, typer.Option("--drive", help="drive that it was cut from")] = "",
    from_s: Annotated[float, typer.Option("--from", metavar="S", help="begin, seconds since the first picture")] = 0.0,
    to_s: Annotated[float | None, typer.Option("--to", metavar="S", help="end, left out")] = None,
    ego: Annotated[Path | None, typer.Option("--ego", metavar="CSV", help="the vehicle's motion")] = None,
    ego_offset: Annotated[float, typer.Option("--ego-offset", metavar="S", help="added to its times")] = 0.0,
) -> None:
    """Make a case from a video file or a folder of images; of several, a case each."""
    from cases.importing import import_case, name_of

    if len(sources) > 1 and (id or ego):
        raise UsageError(
            "--id and --ego are about one recording",
            where="trueline case import",
            remedy="import the recordings one by one, or leave --id and --ego out",
        )
    for source in sources:
        name = id or name_of(source)
        with progress_bar("importing") as progress:
            folder = import_case(
                source,
                id=name,
                out=out,
                camera=camera,
                fps=fps,
                licence=licence,
                tags=tuple(tag or ()),
                drive=drive,
                from_s=from_s,
                to_s=to_s,
                ego=ego,
                ego_offset_s=ego_offset,
                progress=_named(progress, name),
            )
        say(f"case {name}: {folder}")


def _named(progress: Update, name: str) -> Callable[[int, int | None], None]:
    return lambda done, total: progress(name, done, total or done)


@app.command()
def check(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="case folders, or folders of them")],
    json: Annotated[bool, typer.Option("--json", help="print JSON to standard output")] = False,
) -> None:
    """Check schema, hashes, timestamps, frame counts and decodability; every problem in one pass."""
    from cases.case import find_cases
    from cases.check import check_case

    found = {folder: check_case(folder) for folder in find_cases(folders)}
    if json:
        print_json(
            [
                {"case": str(f), "problems": [{"what": p.what, "where": p.where, "remedy": p.remedy} for p in problems]}
                for f, problems in found.items()
            ]
        )
    else:
        rows = [(f.name, p.what, p.where, p.remedy) for f, problems in found.items() for p in problems]
        if rows:
            show(*listing(("case", "problem", "where", "remedy"), rows, head=2))
        else:
            show(f"{counted(len(found), 'case')} without problems")
    if any(found.values()):
        raise typer.Exit(2)


@app.command("show")
def show_(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="case folder")],
    out: Annotated[Path, typer.Option("--out", metavar="PNG", help="picture to write")],
    run: Annotated[Path | None, typer.Option("--run", metavar="RUN", help="draw the lines of this run")] = None,
    rung: Annotated[list[str] | None, typer.Option("--rung", help="rungs to draw; default all but probes")] = None,
    count: Annotated[int, typer.Option("--count", help="how many frames", min=1)] = 12,
) -> None:
    """Draw a contact sheet: frames spread over the case, with ground truth and the lines of a run."""
    from cases.case import open_case
    from harness.report.contact_sheet import contact_sheet
    from harness.run.folder import Run

    contact_sheet(open_case(folder), out, run=Run.open(run) if run else None, rungs=rung, count=count)
    say(f"contact sheet: {out}")


@app.command()
def synth(
    seed: Annotated[int, typer.Option("--seed", help="first seed; case k uses seed + k")],
    count: Annotated[int, typer.Option("--count", help="how many cases", min=1)],
    seconds: Annotated[float, typer.Option("--seconds", help="length of each case", min=0.1)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="folder that gets the case folders")],
    condition: Annotated[
        str | None, typer.Option("--condition", metavar="NAME", help="night, rain, worn-paint or merge")
    ] = None,
) -> None:
    """Render cases of a synthetic road with exact ground truth, deterministic from the seed."""
    from cases.synth import synth_cases

    with progress_bar("rendering") as progress:
        jobs = os.cpu_count() or 1
        folders = synth_cases(seed, count, seconds, out, progress=progress, jobs=jobs, condition=condition)
    say(f"{counted(len(folders), 'case')} in {out}")
