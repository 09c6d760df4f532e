"""Results as HTML. Names of clips are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from engine.report.bars import evidence_bar
from engine.report.svg import Plot, Scale
from engine.report.text import fixed, isolate, percent, visible
from engine.web.service import Outcome
from engine.web.wording import CAUTIONS, TITLES, error_rates, experts, headline, no_score_message, not_seen
from utils.metrics.calibration import Calibration

LEAST_SCALE = 2.0
"""Minimum scale of the evidence bars, in log-odds."""

ENVIRONMENT = Environment(
    loader=PackageLoader("engine.web", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters.update(fixed=fixed, percent=percent, visible=visible, isolate=isolate)


def html(template: str, **context: Any) -> str:
    """Render a template of the web page."""
    return ENVIRONMENT.get_template(f"{template}.html.j2").render(**context)


def result_html(outcome: Outcome, calibration: Calibration, page: str = "") -> str:
    """Return the result of one clip: verdict, thresholds, what they do not mean, and the evidence.

    Args:
        outcome: the result.
        calibration: the calibration of the detector.
        page: the evidence page of the clip, a complete HTML document; empty for none.
    """
    score = outcome.score
    found = experts(score)
    scale = max([LEAST_SCALE, *(abs(expert.evidence) for expert in found if expert.evidence is not None)])
    return html(
        "result",
        name=score.video,
        verdict=score.verdict,
        title=TITLES[score.verdict],
        score=score.score,
        reason=score.reason,
        headline=outcome.message or headline(score, calibration),
        scale=score_scale(score.score, calibration),
        rates=error_rates(calibration),
        cautions=CAUTIONS,
        not_seen=not_seen(score),
        experts=[(expert, evidence_bar(expert.evidence, scale, expert.label)) for expert in found],
        page=page,
    )


def batch_html(outcomes: Sequence[Outcome], total: int, calibration: Calibration) -> str:
    """Return the table of a batch, of which `total` clips were chosen and the given ones are done."""
    rows = [
        (
            outcome.score,
            TITLES[outcome.score.verdict],
            note_of(outcome),
            score_scale(outcome.score.score, calibration, 0),
        )
        for outcome in outcomes
    ]
    return html("batch", rows=rows, total=total)


def note_of(outcome: Outcome) -> str:
    """Return what a person should know about a row of the table."""
    score = outcome.score
    if score.score is None:
        return outcome.message or no_score_message(score.reason)
    return " ".join(not_seen(score))


def score_scale(score: float | None, calibration: Calibration, height: float = 22) -> Markup:
    """Draw a score on the scale from 0 to 1 with the ranges of the verdicts; `height` of 0 leaves out the labels."""
    top = 8.0
    plot = Plot(Scale(0, 1, 8.0, 352.0), Scale(0, 1, top + 12, top), width=360, height=int(top + 16 + height))
    fake, real = calibration.threshold, calibration.thresholds.get("real", calibration.threshold)
    plot.rect(0, real, 0, 1, "zone real")
    plot.rect(real, fake, 0, 1, "zone inconclusive")
    plot.rect(fake, 1, 0, 1, "zone fake")
    if score is not None:
        plot.dot(score, 0.5, 8, "mark")
    if height:
        for low, high, words in ((0, real, "real"), (real, fake, "inconclusive"), (fake, 1, "fake")):
            if high - low > 0.1:
                plot.text(plot.x((low + high) / 2), top + 30, words, "t", "middle")
    return plot.render_mini("no score" if score is None else f"score {fixed(score, 2)} on the scale from 0 to 1")
