"""The speech-embedding expert from real clips to a checkpoint, with equal scores cached, on the fly and in inference."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.config import ExtractionConfig
from dataset.extraction import extract_split
from dataset.pseudo_fakes.build import build_pseudo_fakes
from dataset.pseudo_fakes.set_folder import LABELS, SetSettings
from engine.checkpoint import load_checkpoint
from engine.detector import Detector
from engine.evaluate import predict_split
from engine.fitting import fit_experts, voice
from engine.fitting.voice_examples import VoiceExampleCounts, VoiceTask, real_examples
from engine.run import open_required, split_of
from engine.score_files import ScoringOptions, score_table
from tests.fake_encoder import FAKE, BandsEncoder, fake_encoder  # noqa: F401  (a fixture)
from tests.support import FEATURE_CONFIG, tiny_config, write_video
from utils.features.speech_embedding import EMBEDDINGS_FOLDER

FEW = VoiceExampleCounts(real_copies=2, fake_copies=1)


@pytest.fixture(scope="module")
def fitted(fake_encoder, tmp_path_factory):  # noqa: F811
    clips, root, work = (tmp_path_factory.mktemp(name) for name in ("real", "made", "fit"))
    table = build_pseudo_fakes([write_video(clips / f"{n}.mp4", n) for n in range(3)], root, SetSettings(seed=1))
    config = tiny_config(
        root,
        output_dir=str(work / "runs"),
        fit={"cache": str(work / "cache")},
        label_name={"trainset": LABELS},
        features={"speech_encoder": FAKE},
        model={"name": "av_experts", "experts": {"speech_embedding": {}}},
        extraction={"workers": 1},
        data={"source": "video", "workers": 0},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voice, "VoiceExampleCounts", lambda: FEW)
        folder = fit_experts(config)
    return config, load_checkpoint(folder.best), table


def test_cached_on_the_fly_and_inference_scores_are_equal(fitted):
    config, checkpoint, table = fitted
    model = checkpoint.build()
    split = split_of(config, "trainset", checkpoint.features)
    extract_split(split, ExtractionConfig(workers=1), quiet=True)
    assert len(list((split.store.root / EMBEDDINGS_FOLDER).iterdir())) == len(table)

    def evaluated(source):
        sections = config.model_copy(update={"data": config.data.model_copy(update={"source": source})})
        clips = open_required(sections, "trainset", checkpoint.features, need_targets=False)
        device = next(model.buffers()).device
        scored = predict_split(
            model, clips, checkpoint.features, config, device=device, calibration=checkpoint.calibration
        )
        return scored["logit"].to_numpy()

    calls = BandsEncoder.calls
    cached = evaluated("features")
    assert BandsEncoder.calls == calls
    on_the_fly = evaluated("video")
    paths = [split.video_path(name) for name in table["video_name"]]
    inferred = score_table(Detector(checkpoint, device="cpu"), paths, ScoringOptions(workers=1, quiet=True))
    assert np.isfinite(cached).all() and np.unique(cached).size > 1
    np.testing.assert_array_equal(on_the_fly, cached)
    np.testing.assert_array_equal(inferred["logit"], cached)


def test_clip_without_audio_is_unscored(fitted, tmp_path):
    mute = write_video(tmp_path / "mute.mp4", 0, audio=False)
    scores = score_table(Detector(fitted[1], device="cpu"), [mute], ScoringOptions(workers=1, quiet=True))
    assert scores["verdict"].tolist() == ["unscored"]


def test_forgeries_do_not_depend_on_the_features():
    runs: list[list[np.ndarray]] = []
    waveform = np.random.default_rng(0).normal(size=32_000).astype(np.float32)
    for _ in range(2):
        windows: list[np.ndarray] = []
        runs.append(windows)

        def keep(window, windows=windows):
            windows.append(window)
            return np.zeros(len(windows) % 2 + 1)[:1]

        real_examples(waveform, np.random.default_rng(5), FEW, keep)
    assert len(runs[0]) == 9
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("fake_encoder")
def test_examples_of_another_encoder_have_another_cache_file(tmp_path):
    plain = VoiceTask("a", tmp_path, "", "real", FEATURE_CONFIG, FEW, 0, tmp_path)
    encoded = VoiceTask("a", tmp_path, "", "real", FEATURE_CONFIG, FEW, 0, tmp_path, FAKE)
    assert plain.cache_path != encoded.cache_path
