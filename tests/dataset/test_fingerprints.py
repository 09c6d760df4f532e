"""Fingerprints are robust to re-encoding, scaling and trimming, distinguish clips, and are cached."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dataset.equal_files import equal_files
from dataset.fingerprints import FingerprintTable, find_near_duplicates, fingerprint_clips
from dataset.fingerprints.audio import HOP, RATE_HZ, WINDOW, audio_bits
from dataset.fingerprints.fingerprint import Fingerprint, fingerprint_clip, fingerprint_wave
from dataset.fingerprints.visual import FLAT_LEVELS, HASH_BITS, FrameHashes, frame_hash
from utils.features.waveform import WavWriter
from utils.media.writer import write_clip

FPS, SECONDS, SIDE_PX, SOUND_HZ = 20, 3.0, 96, 44_100
FAST = {"preset": "ultrafast"}


def scene(seed: int) -> list[np.ndarray]:
    """Return frames of a blurred random background with a moving blob."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.uniform(0, 255, (SIDE_PX, SIDE_PX, 3)).astype(np.float32), None, 4)
    background = cv2.normalize(noise, None, 0, 220, cv2.NORM_MINMAX).astype(np.uint8)
    frames = []
    for index in range(round(FPS * SECONDS)):
        frame = background.copy()
        cv2.circle(frame, (30 + index % 30, 48), 12, (255, 230, 210), -1)
        frames.append(frame)
    return frames


def speech(seed: int) -> np.ndarray:
    """Return syllable-like noise whose band and loudness change eight times per second."""
    rng = np.random.default_rng(seed)
    syllables = []
    for _ in range(round(SECONDS * 8)):
        spectrum = np.fft.rfft(rng.standard_normal(SOUND_HZ // 8))
        frequency_hz = np.fft.rfftfreq(SOUND_HZ // 8, 1 / SOUND_HZ)
        for centre_hz in rng.uniform(250, 2500, 3):
            spectrum *= 1 + 30 * np.exp(-(((frequency_hz - centre_hz) / 80) ** 2))
        sound = np.fft.irfft(spectrum)
        syllables.append(rng.uniform(0.1, 0.5) * sound / np.abs(sound).max())
    return np.concatenate(syllables).astype(np.float32)


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """Write six unrelated clips `o0` to `o5`, and copies of the first two: `<copy>0` and `<copy>1`."""
    root = tmp_path_factory.mktemp("family")
    cut, sound_cut = round(0.5 * FPS), SOUND_HZ // 2
    for seed in range(6):
        frames, sound = scene(seed), speech(seed)
        write_clip(root / f"o{seed}.mp4", frames, FPS, sound, SOUND_HZ, video_options=FAST)
        if seed > 1:
            continue
        half = [cv2.resize(frame, (48, 48), interpolation=cv2.INTER_AREA) for frame in frames]
        poor = {**FAST, "crf": "35"}
        write_clip(root / f"crf{seed}.mp4", frames, FPS, sound, SOUND_HZ, video_options=poor, audio_bit_rate=32_000)
        mp3 = {"audio_codec": "libmp3lame", "audio_bit_rate": 32_000}
        write_clip(root / f"half{seed}.mkv", half, FPS, sound, SOUND_HZ, video_options=FAST, **mp3)
        write_clip(
            root / f"vp9{seed}.webm", frames, FPS, None, video_codec="libvpx-vp9", video_options={"cpu-used": "8"}
        )
        write_clip(root / f"start{seed}.mp4", frames[cut:], FPS, sound[sound_cut:], SOUND_HZ, video_options=FAST)
        write_clip(root / f"end{seed}.mp4", frames[:-cut], FPS, sound[:-sound_cut], SOUND_HZ, video_options=FAST)
        write_clip(root / f"dubbed{seed}.mp4", frames, FPS, speech(100 + seed), SOUND_HZ, video_options=FAST)
        write_clip(root / f"acted{seed}.mp4", scene(200 + seed), FPS, sound, SOUND_HZ, video_options=FAST)
    return root


@pytest.fixture(scope="module")
def prints(family):
    paths = {path.name: path for path in sorted(family.iterdir())}
    return FingerprintTable.of(list(paths), [fingerprint_clip(path) for path in paths.values()])


def named(prints, pairs):
    return {tuple(sorted((prints.names[first], prints.names[second]))) for first, second in pairs.tolist()}


def test_only_copies_are_found(prints):
    found = find_near_duplicates(prints)
    visual, audio = named(prints, found.visual), named(prints, found.audio)
    for seed in (0, 1):
        original = f"o{seed}.mp4"
        copies = {f"crf{seed}.mp4", f"half{seed}.mkv", f"start{seed}.mp4", f"end{seed}.mp4"}
        for copy in copies:
            assert tuple(sorted((original, copy))) in visual & audio
        for copy in (f"vp9{seed}.webm", f"dubbed{seed}.mp4"):
            assert tuple(sorted((original, copy))) in visual - audio
        assert tuple(sorted((original, f"acted{seed}.mp4"))) in audio - visual
    for first, second in visual | audio:
        assert first.partition(".")[0][-1] == second.partition(".")[0][-1]
    assert (found.visual_share >= 0.5).all() and (found.audio_error <= 0.32).all()
    assert (found.pairs[:, 0] < found.pairs[:, 1]).all()


def test_search_with_sides_finds_only_pairs_across_sides(prints):
    side = np.array([name.startswith("o") for name in prints.names])
    across = find_near_duplicates(prints, side)
    everything = find_near_duplicates(prints)
    expected = {tuple(pair) for pair in everything.pairs.tolist() if side[pair[0]] != side[pair[1]]}
    assert {tuple(pair) for pair in across.pairs.tolist()} == expected
    assert len(expected) < len(everything.pairs)


def test_search_is_repeatable_and_accepts_empty_tables(prints):
    first, second = find_near_duplicates(prints), find_near_duplicates(prints)
    np.testing.assert_array_equal(first.pairs, second.pairs)
    np.testing.assert_array_equal(first.audio_error, second.audio_error)
    assert len(find_near_duplicates(FingerprintTable.of([], [])).pairs) == 0
    assert len(find_near_duplicates(FingerprintTable.of(["a", "b"], [Fingerprint(), Fingerprint()])).pairs) == 0


def test_many_equal_clips_form_one_connected_group():
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 2**63, (2, 4), dtype=np.uint64)
    many = FingerprintTable.of([f"c{index}" for index in range(300)], [Fingerprint(frames=frames)] * 300)
    pairs = find_near_duplicates(many).pairs
    from dataset.folds import related_groups
    from tests.dataset.test_folds import table

    assert related_groups(table(300), pairs=pairs).max() == 0
    assert len(pairs) < 300 * 299 / 2


def test_frame_hash_has_half_its_bits_set_and_ignores_scale():
    frame = scene(5)[0]
    bits = np.unpackbits(frame_hash(frame).view(np.uint8))
    assert len(bits) == HASH_BITS and bits.sum() == HASH_BITS // 2
    larger = cv2.resize(frame, None, fx=2, fy=1.5, interpolation=cv2.INTER_LINEAR)
    assert np.unpackbits((frame_hash(frame) ^ frame_hash(larger)).view(np.uint8)).sum() < 30


def test_blank_frames_have_no_hash():
    grey = np.full((40, 60, 3), 128, np.uint8)
    assert frame_hash(grey) is None
    rng = np.random.default_rng(0)
    noisy = np.clip(grey + rng.normal(0, FLAT_LEVELS, grey.shape), 0, 255).astype(np.uint8)
    assert frame_hash(noisy) is None
    hashes = FrameHashes()
    hashes.add(grey, 25.0)
    assert hashes.array().shape == (0, 4)


def test_frames_are_hashed_every_half_second_and_less_often_in_long_clips():
    frame = scene(5)[0]
    for n_frames, fps, expected in ((60, 20.0, 6), (61, 20.0, 7), (1, 0.0, 1), (2000, 2.0, 125)):
        hashes = FrameHashes()
        for _ in range(n_frames):
            hashes.add(frame, fps)
        assert len(hashes.array()) == expected


def test_audio_bits_shift_with_the_samples_and_are_zero_in_silence():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 3 * RATE_HZ).astype(np.float32)
    bits = audio_bits(noise)
    assert bits.dtype == np.uint32 and len(bits) == (len(noise) - WINDOW) // HOP
    np.testing.assert_array_equal(audio_bits(noise[10 * HOP :]), bits[10:])
    np.testing.assert_array_equal(audio_bits(0.25 * noise), bits)
    half_silent = np.concatenate([noise, np.zeros(3 * RATE_HZ, np.float32)])
    assert (audio_bits(half_silent)[len(bits) + 2 * WINDOW // HOP :] == 0).all()
    assert len(audio_bits(noise[: WINDOW - 1])) == 0 and (audio_bits(np.zeros(RATE_HZ, np.float32)) == 0).all()


def test_silent_clips_are_not_duplicates():
    silence = [Fingerprint(audio=audio_bits(np.zeros(3 * RATE_HZ, np.float32)))] * 2
    assert len(find_near_duplicates(FingerprintTable.of(["a", "b"], silence)).pairs) == 0


def test_stored_waveform_matches_the_fingerprint_of_its_clip(family, tmp_path):
    with WavWriter(tmp_path / "o0.wav", 22_050) as wav:
        wav.write(speech(0)[::2])
    pair = FingerprintTable.of(
        ["clip", "wave"], [fingerprint_clip(family / "o0.mp4"), fingerprint_wave(tmp_path / "o0.wav")]
    )
    assert named(pair, find_near_duplicates(pair).audio) == {("clip", "wave")}
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    assert fingerprint_wave(tmp_path / "bad.wav").reason == "unreadable"
    assert fingerprint_wave(tmp_path / "none.wav").reason == "missing_file"
    content = (tmp_path / "o0.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[: len(content) // 4 * 2 + 1])
    assert not fingerprint_wave(tmp_path / "cut.wav").reason


def test_tables_are_cached_until_a_file_changes(family, tmp_path):
    calls = []

    def counting(path):
        calls.append(path.name)
        return fingerprint_wave(path)

    paths = {name: tmp_path / f"{name}.wav" for name in ("a", "b", "absent")}
    for seed, name in enumerate(("a", "b")):
        with WavWriter(paths[name], 22_050) as wav:
            wav.write(speech(seed)[: 22_050 * 2])
    cache = tmp_path / "cache.npz"
    settings = {"function": counting, "in_process": True, "quiet": True}
    first = fingerprint_clips(paths, cache, **settings)
    assert first.names == ["a", "b", "absent"] and first.reasons.tolist() == ["", "", "missing_file"]
    assert calls == ["a.wav", "b.wav"]
    again = fingerprint_clips(paths, cache, **settings)
    assert calls == ["a.wav", "b.wav"]
    np.testing.assert_array_equal(again.audio, first.audio)
    with WavWriter(paths["b"], 22_050) as wav:
        wav.write(speech(7)[: 22_050 * 3])
    fingerprint_clips(paths, cache, **settings)
    assert calls == ["a.wav", "b.wav", "b.wav"]
    cache.write_bytes(b"not an archive")
    assert len(fingerprint_clips(paths, cache, **settings)) == 3


def test_clips_are_fingerprinted_in_workers(family, tmp_path):
    (tmp_path / "text.mp4").write_text("no clip")
    paths = {"o0.mp4": family / "o0.mp4", "text.mp4": tmp_path / "text.mp4"}
    table = fingerprint_clips(paths, None, workers=1, quiet=True)
    assert table.reasons.tolist() == ["", "unreadable"]
    np.testing.assert_array_equal(table[0].frames, fingerprint_clip(family / "o0.mp4").frames)


def test_equal_files_are_found_by_content(tmp_path):
    def file(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    body = bytes(range(256)) * 200
    other_end = body[:-1] + b"?"
    left = {"a": file("a", body), "b": file("b", other_end), "empty": file("e", b""), "gone": tmp_path / "gone"}
    right = {"x": file("x", body), "y": file("y", body + b"."), "empty": file("e2", b""), "z": file("z", body)}
    assert equal_files(left, right) == [("a", "x"), ("a", "z")]
    assert equal_files(left, {}) == []
