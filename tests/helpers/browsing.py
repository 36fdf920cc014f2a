"""Pages in one file, opened in Chromium without a network, and judged by axe."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]


@contextmanager
def opened(path: Path, schemes: tuple[str, ...] = ("light", "dark")) -> Iterator[Any]:
    """The page of a file in the last of some colour schemes, after axe has found nothing serious in each of them.

    Nothing may be asked of the network, nothing go wrong, and nothing scroll sideways on a telephone.
    """
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for scheme in schemes:
            context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme, offline=True)
            page, wrong = context.new_page(), list[str]()
            page.set_default_timeout(60_000)
            page.on("pageerror", lambda error, wrong=wrong: wrong.append(str(error)))
            page.on("console", lambda told, wrong=wrong: told.type == "error" and wrong.append(told.text))
            page.on("request", lambda asked, wrong=wrong: _asked(asked.url, wrong))
            page.goto(path.as_uri())
            page.wait_for_load_state("networkidle")
            page.set_viewport_size({"width": 360, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            page.set_viewport_size({"width": 1280, "height": 900})
            assert wrong == []
            found = axe.run(page).response["violations"]
            faults = [(each["id"], each["nodes"][0]["html"][:120]) for each in found if each["impact"] in SERIOUS]
            assert faults == []
            wrong.clear()  # axe puts styles into the page, which its policy refuses
        yield page
        assert wrong == []
        browser.close()


SERIOUS = ("serious", "critical")


def _asked(url: str, wrong: list[str]) -> None:
    if not url.startswith(("file:", "data:", "blob:")):
        wrong.append(f"asked for {url}")


def until(page: Any, expression: str) -> None:
    """Wait until a script's value is true; the page's policy refuses what `wait_for_function` does."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"still not {expression}")
