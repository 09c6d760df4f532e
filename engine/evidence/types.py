"""Types of the evidence about one clip. They need numpy only. All times are in seconds on the clip's clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from utils.features.clip import ClipFacts
from utils.metrics.calibration import Calibration

if TYPE_CHECKING:
    from engine.detector import Score


@dataclass(frozen=True)
class Fact:
    """A fact about the file as text. Names and values come from the file and may be hostile."""

    name: str
    value: str


@dataclass(frozen=True)
class Mark:
    """A mark of origin in the file.

    Attributes:
        code: stable code: `c2pa`, `jumbf`, `xmp`, `iptc_ai`, `encoder`, `lavf`, `generator`.
        message: a sentence in plain English.
    """

    code: str
    message: str


@dataclass(frozen=True)
class FileFacts:
    """Facts about the file.

    Attributes:
        container: size, format, duration and tags of the container.
        streams: title of each stream -> its facts.
        marks: marks of origin, in the order of the scan.
        scanned: description of the search for marks, including its limits.
    """

    container: tuple[Fact, ...]
    streams: Mapping[str, tuple[Fact, ...]]
    marks: tuple[Mark, ...] = ()
    scanned: str = ""


@dataclass(frozen=True, eq=False)
class AudioView:
    """The audio of a clip, reduced to the resolution of a page.

    Attributes:
        start_s: time of the first sample.
        end_s: end of the last sample.
        low: (N,) float32 in [-1, 1], minimum of the waveform per column.
        high: (N,) float32, maximum per column.
        mel: (M, N') uint8, mel-spectrogram in decibels, loud is high, low frequencies in the first row.
        top_hz: upper edge of the last band; bands are evenly spaced on librosa's mel scale from 0.
    """

    start_s: float
    end_s: float
    low: np.ndarray
    high: np.ndarray
    mel: np.ndarray
    top_hz: float


@dataclass(frozen=True, eq=False)
class Saliency:
    """Effect of parts of the audio on a term of the score: the term minus its value without the part.

    A positive effect means that the part made the clip look more like a fake.

    Attributes:
        term: name of the term.
        start_s: (P,) float64, start of each part.
        end_s: (P,) float64, end of each part.
        effect: (P,) float64, in log-odds.
        band_low_hz: (Q,) float64, lower edge of each frequency band.
        band_high_hz: (Q,) float64, upper edge.
        band_effect: (Q,) float64, as `effect`.
    """

    term: str
    start_s: np.ndarray
    end_s: np.ndarray
    effect: np.ndarray
    band_low_hz: np.ndarray
    band_high_hz: np.ndarray
    band_effect: np.ndarray


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """An aligned face.

    Attributes:
        time_s: presentation time.
        image: (S, S, 3) uint8 RGB.
        logit: mean pair logit of the forgery localizers; `None` without localizers.
        heat: (28, 28) float32, mean patch logits of the localizers; `None` without them.
    """

    time_s: float
    image: np.ndarray
    logit: float | None = None
    heat: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class FaceView:
    """The tracked face.

    Attributes:
        start_s: start of the track.
        end_s: end of the track.
        eye_px: distance between the eyes, in pixels of the clip.
        found: share of the detection frames in which the face was found.
        crops: the most suspicious pairs of frames, by their first frame; evenly spaced ones without localizers.
        compared: number of pairs that were compared.
        typical_logit: mean pair logit of a typical real clip; `None` without localizers.
        number: see `FaceReading.number`.
    """

    start_s: float
    end_s: float
    eye_px: float
    found: float
    crops: tuple[FaceCrop, ...]
    compared: int
    typical_logit: float | None = None
    number: int | None = None


@dataclass(frozen=True, eq=False)
class LipsView:
    """Mouth and loudness over time, and their correlation.

    Attributes:
        times_s: (T,) float64.
        opening: (T,) float64, darkness of the inside of the mouth, standardised.
        loudness: (T,) float64, level of the audio in decibels, standardised.
        lags_s: (L,) float64, delay of the audio relative to the mouth.
        correlation: (L,) float64 in [-1, 1] at each lag.
    """

    times_s: np.ndarray
    opening: np.ndarray
    loudness: np.ndarray
    lags_s: np.ndarray
    correlation: np.ndarray


@dataclass(frozen=True, eq=False)
class CovarianceView:
    """The frame covariance of the technical report.

    Attributes:
        image: (N, N) float64, covariance of the histograms of (blocks of) frames, in time order.
        row_sums: (T,) float64 per frame.
        selected: (K,) int, the frames that the video feature selects.
        fps: frame rate; 0 if unknown.
    """

    image: np.ndarray
    row_sums: np.ndarray
    selected: np.ndarray
    fps: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence about one clip. Parts that the clip or the detector does not have are `None` or empty.

    Attributes:
        score: the score, with time line, spans, findings and faces if they were requested.
        calibration: the thresholds and their measured error rates.
        facts: facts from the decoder.
        file: facts about the file; `None` for arrays and unreadable files.
        audio: waveform and spectrogram.
        saliency: effect of parts of the audio on the score.
        face: the tracked face.
        lips: mouth and loudness.
        covariance: the frame covariance.
        not_examined: sentences about parts that were not examined.
        provenance: name -> value: checkpoint, model, version.
    """

    score: Score
    calibration: Calibration
    facts: ClipFacts
    file: FileFacts | None = None
    audio: AudioView | None = None
    saliency: Saliency | None = None
    face: FaceView | None = None
    lips: LipsView | None = None
    covariance: CovarianceView | None = None
    not_examined: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
