"""Comparison of an exported graph with its checkpoint, on random arrays and on clips that resemble recordings."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from dataset.demo_set.performance import make_take
from dataset.demo_set.render import render
from dataset.demo_set.speech import SAMPLE_RATE_HZ
from dataset.samples import InputLayout, Sample, make_sample
from engine.scoring import Scorer
from utils.errors import UsageError, WorkError
from utils.features.base import FEATURES, ArraySpec, with_sources
from utils.features.extract import extract_clip, require_parts
from utils.media.arrays import ClipArrays

TOLERANCE = 1e-4
"""Largest accepted difference of a term between torch and onnxruntime."""

HEAD_S, HEAD_FPS, HEAD_PX = 4, 25, 160
CUT_OFF_HZ = 3400
"""Upper limit of the band that a telephone transmits."""


def check_agreement(expected: Scorer, found: Scorer, samples: Sequence[Sample]) -> None:
    """Compare the terms of clips.

    Raises:
        WorkError: they differ by more than `TOLERANCE`.
    """
    reference, terms = expected(samples), found(samples)
    values = np.stack([reference.logit, *reference.evidence.values()])
    others = np.stack([terms.logit, *terms.evidence.values()])
    if not np.allclose(values, others, rtol=0, atol=TOLERANCE, equal_nan=True):
        raise WorkError(f"the exported graph differs from the checkpoint by {np.nanmax(np.abs(values - others)):.2g}")


def sample_clips(layout: InputLayout) -> list[Sample]:
    """Return clips for a comparison.

    They are two rendered talking heads, a clip of random arrays, and one random clip without each feature and the features
    derived from it.
    """
    rng = np.random.default_rng(1)
    needed = {name: with_sources([name]) for name in layout.features}
    samples = [*rendered_samples(layout), random_sample(layout.specs, rng)]
    for missing in dict.fromkeys(source for sources in needed.values() for source in sources):
        absent = {
            array
            for name in layout.features
            if missing in needed[name]
            for array in FEATURES.get(name).built_class.inputs
        }
        samples.append(random_sample(layout.specs, rng, without=absent))
    return samples


def random_sample(specs: Sequence[ArraySpec], rng: np.random.Generator, without: Collection[str] = ()) -> Sample:
    """Return a clip of random arrays, all entries of which exist; the arrays in `without` are absent."""
    inputs = {}
    for spec in specs:
        integers = np.issubdtype(spec.dtype, np.integer)
        values = rng.integers(0, 256, spec.shape) if integers else rng.random(spec.shape)
        inputs[spec.name] = spec.fill(None if spec.name in without else values.astype(spec.dtype))
    return Sample(0, float("nan"), inputs)


def rendered_samples(layout: InputLayout) -> list[Sample]:
    """Return two rendered talking heads: with the full band, and with a telephone's band and pauses of digital silence.

    Random arrays have no quiet parts. Speech in a narrow band has spectra whose quiet bins are near the rounding error of
    single precision, where two libraries differ most. Features whose packages are not installed are absent.
    """
    take = make_take(0, 0)
    frames = np.stack(render(take, np.arange(HEAD_S * HEAD_FPS) / HEAD_FPS, HEAD_PX))
    speech = take.samples(0.0, HEAD_S)
    features = [name for name in layout.features if is_available(layout, name)]
    clips = [ClipArrays(frames, HEAD_FPS, samples, SAMPLE_RATE_HZ) for samples in (speech, telephone(speech))]
    return [
        make_sample(0, float("nan"), extract_clip(clip, layout.config, features=features), layout) for clip in clips
    ]


def telephone(speech: np.ndarray) -> np.ndarray:
    """Return speech (S,) without frequencies above `CUT_OFF_HZ` and with zeros in a quarter of each second."""
    spectrum = np.fft.rfft(speech)
    spectrum[np.fft.rfftfreq(len(speech), 1 / SAMPLE_RATE_HZ) > CUT_OFF_HZ] = 0
    narrow = np.fft.irfft(spectrum, len(speech)).astype(np.float32)
    narrow[np.arange(len(narrow)) % SAMPLE_RATE_HZ > SAMPLE_RATE_HZ * 3 // 4] = 0
    return narrow


def is_available(layout: InputLayout, feature: str) -> bool:
    """Return whether the packages of a feature and of its sources are installed."""
    try:
        require_parts(layout.config, with_sources([feature]))
    except UsageError:
        return False
    return True
