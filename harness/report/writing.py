"""The file piece by piece: the page, then the clip of one case after the other, so that memory holds one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.report.budget import FEW, MANY, most_bytes
from harness.report.clips import ClipMaker, Made, clips, findings_of_page, omissions
from harness.report.data import Content
from harness.report.finding import Tables, WorstFrame
from harness.report.first_picture import first_picture
from harness.report.html import END, clip_element, render
from harness.report.recordings import NO_PICTURE, missing_pictures
from harness.run.facts import RunFacts
from harness.run.recordings import Recordings
from trueline._drafts import replacing

__all__ = ["pieces"]


def pieces(
    run: Tables,
    facts: RunFacts,
    content: Content,
    recordings: Recordings,
    tell: Callable[[str], None] | None,
    path: Path,
) -> Iterator[str]:
    """The report as pieces of text, to be written one after another; pages of cases are written on the way.

    Args:
        run: its tables.
        facts: of the run.
        content: what is said.
        recordings: its cases.
        tell: told how many pictures are missing and why.
        path: of the report; with more than MANY cases the page of each lies in a folder beside it.
    """
    maker = _maker(run, facts, content, recordings)
    findings_of_page(content.chosen, maker)
    picture = None
    if content.chosen:
        worst = content.chosen[0]
        picture = first_picture(worst, content.page["shown"][0], maker.lines(worst.case), facts, recordings)
    if len(content.ordered) > MANY:
        made = list(_paged(maker, content, path))
    else:
        made = list(clips(maker, content.ordered, _left(content, picture)))
    missing = missing_pictures({m.case: m.note for m in made if m.note.startswith(NO_PICTURE)}, len(made))
    if missing and tell is not None:
        tell(missing)
    content.page["omissions"] = omissions(made)
    yield render(content.view | {"picture": picture, "missing_pictures": missing}, content.page)
    for clip in made:
        if clip.clip:
            yield clip_element(clip.case, clip.clip)
    yield END


def _paged(maker: ClipMaker, content: Content, path: Path) -> Iterator[Made]:
    """Write a page for each case; the clip of the first stays in the report too, the others are handed on without."""
    folder = path.parent / f"{path.stem}_cases"
    folder.mkdir(exist_ok=True)
    names = {case.id: f"{folder.name}/{i:04d}.html" for i, case in enumerate(content.ordered)}
    opened = content.page["opens"]["case"] if content.page["opens"] else None
    for case in content.ordered:
        made = maker.make(case, most_bytes(1) // FEW)
        page = _page_of(content, case.id)
        view = content.view | page.pop("view") | {"back": f"../{quote(path.name)}", "missing_pictures": ""}
        with replacing(path.parent / names[case.id]) as draft, draft.open("w", encoding="utf-8") as file:
            file.writelines([render(view, page, "case.html.j2"), clip_element(case.id, made.clip), END])
        if case.id == opened:
            yield made
        else:
            yield replace(made, clip={})
    content.page["pages"] = names


def _page_of(content: Content, case: str) -> dict[str, Any]:
    """What the page of one case shows: its findings, numbered as in the report."""
    shown = [v for v in content.page["shown"] if v["case"] == case]
    own = [v for v in shown if v["finding"]]
    findings = [v | {"index": i} for i, v in enumerate(own)]
    opens = (
        {"case": case, "finding": 0 if findings else None}
        | {k: shown[0][k] for k in ("frame", "rung", "track", "band")}
        if shown
        else None
    )
    told = {
        "findings": findings,
        "firsts": {},
        "heat": {},
        "layers": None,
        "pages": {},
        "opens": opens,
        "omissions": "",
    }
    cases = [c for c in content.view["cases"] if c["id"] == case]
    return {**content.page, **told, "view": {"findings": findings, "cases": cases}}


def _maker(run: Tables, facts: RunFacts, content: Content, recordings: Recordings) -> ClipMaker:
    shown: dict[str, list[WorstFrame]] = {}
    views: dict[str, list[dict[str, Any]]] = {}
    for found, view in zip(content.chosen, content.page["shown"], strict=True):
        shown.setdefault(found.case, []).append(found)
        views.setdefault(found.case, []).append(view)
    return ClipMaker(run, facts, recordings, shown, views)


def _left(content: Content, picture: dict[str, Any] | None) -> int:
    """Bytes for the clips: what the page itself leaves."""
    page = render(content.view | {"picture": picture, "missing_pictures": ""}, content.page | {"omissions": ""})
    return round(0.98 * (most_bytes(len(content.ordered)) - len(page.encode())))
