"""A headless Chromium for the pages, and what a reader sees and does in it."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,1000",
    "--force-prefers-reduced-motion",  # a page that is scrolled is there at once
)  # fmt: skip
RIGHT, LEFT = "\ue014", "\ue012"


def chromium(profile: Path) -> Iterator[Any]:
    """Headless Chromium with an empty profile; skips where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no chromium and chromedriver on PATH (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    opened.set_script_timeout(180)  # a busy machine draws slowly
    yield opened
    opened.quit()


class Page:
    """What a reader sees and does; what the player does is waited for."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def open(self, file: Path, link: str = "") -> Page:
        """Load a file, and wait until the player has drawn."""
        self.browser.get("about:blank")
        self.browser.get(file.as_uri() + link)
        return self.settled()

    def settled(self) -> Page:
        """Wait for what is being drawn."""
        self.browser.execute_async_script(
            "const done = arguments[0]; const look = (left) => {"
            " if (!DATA.opens || Player.state?.clip || !document.getElementById('no-clip')?.hidden || !left) {"
            "  Promise.resolve(Player.settled?.()).then(() => requestAnimationFrame(() => done()));"
            " } else setTimeout(() => look(left - 1), 20); }; look(250);"
        )
        return self

    def run(self, script: str, *values: Any) -> Any:
        """What a script returns."""
        return self.browser.execute_script(script, *values)

    def click(self, selector: str) -> Page:
        """Click the first element that fits, as a reader would."""
        from selenium.webdriver.common.by import By

        element = self.browser.find_element(By.CSS_SELECTOR, selector)
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        element.click()
        return self.settled()

    def press(self, key: str) -> Page:
        """Press a key."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(key).perform()
        return self.settled()

    def text(self, id: str) -> str:
        """Visible text of an element; empty where it cannot be seen."""
        return str(self.run("const e = document.getElementById(arguments[0]); return e ? e.innerText : ''", id))

    def canvas(self, id: str = "picture") -> np.ndarray:
        """What a canvas shows, RGB."""
        import cv2

        data = self.run("return document.getElementById(arguments[0]).toDataURL('image/png').split(',')[1]", id)
        return np.asarray(cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR))[..., ::-1]

    def width(self, pixels: int) -> None:
        """Set the width of the window."""
        size = {"width": pixels, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    @property
    def console(self) -> list[Any]:
        """What the page complained about."""
        return list(self.browser.get_log("browser"))
