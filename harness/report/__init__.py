"""The report of a run: one HTML file that needs no network (docs/report.md).

    write_report(Run.open(path), verdict=..., explanation=...)

select (which frames) -> frames, summary, series, tree, judgement, blame -> data (all that is shown) -> pictures -> html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from harness.errors import ReportError

__all__ = ["RunLike", "write_report"]


class RunLike(Protocol):
    """What a report needs of a run; `harness.run.folder.Run` is one."""

    @property
    def path(self) -> Path:
        """The run folder."""
        ...

    @property
    def meta(self) -> dict[str, Any]:
        """What run.json says."""
        ...

    def table(self, name: str) -> pl.LazyFrame:
        """One table, lazily."""
        ...


def write_report(
    run: RunLike,
    out: Path | None = None,
    verdict: Any = None,
    explanation: Any = None,
    max_frames: int = 12,
    cases: Sequence[Path] = (),
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Write the report and return its path.

    Args:
        run: a finished run.
        out: the file; None for report.html in the run folder.
        verdict: what the gate said (a Verdict, or the object of verdict.json); None leaves the verdict out.
        explanation: what the ladder said (an Explanation, or its JSON object); None leaves the shares out.
        max_frames: how many of the worst frames get a picture.
        cases: where the cases lie now, if they are not where they were: case folders, or folders of them.
        tell: told in a sentence how many pictures are missing and why, where some are; the report says it too.

    Raises:
        CaseError: a folder of `cases` holds no case.
        ReportError: run.json lacks what a report needs, verdict or explanation are something else, or the file cannot
            be written.
    """
    from harness.report.data import build_content
    from harness.report.facts import read_facts
    from harness.report.html import render
    from harness.report.pictures import add_pictures
    from harness.report.recordings import Recordings, missing_pictures

    recordings = Recordings(run.meta, run.path, cases)
    facts = read_facts(run.meta)
    content = build_content(run, facts, verdict, explanation, max_frames)
    add_pictures(content.page["frames"], content.chosen, facts, recordings)
    missing = missing_pictures(content.page["frames"])
    if missing and tell is not None:
        tell(missing)
    path = Path(out) if out is not None else Path(run.path) / "report.html"
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(render(content.view, content.page))
        temporary.replace(path)
    except OSError as error:
        raise ReportError(
            f"cannot write the report: {error.strerror}",
            where=str(path),
            remedy="choose a file in a folder that exists",
        ) from error
    return path
