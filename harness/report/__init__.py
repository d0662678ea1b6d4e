"""The report of a run: one HTML file that needs no network (docs/report.md).

    write_report(Run.open(path), verdict=..., explanation=...)

select (which frames) -> summary, tree, judgement, blame, mismatch, network, headline -> data (all that is said) ->
clips (lines, series, pictures, tensors of the cases, within a budget of bytes) -> html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ReportError
from trueline._drafts import replacing

if TYPE_CHECKING:
    from harness.gate.verdict import Verdict
    from harness.ladder import Explanation
    from harness.run.folder import Run

__all__ = ["write_report"]


def write_report(
    run: Run,
    out: Path | None = None,
    verdict: Verdict | Mapping[str, Any] | None = None,
    explanation: Explanation | None = None,
    cases: Sequence[Path] = (),
    tell: Callable[[str], None] | None = None,
    layers: Path | None = None,
    plan: Path | None = None,
) -> Path:
    """Write the report and return its path.

    Args:
        run: a finished run.
        out: the file; None for report.html in the run folder.
        verdict: what the gate said (a Verdict, or the object of verdict.json); None leaves the verdict out.
        explanation: what the ladder said; None asks it.
        cases: where the cases lie now, if they are not where they were: case folders, or folders of them.
        tell: told in a sentence how many pictures are missing and why, where some are; the report says it too.
        layers: what `trueline model layers` wrote; None for layers.json of the run folder, where there is one.
        plan: what `trueline model plan --json` wrote; None for plan.json of the run folder, where there is one.

    Raises:
        CaseError: a folder of `cases` holds no case.
        RunError: run.json lacks what every run has.
        ReportError: the verdict is something else, or the file cannot be written.
        TruelineError: `layers` or `plan` is something else, or of another model or run.
    """
    from harness.ladder import explain
    from harness.report.data import build_content
    from harness.report.mismatch import mismatch_view
    from harness.report.network import network_view
    from harness.report.writing import pieces
    from harness.run.facts import read_facts
    from harness.run.recordings import Recordings

    recordings = Recordings(run.meta, run.path, cases)
    facts = read_facts(run.meta)
    told = explanation if explanation is not None else explain(run, verdict)
    network = network_view(Path(run.path), facts, layers, plan)
    content = build_content(run, facts, verdict, told, mismatch_view(run, told.findings, cases), network)
    path = Path(out) if out is not None else Path(run.path) / "report.html"
    try:
        with replacing(path) as draft, draft.open("w", encoding="utf-8") as file:
            file.writelines(pieces(run, facts, content, recordings, tell, path))
    except OSError as error:
        raise ReportError(
            f"cannot write the report: {error.strerror}",
            where=str(path),
            remedy="choose a file in a folder that exists",
        ) from error
    return path
