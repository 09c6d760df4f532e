"""The page in headless Chromium: no console messages, no requests, no horizontal overflow."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.report import ReportInputs, write_report
from tests.engine.report.samples import full_inputs
from tests.engine.report.test_build import hostile_inputs

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="Chromium with chromedriver is not installed"),
]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PAGES = {"full": full_inputs, "hostile": hostile_inputs, "minimal": lambda: ReportInputs("run", {})}
OVERFLOW = """
const wide = document.documentElement.clientWidth;
return [...document.querySelectorAll('main *, header *')].filter(
  e => !e.closest('.scroll, pre, .sr') && e.getBoundingClientRect().right > wide + 1
).map(e => e.outerHTML.slice(0, 120));
"""
CONTRAST = """
const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = c => {
  const [r, g, b] = c.match(/[0-9.]+/g).map(Number);
  return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
};
const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
  if (c.startsWith('rgb(')) return c; } return 'rgb(255, 255, 255)'; };
const poor = [];
const words = 'p, li, dt, dd, dd b, small, a, h1, h2, h3, summary, figcaption, th, td, svg text';
for (const e of document.querySelectorAll(words)) {
  const style = getComputedStyle(e), ink = e.matches('svg text') ? style.fill : style.color;
  const [a, b] = [light(ink), light(ground(e))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (!e.closest('.cell') && ratio < 4.5) poor.push(`${e.outerHTML.slice(0, 80)} ${ratio.toFixed(2)}`);
}
return poor;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start a headless Chromium with a temporary profile that records console messages and requests."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    yield driver
    driver.quit()


def show(browser: Any, page: Path, width_px: int, scheme: str) -> None:
    """Load the page with the given screen width and colour scheme."""
    screen = {"width": width_px, "height": 800, "deviceScaleFactor": 1, "mobile": width_px < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    scheme_feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme_feature]})
    browser.get(page.as_uri())


@pytest.mark.parametrize("width_px", [390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_page_loads_without_requests_or_overflow(browser: Any, tmp_path: Path, name: str, width_px: int) -> None:
    page = write_report(tmp_path / "report.html", PAGES[name]())
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    show(browser, page, width_px, "light")
    assert browser.get_log("browser") == []
    events = [entry["message"] for entry in browser.get_log("performance")]
    assert any("Network.requestWillBeSent" in event for event in events)
    assert [event for event in events if "Network.requestWillBeSent" in event and '"url":"http' in event] == []
    assert browser.execute_script("return document.querySelector('h1').getBoundingClientRect().height") > 0
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width_px
    assert browser.execute_script(OVERFLOW) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_sufficient_contrast(browser: Any, tmp_path: Path, scheme: str) -> None:
    show(browser, write_report(tmp_path / "report.html", full_inputs()), 1280, scheme)
    assert browser.execute_script(CONTRAST) == []
