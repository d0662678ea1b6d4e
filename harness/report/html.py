"""Content to one HTML file: template, styles, scripts and data, all inside it.

Data stands in a `<script type="application/json">` in which `<`, `>` and `&` are written as \\u escapes, so that no
case id or message can end the element; markup goes through Jinja's autoescaping. A content security policy in the
page forbids every request, so the file shows the same without a network.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from harness.report.judgement import GLYPHS
from harness.run.json import plain
from trueline._text import shown

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["END", "SCRIPTS", "STYLES", "clip_element", "environment_of", "json_for_script", "render", "style_text"]

END = "</body>\n</html>\n"

STYLES = ("base.css", "report.css", "network.css", "print.css")
SCRIPTS = (
    "core.js",
    "clip.js",
    "project.js",
    "plot.js",
    "stage.js",
    "charts.js",
    "strip.js",
    "tensors.js",
    "player.js",
    "page.js",
)
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def render(view: dict[str, Any], page: dict[str, Any], template: str = "report.html.j2") -> str:
    """The report but for its clips, which follow it; `END` ends it.

    Args:
        view: for the template (see harness.report.data).
        page: for the scripts.
        template: of the whole report, or of one case (`case.html.j2`).
    """
    environment = environment_of("harness.report")
    told = {name: value for name, value in page.items() if name != "shown"}
    return environment.get_template(template).render(
        **view,
        glyphs=GLYPHS,
        pages=page["pages"],
        styles=Markup(style_text()),
        scripts=Markup("\n".join(_text(name) for name in SCRIPTS)),
        page=Markup(json_for_script(told)),
    )


@cache
def environment_of(package: str) -> Environment:
    """Where a package's templates are rendered, the report's beside them; every text is escaped.

    Made once: to compile templates takes longer than to render a hundred pages.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("harness.report")]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalized,
    )  # fmt: skip


def style_text(names: Sequence[str] = STYLES) -> str:
    """The report's style sheets, one after another."""
    return "\n".join(_text(name) for name in names)


def clip_element(case: str, clip: dict[str, Any]) -> str:
    """The element that holds the clip of a case; the page reads it when the case is opened."""
    return f'<script type="application/json" data-clip="{escape(shown(case))}">{json_for_script(clip)}</script>\n'


def json_for_script(value: Any) -> str:
    """JSON that may stand inside a script element; texts as they are shown, and null for what is not finite."""
    text = json.dumps(plain(value, told=shown), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def _finalized(value: Any) -> Any:
    """What is shown of a value: texts of others as they read, whatever characters are in them."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _text(name: str) -> str:
    return (resources.files("harness.report") / "templates" / name).read_text(encoding="utf-8")
