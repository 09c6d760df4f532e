"""The page in headless Chromium, on a desktop and a phone: scoring, recordings, errors, a batch, and no other requests."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.report.test_browser import CHROMEDRIVER, CHROMIUM, FLAGS
from tests.support import write_head, write_video
from utils.media.writer import write_clip

pytest.importorskip("gradio", reason="gradio is not installed (requirements-app.txt)")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
StaleElementReferenceException = pytest.importorskip("selenium.common").StaleElementReferenceException
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="Chromium with chromedriver is not installed"),
]

WAIT_S = 120
OVERFLOW = """
const wide = document.documentElement.clientWidth;
return [...document.querySelectorAll('.ffdv-result *, .ffdv-batch *, .ffdv-header *, button, #drop')].filter(
  e => !e.closest('.scroll, .sr') && e.getBoundingClientRect().width && e.getBoundingClientRect().right > wide + 1
).map(e => e.outerHTML.slice(0, 120));
"""

RESULT_TOP = "return document.getElementById('result').getBoundingClientRect().top"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Write a talking head, a clip without a face, and a broken file."""
    folder = tmp_path_factory.mktemp("clips")
    broken = folder / "broken.mp4"
    broken.write_bytes(b"not a clip")
    return [write_head(folder / "head.mp4"), write_video(folder / "no <b>face.mp4", 1), broken]


class Visitor:
    """A browser with one open page."""

    def __init__(self, driver: Any, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads

    def open(self, url: str, width_px: int) -> None:
        screen = {"width": width_px, "height": 900, "deviceScaleFactor": 1, "mobile": width_px < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(url)
        self.find("#score")

    def find(self, css: str) -> Any:
        """Return an element once it is displayed."""
        found: list[Any] = []

        def is_displayed() -> bool:
            elements = self.driver.find_elements("css selector", css)
            found[:] = [element for element in elements if element.is_displayed()]
            return bool(found)

        self.wait(is_displayed, f"{css} did not appear")
        return found[0]

    def choose(self, box: str, *clips: Path) -> None:
        """Choose files and wait until they are uploaded."""
        self.find(box)
        self.driver.find_element("css selector", f"{box} input[type=file]").send_keys("\n".join(map(str, clips)))
        self.find(f"{box} .file-preview")

    def press(self, name: str) -> None:
        """Press the button with a label by keyboard, once it is displayed."""
        self.wait(lambda: self._pressed(name), f"the button {name!r} did not appear")

    def _pressed(self, name: str) -> bool:
        buttons = self.driver.find_elements("css selector", "button")
        try:
            named = [button for button in buttons if button.text.strip() == name and button.is_displayed()]
            for button in named:
                button.send_keys("\n")
        except StaleElementReferenceException:  # the page has just replaced it
            return False
        assert len(named) < 2, f"{len(named)} buttons are called {name!r}"
        return bool(named)

    def wait(self, condition: Callable[[], Any], failure: str) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end, failure
            time.sleep(0.05)

    def requests(self) -> list[str]:
        """Return the addresses requested since the page was opened."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [message for message in messages if message["method"] == "Network.requestWillBeSent"]
        return [message["params"]["request"]["url"] for message in sent]


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    """Start a headless Chromium that records console messages and requests."""
    downloads = tmp_path_factory.mktemp("downloads")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or CHROMIUM
    # Chromium shows a moving figure in place of a camera and beeps in place of a microphone, without asking for permission.
    recording = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    for flag in (*FLAGS, *recording, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    yield Visitor(driver, downloads)
    driver.quit()


def check_page(visitor: Visitor, url: str, width_px: int) -> None:
    """Check that the page requests nothing from elsewhere, fits the screen, logs no error and shows no path."""
    elsewhere = [
        address for address in visitor.requests() if not address.startswith((url, "data:", "blob:", "chrome:"))
    ]
    assert elsewhere == []
    assert [entry for entry in visitor.driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert visitor.driver.execute_script("return document.documentElement.scrollWidth") <= width_px
    assert visitor.driver.execute_script(OVERFLOW) == []
    assert "multi-ffdv-" not in visitor.driver.page_source


@pytest.mark.parametrize("width_px", [1280, 390])
def test_visitor_scores_a_clip(visitor, web_page, clips, width_px):
    visitor.open(web_page.url, width_px)
    assert "Up to 1 MB and 6 s." in visitor.find(".ffdv-header").text
    visitor.choose("#drop", clips[0])
    assert visitor.find("#preview video").get_attribute("src").startswith("blob:")
    visitor.press("Score this clip")
    result = visitor.find(".ffdv-result")
    assert "Inconclusive" in result.text and "head.mp4" in result.text
    frame = visitor.find(".ffdv-page")
    assert "What the verdict does not mean" in frame.get_attribute("srcdoc") and frame.size["height"] > 1000
    assert visitor.find("#report").text == "Download the report"
    assert not web_page.stored_clips(), "the upload is deleted after scoring"
    assert visitor.find("#result").get_attribute("aria-live") == "polite"
    visitor.find("#drop button")  # the input is empty again
    if width_px < 600:
        visitor.wait(lambda: visitor.driver.execute_script(RESULT_TOP) <= 60, "the page did not scroll to the result")
    check_page(visitor, web_page.url, width_px)


def test_clips_over_the_limits_are_refused_before_they_are_uploaded(visitor, web_page, tmp_path):
    visitor.open(web_page.url, 390)
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(1_200_000))
    chooser = visitor.driver.find_element("css selector", "#drop input[type=file]")
    chooser.send_keys(str(large))
    assert "The file has 1.2 MB, and the limit is 1.0 MB." in visitor.find("#preview .notice").text
    assert not any("upload" in address for address in visitor.requests())
    write_clip(tmp_path / "long.mp4", np.zeros((16, 48, 64, 3), np.uint8), 2, None, 16_000)  # 8 s
    chooser.send_keys(str(tmp_path / "long.mp4"))
    visitor.find("#preview video")
    assert "The clip lasts 8 s, and the limit is 6 s." in visitor.find("#preview .notice").text


def test_visitor_scores_a_batch(visitor, web_page, clips):
    visitor.open(web_page.url, 390)
    visitor.press("Several clips")
    visitor.choose("#drop-batch", *clips)
    visitor.press("Score these clips")
    visitor.find("#csv")
    text = visitor.find(".ffdv-batch").text
    assert "3 of 3 clips done" in text and "no bface.mp4" in text and "cannot be read" in text
    visitor.find("#csv").click()
    visitor.wait(lambda: list(visitor.downloads.glob("*.csv")), "the table was not downloaded")
    with open(next(visitor.downloads.glob("*.csv")), encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["verdict"] for row in rows] == ["inconclusive", "inconclusive", "unscored"]
    check_page(visitor, web_page.url, 390)


@pytest.mark.parametrize(
    ("device", "uploaded", "fact"),
    [("Camera", "video[src^=http]", "sample.webm"), ("Microphone", "#waveform", "The clip has no video.")],
)
def test_visitor_scores_a_recording(visitor, web_page, device, uploaded, fact):
    visitor.open(web_page.url, 1280)
    abandoned = set(web_page.stored_clips())  # uploads of other tests that were not scored
    visitor.press(device)
    if device == "Camera":
        visitor.press("Click to Access Webcam")
    visitor.press("Record")
    time.sleep(2)  # of recording
    visitor.press("Stop")
    visitor.wait(lambda: set(web_page.stored_clips()) - abandoned, "the recording was not uploaded")
    visitor.find(uploaded)
    visitor.press("Score this recording")
    visitor.wait(lambda: fact in visitor.find("#result").text, "the recording was not scored")
    assert "Inconclusive" in visitor.find(".ffdv-result").text
    assert set(web_page.stored_clips()) == abandoned, "the recording is deleted after scoring"
    check_page(visitor, web_page.url, 1280)


def test_missing_clip_and_example(visitor, web_page):
    visitor.open(web_page.url, 1280)
    visitor.press("Score this clip")
    visitor.wait(lambda: "Choose or record a clip first." in visitor.find("#result").text, "no request for a clip")
    visitor.press("Spliced words")
    assert "example_splice.mp4" in visitor.find(".ffdv-result").text
    check_page(visitor, web_page.url, 1280)
