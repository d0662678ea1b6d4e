"""Content to one HTML file: template, styles, scripts, plotly.js and data, all inside it.

Data stands in a `<script type="application/json">` in which `<`, `>` and `&` are written as \\u escapes, so that no
case id or message can end the element; markup goes through Jinja's autoescaping. A content security policy in the
page forbids every request, so the file shows the same without a network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

from markupsafe import Markup

from harness.report.first_picture import first_picture
from harness.report.frames import packed
from harness.report.judgement import GLYPHS
from harness.report.recordings import missing_pictures
from harness.run.json import plain
from trueline._text import shown

__all__ = ["SCRIPTS", "STYLES", "json_for_script", "render"]

STYLES = ("base.css", "report.css", "print.css")
SCRIPTS = ("core.js", "frame.js", "plots.js", "page.js")
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def render(view: dict[str, Any], page: dict[str, Any]) -> Iterator[str]:
    """The report as pieces of text, to be written one after another.

    Args:
        view: for the template (see harness.report.data).
        page: for the scripts; lines of its frames are still arrays.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("harness.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_finalized,
    )  # fmt: skip
    frames = [frame | {"lines": [packed(line) for line in frame["lines"]]} for frame in page["frames"]]
    template = environment.get_template("report.html.j2")
    return template.generate(
        **view,
        glyphs=GLYPHS,
        missing_pictures=missing_pictures(page["frames"]),
        picture=first_picture(page["frames"], page["reference"]),
        styles=Markup("\n".join(_text(name) for name in STYLES)),
        scripts=Markup("\n".join(_text(name) for name in SCRIPTS)),
        plotly=Markup(get_plotlyjs()),
        page=Markup(json_for_script(page | {"frames": frames})),
    )


def json_for_script(value: Any) -> str:
    """JSON that may stand inside a script element; texts as they are shown, and null for what is not finite."""
    text = json.dumps(plain(value, told=shown), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def _finalized(value: Any) -> Any:
    """What is shown of a value: texts of others as they read, whatever characters are in them."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _text(name: str) -> str:
    return (resources.files("harness.report") / "templates" / name).read_text(encoding="utf-8")
