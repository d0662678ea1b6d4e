"""The file piece by piece: the page, then the clip of one case after the other, so that memory holds one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from harness.report.budget import most_bytes
from harness.report.clips import ClipMaker, clips, findings_of_page, omissions
from harness.report.data import Content
from harness.report.finding import Tables, WorstFrame
from harness.report.first_picture import first_picture
from harness.report.html import END, clip_element, render
from harness.report.recordings import NO_PICTURE, missing_pictures
from harness.run.facts import RunFacts
from harness.run.recordings import Recordings

__all__ = ["pieces"]


def pieces(
    run: Tables, facts: RunFacts, content: Content, recordings: Recordings, tell: Callable[[str], None] | None
) -> Iterator[str]:
    """The report as pieces of text, to be written one after another.

    Args:
        run: its tables.
        facts: of the run.
        content: what is said.
        recordings: its cases.
        tell: told how many pictures are missing and why.
    """
    maker = _maker(run, facts, content, recordings)
    findings_of_page(content.chosen, maker)
    picture = None
    if content.chosen:
        worst = content.chosen[0]
        picture = first_picture(worst, content.page["shown"][0], maker.lines(worst.case), facts, recordings)
    made = list(clips(maker, content.ordered, _left(content, picture)))
    missing = missing_pictures({m.case: m.note for m in made if m.note.startswith(NO_PICTURE)}, len(made))
    if missing and tell is not None:
        tell(missing)
    content.page["omissions"] = omissions(made)
    yield render(content.view | {"picture": picture, "missing_pictures": missing}, content.page)
    for clip in made:
        yield clip_element(clip.case, clip.clip)
    yield END


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
    return most_bytes(len(content.ordered)) - len(page.encode()) - 2000
