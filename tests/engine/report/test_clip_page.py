import re
from dataclasses import replace

import numpy as np

from engine.evidence.types import Evidence
from engine.report import clip_page
from engine.report.clip_page import parts_note
from engine.timeline.types import FaceTrack, Span
from tests.engine.evidence.samples import CALIBRATION, score, whole_evidence
from utils.features.clip import ClipFacts


def bare_evidence(**changes) -> Evidence:
    return Evidence(score(**changes), CALIBRATION, ClipFacts("failed", "unreadable"))


def test_page_shows_every_part_and_loads_nothing():
    page = clip_page(whole_evidence())
    for section in ("verdict", "time", "face", "lips", "frames", "file", "limits"):
        assert f'id="{section}"' in page
    assert len(page.encode()) < 3_000_000
    sources = re.findall(r'(?:src|href)="([^"#]*)', page)
    assert sources and all(source.startswith("data:") for source in sources if source)
    assert "http" not in page.replace("http-equiv", "")


def test_page_shows_cuts_and_each_face_from_its_start_to_its_end() -> None:
    evidence = whole_evidence()
    times_s, boxes = np.array([0.0, 3.0]), np.ones((2, 4), np.float32)
    faces = (FaceTrack(1, 0.0, 3.0, times_s, boxes, 0.7), FaceTrack(2, 3.5, 7.0, times_s, boxes))
    page = clip_page(replace(evidence, score=replace(evidence.score, faces=faces, cuts_s=(3.5,))))
    assert 'title="face 1: 0.70, 0 s to 3 s"' in page and 'title="face 2, 3.5 s to 7 s"' in page
    assert 'class="face" style="left:50.000%;width:50.000%' in page
    rows = page.count('class="track"')
    assert page.count('class="cut" style="left:50.000%"') == rows > 3
    assert 'class="cut"' not in clip_page(evidence)


def test_an_implausible_frame_rate_is_replaced_by_the_mean_rate() -> None:
    evidence = replace(bare_evidence(), facts=ClipFacts("ok", "", 4.0, 100, 1000.0, True))
    assert "100 frames at 25 per second" in clip_page(evidence)


def test_hostile_text_is_escaped():
    page = clip_page(whole_evidence())
    assert "<script" not in page
    assert "\u202e" not in page and "\x1b" not in page


def test_every_image_has_a_description():
    page = clip_page(whole_evidence())
    images = re.findall(r"<img [^>]*>", page)
    assert images and all(re.search(r'alt="[^"]{8,}"', image) for image in images)
    drawings = re.findall(r"<svg [^>]*>", page)
    assert all("aria-label" in drawing for drawing in drawings)


def test_unreadable_clip_has_a_page_that_gives_the_reason():
    page = clip_page(
        bare_evidence(score=None, logit=None, verdict="unscored", reason="unreadable", evidence={"face": None})
    )
    assert "Not scored" in page and "cannot be read" in page and "may be real or fake" in page
    for section in ("time", "face", "lips", "frames", "file"):
        assert f'id="{section}"' not in page


def test_verdict_names_the_threshold_it_was_compared_with():
    assert "at or above 0.78" in clip_page(bare_evidence())
    assert "below 0.29" in clip_page(bare_evidence(score=0.1, verdict="real"))
    assert "between 0.29 and 0.78" in clip_page(bare_evidence(score=0.5, verdict="inconclusive"))


def test_silence_and_a_constant_covariance_can_be_drawn():
    evidence = whole_evidence()
    evidence.audio.low[:] = evidence.audio.high[:] = 0
    evidence.covariance.image[:] = 0
    evidence.covariance.row_sums[:] = 0
    assert np.isfinite(len(clip_page(evidence)))


def test_the_verdict_names_the_parts_that_stand_out() -> None:
    apart = [Span(4.0, 8.0, 0.8, "face", "contrast"), Span(9.0, 10.0, 0.9, "voice")]
    assert parts_note(apart) == "Check 4 s to 8 s: this part stands out from the rest of the clip."
    assert parts_note(apart[1:]) == ""
    many = [Span(float(k), k + 0.5, 0.8, "face", "contrast") for k in range(5)]
    assert "and 2 more: these parts stand out" in parts_note(many)
