"""Each mitigation removes the shortcut that it is suggested for."""

from __future__ import annotations

import numpy as np
import pytest

from engine.audit.measure import MeasureTask, measure_clip
from engine.audit.mitigations import MITIGATIONS, check_mitigations, middle_window, mitigate_audio, shared_window_s
from engine.audit.waveform_facts import FLOOR_DB, band_facts, level_facts, silence_facts
from utils.errors import UsageError
from utils.media.writer import write_clip

RATE_HZ = 48_000


def noise(seconds=0.5, scale=0.1):
    return (scale * np.random.default_rng(0).standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def treat(samples, *names, window_s=1.0):
    return mitigate_audio(samples, RATE_HZ, check_mitigations(names), window_s)


def test_resample_and_band_limit_remove_high_frequencies():
    resampled, rate_hz = treat(noise(), "resample")
    assert rate_hz == 16_000 and len(resampled) == 8_000
    limited, rate_hz = treat(noise(), "band_limit")
    assert rate_hz == RATE_HZ and len(limited) == len(noise())
    facts = band_facts(limited, rate_hz)
    assert facts["above_8_khz_db"] < -95 and 6_500 < facts["band_end_hz"] < 7_500


def test_trim_silence_removes_only_leading_and_trailing_silence():
    zeros = np.zeros(4800, np.float32)
    trimmed, _ = treat(np.concatenate([zeros, noise(), zeros, noise(), zeros]), "trim_silence")
    assert len(trimmed) == pytest.approx(len(zeros) + 2 * len(noise()), abs=100)
    facts = silence_facts(trimmed, RATE_HZ)
    assert max(*facts["leading silence"].values(), *facts["trailing silence"].values()) < 1e-3
    assert len(treat(zeros, "trim_silence", "level", "fixed_window")[0]) == 0


def test_level_equalises_loudness():
    quiet, loud = (level_facts(treat(noise(scale=scale), "level")[0])["loudness"]["rms_db"] for scale in (0.001, 0.3))
    assert quiet == pytest.approx(loud, abs=0.01) and quiet > FLOOR_DB


def test_fixed_windows_have_equal_length():
    assert [len(treat(noise(seconds), "fixed_window")[0]) for seconds in (0.4, 1.0, 2.5)] == [RATE_HZ] * 3
    assert middle_window(np.arange(7), 3).tolist() == [2, 3, 4]
    assert middle_window(np.arange(2), 4).tolist() == [0, 1, 0, 1]
    assert (shared_window_s([4.0, 1.5]), shared_window_s([0.1]), shared_window_s([9.0]), shared_window_s([])) == (
        1.5,
        0.5,
        3.0,
        3.0,
    )


def test_unknown_mitigation_is_rejected():
    with pytest.raises(UsageError, match="no remedy 'prayer'"):
        check_mitigations(["level", "prayer"])
    assert check_mitigations(list(MITIGATIONS)) == set(MITIGATIONS)


@pytest.mark.parametrize(("fps", "extra_s"), [(30, 0.1), (12.5, -0.2)])
def test_re_encoding_equalises_container_facts(tmp_path, fps, extra_s):
    path = tmp_path / "clip.mkv"
    frames = [np.full((48, 64, 3), 5 * index % 255, np.uint8) for index in range(round(1.2 * fps))]
    write_clip(path, frames, fps, noise(1.2 + extra_s), RATE_HZ, audio_codec="pcm_s16le")
    clip = measure_clip(MeasureTask(path, frozenset({"re_encode"})))
    assert not clip.reason
    assert clip.container["audio minus video duration"]["gap_s"] == pytest.approx(0, abs=0.001)
    assert clip.container["frame count"]["n_frames"] == 30
    assert (clip.container["rates"]["fps"], clip.container["rates"]["sample_rate_hz"]) == (25.0, 16_000)
    assert clip.container["size"]["width_px"] == clip.container["size"]["height_px"] == 224


def test_fixed_window_hides_the_duration(tmp_path):
    for name, seconds in (("short", 0.8), ("long", 1.6)):
        frames = [np.zeros((32, 32, 3), np.uint8)] * round(25 * seconds)
        write_clip(tmp_path / f"{name}.mp4", frames, 25, noise(seconds), RATE_HZ)
    short, long = (
        measure_clip(MeasureTask(tmp_path / f"{name}.mp4", frozenset({"fixed_window"}), 0.8))
        for name in ("short", "long")
    )
    for family in ("duration", "frame count"):
        assert short.container[family] == long.container[family]
    assert short.mel.shape == long.mel.shape


def test_unreadable_clip_gives_a_reason_code(tmp_path):
    (tmp_path / "text.mp4").write_text("no clip")
    assert measure_clip(MeasureTask(tmp_path / "text.mp4")).reason == "unreadable"
    assert measure_clip(MeasureTask(tmp_path / "none.mp4", frozenset({"re_encode"}))).reason == "missing_file"


def test_remove_dc_removes_the_mean_only():
    samples = noise(scale=0.1)
    treated, _ = treat(samples + np.float32(0.05), "remove_dc")
    np.testing.assert_allclose(treated, samples - samples.mean(), atol=1e-6)
