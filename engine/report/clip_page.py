"""Page about one clip: the evidence behind its score, as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from engine.evidence.types import Evidence, FaceCrop, LipsView
from engine.report.bars import evidence_bar
from engine.report.build import page
from engine.report.clip_images import covariance_uri, face_uris
from engine.report.clip_tracks import axis_of, tracks
from engine.report.clip_verdict import headline, meaning, score_scale, verdict_title
from engine.report.svg import Plot, Scale, nice_ticks
from engine.report.text import fixed, writable
from engine.report.times import clock
from engine.report.wording import CAUTIONS, SPAN_REASONS, expert_label, expert_purpose
from engine.timeline.types import Span

LEAST_SCALE = 2.0
"""Minimum scale of the evidence bars, in log-odds."""

MAX_DECLARED_FPS = 240.0
"""Recordings of browsers declare 1000 frames per second. A higher rate than this is replaced by the mean rate."""

LISTED_FACES = 8

LISTED_PARTS = 3


@dataclass(frozen=True)
class ExpertRow:
    """An expert on the page; `value` is empty if it abstained."""

    label: str
    purpose: str
    bar: Markup
    value: str


@dataclass(frozen=True)
class FaceRow:
    """A face on the page; `overlay` is empty without localizers."""

    number: int
    time: str
    logit: str
    plain: str
    overlay: str


@dataclass(frozen=True)
class Part:
    """A suspicious part or a finding, with its position on the time axis."""

    place: str
    time: str
    text: str
    score: str = ""
    reason: str = ""


def clip_page(evidence: Evidence) -> str:
    """Return the page about one clip: a complete HTML document of less than 3 MB that needs no other file and no network."""
    return writable(page("clip.html.j2", clip_context(evidence)))


def clip_context(evidence: Evidence) -> dict[str, Any]:
    """Return the variables of the template."""
    score, axis = evidence.score, axis_of(evidence)
    spans = [
        Part(
            axis.place(span.start_s, span.end_s),
            _interval(span.start_s, span.end_s),
            expert_label(span.expert),
            fixed(span.score, 2),
            SPAN_REASONS[span.basis],
        )
        for span in score.spans
    ]
    findings = [
        Part(axis.place(found.start_s, found.end_s), _interval(found.start_s, found.end_s), found.message)
        for found in score.findings
    ]
    return {
        "name": _base_name(score.video),
        "path": score.video,
        "verdict": score.verdict,
        "title": verdict_title(score.verdict),
        "score": score.score,
        "reason": score.reason,
        "headline": headline(score),
        "apart": parts_note(score.spans),
        "scale": score_scale(score.score, evidence.calibration),
        "meaning": list(meaning(evidence)),
        "cautions": CAUTIONS,
        "about": list(_about(evidence)),
        "experts": list(_experts(evidence)),
        "tracks": tracks(evidence),
        "ticks": axis.ticks(),
        "cuts": [axis.at(time_s) for time_s in score.cuts_s],
        "spans": spans,
        "findings": findings,
        "has_timeline": score.timeline is not None,
        "saliency": evidence.saliency,
        "bands": list(_bands(evidence)),
        "face": evidence.face,
        "faces": [] if evidence.face is None else [_face(*item) for item in enumerate(evidence.face.crops, 1)],
        "tracked": list(_tracked(evidence)),
        "lips": evidence.lips,
        "lips_chart": None if evidence.lips is None else lips_chart(evidence.lips),
        "lag_chart": None if evidence.lips is None else lag_chart(evidence.lips),
        "lips_words": "" if evidence.lips is None else lips_words(evidence.lips),
        "covariance": evidence.covariance,
        "covariance_image": "" if evidence.covariance is None else covariance_uri(evidence.covariance.image),
        "sums_chart": None if evidence.covariance is None else sums_chart(evidence),
        "file": evidence.file,
        "not_examined": evidence.not_examined,
        "provenance": list(evidence.provenance.items()),
        "clock": clock,
    }


def parts_note(spans: Sequence[Span]) -> str:
    """Return a sentence on the parts that stand out from the rest of the clip, whatever its verdict; empty without one."""
    times = [_interval(span.start_s, span.end_s) for span in spans if span.basis == "contrast"]
    if not times:
        return ""
    more = f" and {len(times) - LISTED_PARTS} more" if len(times) > LISTED_PARTS else ""
    verb = "this part stands" if len(times) == 1 else "these parts stand"
    return f"Check {', '.join(times[:LISTED_PARTS])}{more}: {verb} out from the rest of the clip."


def _base_name(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path


def _interval(start_s: float, end_s: float) -> str:
    return f"{clock(start_s)} to {clock(end_s)}"


def _about(evidence: Evidence) -> Iterator[str]:
    """Yield the parts of the subtitle."""
    facts = evidence.facts
    if facts.duration_s:
        yield clock(facts.duration_s)
    if facts.n_frames:
        fps = facts.fps
        if fps > MAX_DECLARED_FPS and facts.duration_s:
            fps = facts.n_frames / facts.duration_s
        yield f"{facts.n_frames} frames" + (f" at {fps:.3g} per second" if fps else "")
    yield "audio" if facts.has_audio else "no audio"


def _experts(evidence: Evidence) -> Iterator[ExpertRow]:
    values = evidence.score.evidence
    scale = max([LEAST_SCALE, *(abs(value) for value in values.values() if value is not None)])
    for name, value in values.items():
        label = expert_label(name)
        yield ExpertRow(
            label, expert_purpose(name), evidence_bar(value, scale, label), "" if value is None else signed(value)
        )


def signed(value: float) -> str:
    """Return a number with its sign and two decimals."""
    text = fixed(abs(value), 2)
    return text if not float(text) else ("+" if value > 0 else "\u2212") + text


def _face(number: int, crop: FaceCrop) -> FaceRow:
    plain, overlay = face_uris(crop.image, crop.heat)
    return FaceRow(number, clock(crop.time_s), "" if crop.logit is None else signed(crop.logit), plain, overlay)


def _tracked(evidence: Evidence) -> Iterator[str]:
    """Yield one line per tracked face of a clip with several, the most suspicious ones first."""
    faces = evidence.score.faces
    if len(faces) < 2:
        return
    ranked = sorted(faces, key=lambda face: -1.0 if face.score is None else face.score, reverse=True)
    for face in ranked[:LISTED_FACES]:
        result = "not scored" if face.score is None else f"score {fixed(face.score, 2)}"
        yield f"Face {face.number}, {_interval(face.start_s, face.end_s)}: {result}"
    if len(ranked) > LISTED_FACES:
        yield f"and {len(ranked) - LISTED_FACES} more"


def _bands(evidence: Evidence) -> Iterator[tuple[str, Markup, str]]:
    """Yield range, bar and value of each frequency band of the saliency."""
    saliency = evidence.saliency
    if saliency is None or not len(saliency.band_effect):
        return
    scale = max(0.5, float(np.abs(saliency.band_effect).max()))
    for low, high, effect in zip(saliency.band_low_hz, saliency.band_high_hz, saliency.band_effect, strict=True):
        name = f"{low / 1000:.1f} to {high / 1000:.1f} kHz"
        yield name, evidence_bar(float(effect), scale, name), signed(float(effect))


def lips_chart(lips: LipsView) -> Markup:
    """Draw mouth and loudness over time."""
    low, high = float(lips.times_s[0]), float(lips.times_s[-1])
    plot = Plot(Scale(low, high, 26.0, 352.0), Scale(-3, 3, 142.0, 24.0), width=360, height=176)
    plot.axes([(tick, f"{tick:g}") for tick in nice_ticks(low, high, 5)], [], "time in s", "standardised")
    plot.path(_points(lips.times_s, lips.loudness), "line loud")
    plot.path(_points(lips.times_s, lips.opening), "line main")
    plot.legend([("line main", "darkness of the mouth"), ("line loud", "loudness")])
    return plot.render("lips", "Mouth and loudness", lips_words(lips))


def lag_chart(lips: LipsView) -> Markup:
    """Draw the correlation of mouth and loudness against the delay of the audio."""
    edge = float(lips.lags_s[-1])
    plot = Plot(Scale(-edge, edge, 40.0, 352.0), Scale(-0.6, 1, 142.0, 24.0), width=360, height=176)
    ticks = [(value, f"{value:g}") for value in (-0.5, 0, 0.5, 1)]
    plot.axes(
        [(tick, f"{tick:+g}" if tick else "0") for tick in nice_ticks(-edge, edge, 4)],
        ticks,
        "delay of the audio in s",
        "correlation",
    )
    plot.rule("chance", x=0)
    plot.path(_points(lips.lags_s, lips.correlation), "line main")
    best = int(np.argmax(lips.correlation))
    plot.dot(float(lips.lags_s[best]), float(lips.correlation[best]), 4, "mark")
    return plot.render("lag", "Correlation by delay", lips_words(lips))


def lips_words(lips: LipsView) -> str:
    """Return the strongest correlation in words."""
    best = int(np.argmax(lips.correlation))
    lag, value = float(lips.lags_s[best]), float(lips.correlation[best])
    where = "without a delay"
    if abs(lag) > 0.01:
        where = f"with the audio {abs(lag):.2f} s {'later' if lag > 0 else 'earlier'}"
    at_zero = fixed(float(lips.correlation[len(lips.lags_s) // 2]), 2)
    return f"The correlation is strongest {where} ({fixed(value, 2)}); without a delay it is {at_zero}."


def sums_chart(evidence: Evidence) -> Markup:
    """Draw the row sums of the frame covariance, with the selected frames marked."""
    view = evidence.covariance
    assert view is not None
    sums = view.row_sums / max(float(np.abs(view.row_sums).max()), 1e-12)
    frames = np.arange(len(sums))
    plot = Plot(
        Scale(0, max(len(sums) - 1, 1), 26.0, 352.0),
        Scale(float(min(sums.min(), 0)), 1, 142.0, 24.0),
        width=360,
        height=176,
    )
    plot.axes([(tick, f"{tick:g}") for tick in nice_ticks(0, len(sums) - 1, 5)], [], "frame", "row sum, relative")
    thin = max(1, len(sums) // 600)
    plot.path(_points(frames[::thin], sums[::thin]), "line main")
    for frame in view.selected[:: max(1, len(view.selected) // 128)]:
        plot.dot(float(frame), float(sums[frame]), 1.6, "selected")
    plot.legend([("line main", "all frames"), ("line picked", "selected")])
    return plot.render(
        "sums", "Row sums of the covariance", f"{len(view.selected)} of {len(sums)} frames are selected."
    )


def _points(x: np.ndarray, y: np.ndarray) -> Sequence[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
