"""Takes the screenshots of the demo page: `python -m docs.screenshots`.

It needs the extra `demo`, playwright (`pip install playwright`) and Chromium.
"""

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).parent
_PATIENCE = 120_000  # milliseconds


def main() -> None:
    """Writes docs/demo_light.png, docs/demo_dark.png and docs/demo_narrow.png."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    server = subprocess.Popen(
        [sys.executable, "-m", "pdanet_tf.cli", "demo", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = server.stdout.readline() if server.stdout else ""
        url = re.findall(r"http://\S+", line)[0]
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
            _take(browser, url, "light", 1200, 800, "classes")
            _take(browser, url, "dark", 1200, 740, "explain")
            _take(browser, url, "narrow", 390, 844, "classes")
            browser.close()
    finally:
        server.terminate()


def _take(browser: Browser, url: str, name: str, width: int, height: int, what: str) -> None:
    scheme = "dark" if name == "dark" else "light"
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": height})
    page.set_default_timeout(_PATIENCE)
    page.goto(url)
    for sample in (2, 1):  # the first answer would show how long the graphs took
        page.click(f"#samples li:nth-child({sample}) button")
        page.locator("#status", has_text=f"street_{sample}.jpg: ").wait_for(state="attached")
    if what == "explain":
        page.click("#tab-explain")
        page.wait_for_selector("#panel-explain .maps figcaption strong")
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    shot = Image.open(io.BytesIO(page.screenshot()))
    # The two lowest bits hold little but the grain of the drawn photo, and a third of the bytes.
    image = shot.convert("RGB").point(lambda value: (value & 0xFC) | (value >> 6))
    image.save(FOLDER / f"demo_{name}.png", optimize=True)
    page.close()


if __name__ == "__main__":
    main()
