"""Results as HTML: what a visitor reads for each verdict and reason."""

from __future__ import annotations

import re

import pytest

from engine.web.render import batch_html, result_html
from engine.web.service import Outcome
from engine.web.wording import CAUTIONS, NO_SCORE, no_score_message, not_seen
from tests.engine.web.conftest import CALIBRATION, made_score
from utils.metrics.calibration import Calibration


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
def test_result_states_verdict_thresholds_and_cautions(score, title, words):
    text = text_of(result_html(Outcome(made_score(score)), CALIBRATION))
    assert f" {title} score {score:.2f} " in text and words in text
    assert all(caution in text for caution in CAUTIONS)
    assert "Of 114 real clips, 4 % were called fake and 70 % inconclusive. Of 133 fakes, 5 % were called real" in text
    assert "Speech traces of a speech synthesiser" in text and "not scored" in text


def test_result_of_an_unmeasured_checkpoint_says_so():
    text = text_of(result_html(Outcome(made_score(0.4, thresholds={"fake": 0.5}, verdict="real")), Calibration()))
    assert "below 0.50" in text and "has not been measured" in text


@pytest.mark.parametrize("reason", NO_SCORE)
def test_clip_without_score_gets_one_explanation(reason):
    outcome = Outcome(made_score(None, reason=reason))
    text = text_of(result_html(outcome, CALIBRATION))
    assert "No score" in text and NO_SCORE[reason] in text and reason in text
    assert "Evidence" not in text and "score 0" not in text


def test_unknown_reason_is_shown_with_a_general_sentence():
    assert no_score_message("new_code") == "The clip could not be scored."


def test_missing_parts_are_named():
    assert not_seen(made_score(0.5, reason="no_audio+truncated"))[0].startswith("The clip has no audio")
    assert not_seen(made_score(0.5)) == ["Face: nothing to score was found in this clip."]
    assert not_seen(made_score(None)) == []


def test_message_of_a_refused_clip_replaces_the_reason():
    text = text_of(result_html(Outcome(made_score(None, reason="over_limit"), "The clip lasts 2 h."), CALIBRATION))
    assert "The clip lasts 2 h." in text and NO_SCORE["over_limit"] not in text


def test_names_are_escaped_and_pages_are_sandboxed():
    outcome = Outcome(made_score(video='<img src=x onerror="alert(1)">\u202egpj.mp4'))
    page = result_html(outcome, CALIBRATION, page='<script>alert("page")</script>')
    for html in (page, batch_html([outcome], 1, CALIBRATION)):
        assert "<img" not in html and "\u202e" not in html
    assert 'sandbox="allow-same-origin"' in page and "<script" not in page


def test_batch_counts_and_explains():
    done = [Outcome(made_score()), Outcome(made_score(None))]
    text = text_of(batch_html(done, 3, CALIBRATION))
    assert "2 of 3 clips done" in text and NO_SCORE["unreadable"] in text and "0.90" in text and " Fake " in text
