"""Results as HTML. Names of clips are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from engine.report.bars import score_bar
from engine.report.clip_verdict import score_scale, verdict_title
from engine.report.text import fixed, isolate, visible
from engine.report.wording import CAUTIONS
from engine.web.service import Outcome
from engine.web.wording import not_seen, verdict_sentence
from utils.metrics.calibration import Calibration

ENVIRONMENT = Environment(
    loader=PackageLoader("engine.web", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters.update(fixed=fixed, visible=visible, isolate=isolate)

EMBEDDED = (
    "<style>header .kicker,nav,.hero>.lead{display:none}.hero{grid-template-columns:minmax(0,1fr)}header{padding-top:12px}"
    "@media (max-width:600px){header,main,footer{padding-inline:8px}}</style></head>"
)
"""Changes of the evidence page in the web page, which shows the verdict itself. Links to sections would leave the frame."""


def html(template: str, **context: Any) -> str:
    """Render a template of the web page."""
    return ENVIRONMENT.get_template(f"{template}.html.j2").render(**context)


def result_html(outcome: Outcome, calibration: Calibration) -> str:
    """Return the verdict on one clip."""
    score = outcome.score
    return html(
        "result",
        name=score.video,
        verdict=score.verdict,
        title=verdict_title(score.verdict),
        scored=score.score is not None,
        reason=score.reason,
        sentence=outcome.message or verdict_sentence(score),
        scale=score_scale(score.score, calibration),
        caution=CAUTIONS[0],
        not_seen=not_seen(score),
    )


def evidence_html(outcome: Outcome) -> str:
    """Return the evidence page of a clip in a frame in which no script runs; nothing without a page."""
    return html("evidence", page=outcome.page.replace("</head>", EMBEDDED, 1))


def batch_html(outcomes: Sequence[Outcome], total: int, calibration: Calibration) -> str:
    """Return the table of a batch, of which `total` clips were chosen and the given ones are done."""
    rows = [
        (item.score, verdict_title(item.score.verdict), note_of(item), score_bar(item.score.score, calibration))
        for item in outcomes
    ]
    return html("batch", rows=rows, total=total)


def note_of(outcome: Outcome) -> str:
    """Return what a person should know about a row of the table."""
    score = outcome.score
    return " ".join(not_seen(score)) if score.score is not None else outcome.message or verdict_sentence(score)
