"""Results as HTML: what a visitor reads for each verdict and reason."""

from __future__ import annotations

import re

import pytest

from engine.report.wording import CAUTIONS
from engine.web.render import batch_html, evidence_html, result_html
from engine.web.service import Outcome
from engine.web.wording import ADVICE, not_seen
from tests.engine.web.conftest import CALIBRATION, made_score


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


@pytest.mark.parametrize(
    ("score", "title", "words"),
    [
        (0.9, "Fake", "at or above 0.78"),
        (0.5, "Inconclusive", "between 0.29 and 0.78: the detector cannot tell"),
        (0.1, "Real", "below 0.29"),
    ],
)
def test_result_states_verdict_thresholds_and_caution(score, title, words):
    text = text_of(result_html(Outcome(made_score(score)), CALIBRATION))
    assert f" {title} " in text and f"{score:.2f}" in text and words in text and CAUTIONS[0] in text
    assert "Not scored, because nothing suitable was found in this clip: Face." in text


@pytest.mark.parametrize("reason", ADVICE)
def test_clip_without_score_gets_reason_and_advice(reason):
    text = text_of(result_html(Outcome(made_score(None, reason=reason)), CALIBRATION))
    assert "Not scored" in text and ADVICE[reason] in text and reason in text and "score 0" not in text


def test_unknown_reason_is_shown_with_a_general_sentence():
    text = text_of(result_html(Outcome(made_score(None, reason="new_code")), CALIBRATION))
    assert "The clip could not be scored." in text and "new_code" in text


def test_missing_parts_are_named():
    assert not_seen(made_score(0.5, reason="no_audio+truncated"))[0].startswith("The clip has no audio")
    assert not_seen(made_score(None)) == []


def test_message_of_a_refused_clip_replaces_the_reason():
    text = text_of(result_html(Outcome(made_score(None, reason="over_limit"), "The clip lasts 2 h."), CALIBRATION))
    assert "The clip lasts 2 h." in text and ADVICE["over_limit"] not in text


def test_names_are_escaped_and_pages_are_sandboxed():
    outcome = Outcome(made_score(video='<img src=x onerror="alert(1)">\u202egpj.mp4'))
    for html in (result_html(outcome, CALIBRATION), batch_html([outcome], 1, CALIBRATION)):
        assert "<img" not in html and "\u202e" not in html
    frame = evidence_html(Outcome(made_score(), page='<html><head></head><script>alert("page")</script>'))
    assert 'sandbox="allow-same-origin"' in frame and "<script" not in frame and "&lt;script" in frame
    assert evidence_html(Outcome(made_score())).strip() == ""


def test_batch_counts_and_explains():
    done = [Outcome(made_score()), Outcome(made_score(None))]
    text = text_of(batch_html(done, 3, CALIBRATION))
    assert "2 of 3 clips done" in text and ADVICE["unreadable"] in text and "0.90" in text and " Fake " in text
