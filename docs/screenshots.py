"""Pictures of report, player, comparison and terminal for the guide: `python -m docs.screenshots DIR [SUBJECT...]`.

DIR is what `trueline demo --out DIR` left, with `trueline model layers DIR/cubic` after it. Every subject is taken at
three widths, light and dark, by a headless Chromium that asks for nothing from any network. Run it after a change of
what people look at, and look at every picture.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests.harness.report.browser import Page, chromium

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "images" / "screens"
SIZES = {800: 1000, 1280: 900, 1920: 1080}  # width: height, pixels
SCHEMES = ("light", "dark")
TERMINAL_HEIGHT = 520
QUALITY = 45
LOSSLESS = 101  # of OpenCV: smaller than lossy where there is little but text
PIXELS_PER_COLUMN = 10  # of a terminal as wide as the page
EXTRA = 1280  # width of pictures of single sections
SHOWN, OTHER = "cubic", "robust"


def main(demo: Path, subjects: Sequence[str] = ()) -> None:
    """Take the pictures of some subjects, or of all."""
    OUT.mkdir(parents=True, exist_ok=True)
    demo = demo.resolve()
    with tempfile.TemporaryDirectory() as name, _browser(Path(name)) as browser:
        folder = Path(name)
        report = _as_in_a_clone(demo / SHOWN / "report.html", demo, folder / "report.html")
        compared = _as_in_a_clone(_compared(demo, folder), demo, folder / "compare.html")
        pages = {"report": (report, ""), "player": (report, "#frames"), "compare": (compared, "")}
        for width, height in SIZES.items():
            told = _terminal(demo, width, folder)
            extra = {"layers": (report, "#layers"), "inputs": (report, "#mismatch")} if width == EXTRA else {}
            for scheme in SCHEMES:
                for subject, (file, section) in (pages | extra | {"terminal": (told[scheme], "")}).items():
                    if subjects and subject not in subjects:
                        continue
                    size = (width, TERMINAL_HEIGHT if subject == "terminal" else height)
                    _write(f"{subject}_{width}_{scheme}", _shot(browser, file, section, size, scheme))


def _as_in_a_clone(file: Path, demo: Path, copy: Path) -> Path:
    """A page with the paths that it has where the demo ran in a fresh clone."""
    copy.write_text(_relative(file.read_text(encoding="utf-8"), demo), encoding="utf-8")
    return copy


def _relative(text: str, demo: Path) -> str:
    told = text.replace(str(demo), "runs/demo").replace(f"{ROOT}/", "")
    if any(str(place) in told.replace("\n", "") for place in (demo, ROOT)):
        raise SystemExit(f"{demo} is broken over lines: give a shorter folder")
    return told


@contextmanager
def _browser(folder: Path) -> Iterator[Any]:
    opened = chromium(folder / "profile")
    yield next(opened)
    next(opened, None)


def _shot(browser: Any, file: Path, section: str, size: tuple[int, int], scheme: str) -> bytes:
    """A PNG of the first screen of a page, or of a section of it."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get("about:blank")
    browser.get(file.as_uri())
    if browser.execute_script("return typeof Player !== 'undefined'"):
        Page(browser).settled()
    if section:
        browser.execute_script("document.querySelector(arguments[0]).scrollIntoView()", section)
        Page(browser).settled()
    return base64.b64decode(browser.get_screenshot_as_base64())


def _compared(demo: Path, folder: Path) -> Path:
    """The page of a comparison of two candidates."""
    out = folder / "compared.html"
    _trueline("compare", str(demo / SHOWN), str(demo / OTHER), "--out", str(out))
    return out


def _terminal(demo: Path, width: int, folder: Path) -> dict[str, Path]:
    """What the gate prints in a terminal of so many pixels, as a page for each scheme."""
    from rich.console import Console
    from rich.terminal_theme import DEFAULT_TERMINAL_THEME, MONOKAI
    from rich.text import Text

    columns = width // PIXELS_PER_COLUMN
    policy = ROOT / "examples" / "roadlines" / "fp16.trueline.toml"
    run = folder / "gated"
    shutil.copytree(demo / SHOWN, run, dirs_exist_ok=True)  # the gate writes its verdict into it
    told = _trueline("gate", str(run), "--policy", str(policy), columns=columns).replace(str(run), "runs/demo/cubic")
    told = f"$ trueline gate runs/demo/cubic --policy examples/roadlines/fp16.trueline.toml\n{_relative(told, demo)}"
    found = {}
    for scheme, theme in (("light", DEFAULT_TERMINAL_THEME), ("dark", MONOKAI)):
        with Path(os.devnull).open("w") as nowhere:
            console = Console(record=True, width=columns, file=nowhere)
            console.print(Text.from_ansi(told))
        found[scheme] = folder / f"terminal_{columns}_{scheme}.html"
        found[scheme].write_text(console.export_html(theme=theme, code_format=_PAGE), encoding="utf-8")
    return found


_PAGE = """<!doctype html><meta charset="utf-8"><style>{stylesheet}
body {{ background: {background}; color: {foreground}; margin: 0; padding: 10px 0 0 6px; overflow: hidden; }}
pre {{ font: 16px/1.35 "DejaVu Sans Mono", monospace; margin: 0; }}</style><pre>{code}</pre>"""


def _trueline(*arguments: str, columns: int = 120) -> str:
    """What a command prints; its exit code says what the gate found and is no failure here."""
    environment = {**os.environ, "COLUMNS": str(columns), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1, 3):
        raise SystemExit(done.stderr)
    return done.stdout


def _write(name: str, png: bytes) -> None:
    import cv2

    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    codes = (cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, q])[1] for q in (QUALITY, LOSSLESS))
    code = min(codes, key=len)
    (OUT / f"{name}.webp").write_bytes(code.tobytes())
    print(f"{name}: {len(code) / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
