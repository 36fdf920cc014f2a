"""Pictures of the explorer's views for the documentation, from the embedded default.

    python benchmarks/explorer_pictures.py --out docs/_static/explorer

Takes Playwright (`pip install playwright`) and a Chromium of the system (`apt-get install chromium`).
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

COLOURS = 160
VIEWS = {
    "features": ("?layer=4&words=keyboard&sort=best", "light", 1240, 760),
    "feature": ("feature/4/1423.html", "light", 1240, 980),
    "feature-dark": ("feature/4/1423.html", "dark", 1240, 760),
    "map": ("map/4.html?feature=1423&mark=speech", "light", 1240, 860),
    "clip": ("clip/4/24.html?at=0.9", "dark", 1240, 900),
    "quiz": ("quiz.html?layer=4&seed=18&picked=2&picked=3&picked=5&shown=1", "light", 1240, 900),
    "own": ("own.html?layer=4&clip=5&at=2.2", "light", 1240, 1000),
    "steer": ("steer.html?layer=4&clip=7&edit=4:2170:add:-6", "light", 1240, 900),
    "narrow": ("feature/4/1423.html", "light", 390, 760),
}

LIVE = {"own": "#found:not([hidden])", "steer": "#text-after"}
"""Views that wait for the model, and what tells that it has answered."""


def written(page: Any, path: Path) -> None:
    """Write what a page shows as a PNG of few colours."""
    from PIL import Image

    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Serve, look, write."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--index", nargs="*", default=[], help="another index than the embedded default")
    parser.add_argument("--only", nargs="*", default=list(VIEWS))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-u", "-m", "audiosae_steer", "explore", *asked.index, "--no-open", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, sync_playwright() as playwright:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        if address is None:
            raise SystemExit("the server did not start")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in asked.only:
            where, scheme, width, height = VIEWS[name]
            context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
            page = context.new_page()
            page.goto(address.group() + where)
            page.wait_for_load_state("networkidle")
            if name in LIVE:
                page.wait_for_selector(LIVE[name], timeout=120_000)
                page.wait_for_load_state("networkidle")
            page.wait_for_timeout(300)  # the waveform is drawn
            written(page, asked.out / f"{name}.png")
            context.close()
        browser.close()
        process.terminate()


if __name__ == "__main__":
    main()
