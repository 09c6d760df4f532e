"""Audio degradations of files, decoded: the audio shows the stated parameter."""

from __future__ import annotations

import av
import numpy as np
import pytest

from dataset.degradations import FAMILIES, apply
from tests.dataset.degradations.conftest import RATE_HZ, decode, degrade, packets, pictures
from tests.dataset.degradations.test_audio_filters import band_db, level_db
from utils.media.writer import write_clip


def lag_samples(late: np.ndarray, early: np.ndarray) -> int:
    """Return the lag of `late` behind `early` in samples, from the peak of their cross-correlation."""
    size = 1 << 18
    product = np.fft.irfft(np.fft.rfft(late, size) * np.conj(np.fft.rfft(early, size)))
    peak = int(np.argmax(product))
    return peak if peak < size // 2 else peak - size


@pytest.mark.parametrize(("family", "codec"), [("mp3", "mp3"), ("aac", "aac"), ("opus", "opus")])
def test_bit_rates_are_as_stated_and_audio_stays_in_sync(family, codec, source, degraded):
    nominal = FAMILIES[family].levels
    for severity in (1, 3, 5):
        path = degraded(family, severity)
        found = decode(path)
        seconds = len(found.waveform) / found.rate_hz
        kbps = 8 * sum(map(len, packets(path, "audio"))) / seconds / 1000
        assert kbps == pytest.approx(nominal[severity - 1], rel=0.2)
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            assert stream.codec_context.codec.canonical_name == codec and stream.channels == 1
    reference = apply.soxr.resample(source.waveform, RATE_HZ, found.rate_hz)
    assert abs(lag_samples(found.waveform, reference)) <= 0.001 * found.rate_hz


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_snr_of_the_file_is_as_stated(severity, source, degraded):
    noisy = decode(degraded("audio_noise", severity)).waveform
    gain = float(noisy @ source.waveform / (source.waveform @ source.waveform))
    found_db = level_db(gain * source.waveform) - level_db(noisy - gain * source.waveform)
    assert found_db == pytest.approx(FAMILIES["audio_noise"].levels[severity - 1], abs=0.3)


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_audio_is_delayed_by_the_stated_time(severity, source, degraded):
    found = decode(degraded("offset", severity)).waveform
    late_ms = 1000 * lag_samples(found, source.waveform) / RATE_HZ
    assert late_ms == pytest.approx(FAMILIES["offset"].levels[severity - 1], abs=0.1)
    assert len(found) == len(source.waveform)


def test_volume_and_telephone_match_their_parameters(source, degraded):
    quiet = decode(degraded("volume", 3)).waveform
    assert level_db(quiet) - level_db(source.waveform) == pytest.approx(-18, abs=0.05)
    line = decode(degraded("telephone", 3)).waveform
    for band, wanted in (((600, 2800), (-1.5, 1.5)), ((4300, 12_000), (-200, -30))):
        change = band_db(line, RATE_HZ, *band) - band_db(source.waveform, RATE_HZ, *band)
        assert wanted[0] <= change <= wanted[1]


def test_pitch_of_a_tone_is_raised_as_stated(tmp_path):
    time_s = np.arange(RATE_HZ) / RATE_HZ
    tone = (0.3 * np.sin(2 * np.pi * 500 * time_s)).astype(np.float32)
    write_clip(tmp_path / "tone.mp4", pictures(10), 10, tone, RATE_HZ)
    found = decode(degrade(tmp_path / "tone.mp4", tmp_path, "pitch", 3)).waveform[10_000:30_000]
    peak_hz = np.argmax(np.abs(np.fft.rfft(found * np.hanning(len(found)), 1 << 19))) * RATE_HZ / (1 << 19)
    assert peak_hz / 500 == pytest.approx(2 ** (2 / 12), rel=0.004)


def test_reverberation_fills_the_pauses_and_keeps_the_level(source, degraded):
    wet = decode(degraded("reverb", 5)).waveform
    assert level_db(wet) == pytest.approx(level_db(source.waveform), abs=0.1)
    envelope = [np.convolve(np.abs(wave), np.ones(2000) / 2000, "valid") for wave in (source.waveform, wet)]
    pauses = envelope[0] < np.quantile(envelope[0], 0.1)
    assert envelope[1][pauses].mean() > 1.5 * envelope[0][pauses].mean()


@pytest.mark.parametrize("rate_hz", [8000, 11_025, 37_800, 96_000])
@pytest.mark.parametrize("family", ["mp3", "aac", "opus", "telephone", "reencode_audio"])
def test_unusual_sample_rates_can_be_encoded(rate_hz, family, tmp_path):
    tone = (0.3 * np.sin(2 * np.pi * 500 * np.arange(rate_hz // 2) / rate_hz)).astype(np.float32)
    write_clip(tmp_path / "clip.mkv", None, waveform=tone, sample_rate_hz=rate_hz, audio_codec="pcm_s16le")
    found = decode(degrade(tmp_path / "clip.mkv", tmp_path, family, FAMILIES[family].severities[-1]))
    assert len(found.waveform) / found.rate_hz == pytest.approx(0.5, abs=0.11)
    spectrum = np.abs(np.fft.rfft(found.waveform * np.hanning(len(found.waveform))))
    assert np.argmax(spectrum) * found.rate_hz / len(found.waveform) == pytest.approx(500, abs=15)
