"""The synthetic-speech expert from labelled audio files to a checkpoint, with equal scores on every path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soxr
import torch
from scipy.signal import lfilter
from sklearn.svm import SVC

from dataset import workers
from engine.checkpoint import Checkpoint, load_checkpoint
from engine.config import RunConfig
from engine.detector import Detector
from engine.fitting import base, fit_experts, labelled_clips
from engine.fitting.synthetic_speech import (
    SpeechTask,
    SyntheticSpeechFitter,
    fit_machine,
    store_speech,
)
from engine.run import run_evaluation
from models.experts.evidence import clip_evidence
from models.experts.synthetic_speech import STATISTICS, SyntheticSpeechConfig, SyntheticSpeechExpert
from tests.in_process import in_process
from tests.support import FEATURE_CONFIG, tiny_config
from utils.cache import content_key
from utils.errors import UsageError, WorkError
from utils.features.voice import VOICE_RATE_HZ
from utils.media.writer import write_clip

PER_CLASS = 6
ENOUGH = 4
"""Smallest class outside a fold: two thirds of `PER_CLASS`."""

FOLDS = 3
NAME = "synthetic_speech"
CODECS = {".wav": "pcm_s16le", ".flac": "flac", ".ogg": "libopus"}
OTHERS = {"video fake.wav": (1, "FVRA"), "unknown fake.wav": (1, ""), "short.wav": (0, ""), "absent.wav": (0, "")}
"""Clips that the expert is not fitted on: fakes whose voice is genuine or not labelled, and unusable files."""


def voice(seed: int, *, synthetic: bool, seconds: float = 1.4) -> np.ndarray:
    """Return vowels (S,) in [-1, 1] of random formants. A real voice is excited by pulses, a synthetic one by noise."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * VOICE_RATE_HZ)) / VOICE_RATE_HZ
    pitch_hz = rng.uniform(90, 220) * (1 + 0.05 * np.sin(2 * np.pi * 3 * time_s))
    phase = np.cumsum(pitch_hz) / VOICE_RATE_HZ
    pulses = np.diff(np.floor(phase), prepend=0) * 8
    wave = rng.standard_normal(len(time_s)) if synthetic else pulses + 0.02 * rng.standard_normal(len(time_s))
    for formant_hz in rng.uniform([300, 900, 2200], [800, 1800, 3000]):
        radius = np.exp(-np.pi * 120 / VOICE_RATE_HZ)
        wave = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * formant_hz / VOICE_RATE_HZ), radius**2], wave)
    wave = wave * (1.1 + np.sin(2 * np.pi * 4 * time_s))
    return 0.4 * wave / np.abs(wave).max()


def write_voice(path: Path, seed: int, *, synthetic: bool, seconds: float = 1.4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = soxr.resample(voice(seed, synthetic=synthetic, seconds=seconds), VOICE_RATE_HZ, 48_000)
    write_clip(path, None, 25, wave, 48_000, audio_codec=CODECS[path.suffix])
    return path


def write_root(root: Path) -> Path:
    """Write audio files of both classes and `OTHERS`, with their labels and folds."""
    rows = []
    for number in range(2 * PER_CLASS):
        synthetic = number % 2 == 1
        name = f"{number:02d}{list(CODECS)[number // 4]}"
        write_voice(root / "trainset" / name, number, synthetic=synthetic)
        rows.append((name, int(synthetic), "RVFA" if synthetic else "", number // 2 % FOLDS))
    for number, (name, (target, modality)) in enumerate(OTHERS.items()):
        if name != "absent.wav":
            seconds = 0.5 if name == "short.wav" else 1.4
            write_voice(root / "trainset" / name, 100 + number, synthetic=False, seconds=seconds)
        rows.append((name, target, modality, number % FOLDS))
    table = pd.DataFrame(rows, columns=["video_name", "target", "modality", "fold"])
    table.to_csv(root / "trainset_label.txt", index=False)
    table.to_csv(root / "valset_label.txt", index=False)
    return root


def config_of(root: Path, **sections) -> RunConfig:
    return tiny_config(
        root,
        output_dir=str(root / "runs"),
        fit={"cache": str(root / "cache")},
        model={"name": "av_experts", "experts": {NAME: {"weights": "none"}}},
        extraction={"workers": 1},
        data={"source": "video", "workers": 0, "video_dir": {"valset": "trainset"}},
        split={"check": "off"},
        **sections,
    )


@pytest.fixture(scope="module", autouse=True)
def small_and_in_process():
    """Use shorter utterances and smaller classes, and no worker processes, which would lack these changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("utils.features.utterance.UTTERANCE_SAMPLES", VOICE_RATE_HZ)
        patch.setattr("utils.features.utterance.SPACING_S", 0.25)
        patch.setattr("engine.fitting.synthetic_speech.LEAST_PER_CLASS", ENOUGH)
        for module in (base, workers):
            patch.setattr(module, "run_in_workers", lambda function, tasks, **_: in_process(function, tasks))
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("voices"))


@pytest.fixture(scope="module")
def gathered(root: Path) -> SyntheticSpeechFitter:
    config = config_of(root)
    fitter = SyntheticSpeechFitter.gather(labelled_clips(config), config)
    assert fitter is not None
    return fitter


@pytest.fixture(scope="module")
def fitted(root: Path, gathered: SyntheticSpeechFitter) -> tuple[pd.DataFrame, Checkpoint, Path]:
    """Return the out-of-fold predictions by clip name, the checkpoint, and its path."""
    folder = fit_experts(config_of(root))
    predictions = pd.read_csv(folder.path / "predictions.csv").set_index("video_name")
    return predictions, load_checkpoint(folder.best), folder.best


def test_voices_are_separated_out_of_fold(fitted) -> None:
    predictions, _, _ = fitted
    logit = predictions["logit"].iloc[: 2 * PER_CLASS].to_numpy()
    assert logit[1::2].min() > logit[0::2].max()
    assert fitted[1].calibration.is_fitted, "a missing file does not prevent the calibration"


def test_other_clips_are_scored_only(gathered: SyntheticSpeechFitter, fitted) -> None:
    assert gathered.counts().tolist() == [PER_CLASS, PER_CLASS]
    assert gathered.chosen().tolist() == list(range(2 * PER_CLASS))
    copies = [len(clip.processed) for clip in gathered.speech]
    assert min(copies[: 2 * PER_CLASS]) == 2 and max(copies[2 * PER_CLASS :]) == 0
    predictions, _, _ = fitted
    scored = predictions["logit"].notna()
    assert scored["video fake.wav"] and scored["unknown fake.wav"] and not scored["short.wav"]
    assert predictions["logit"]["video fake.wav"] < predictions["logit"].iloc[1 : 2 * PER_CLASS : 2].min()


def test_fit_does_not_use_the_held_out_fold(gathered: SyntheticSpeechFitter) -> None:
    speech = list(gathered.speech)
    for number in np.flatnonzero(gathered.folds == 1):
        speech[number] = speech[0]
    other = SyntheticSpeechFitter(speech, gathered.is_real, gathered.is_synthetic, gathered.folds)
    states = []
    for seed, fitter in enumerate((gathered, other)):
        expert = SyntheticSpeechExpert(SyntheticSpeechConfig(weights="none"))
        fitter.fit(expert, seed=seed, without_fold=1)
        states.append(expert.state_dict())
    for name, buffer in states[0].items():
        assert torch.equal(states[1][name], buffer), name
    assert other.key != gathered.key and len(gathered.score_pseudo_fakes(expert, 1)) == 0


def test_fitted_scores_equal_evaluation_and_detector_scores(root, gathered, fitted, tmp_path, monkeypatch) -> None:
    _, checkpoint, path = fitted
    monkeypatch.chdir(tmp_path)
    evaluated = pd.read_csv(run_evaluation(config_of(root), str(path)).path / "predictions.csv").set_index("video_name")
    expert = checkpoint.build().get_submodule(f"experts.{NAME}")
    raw = torch.from_numpy(gathered.score(expert, np.arange(len(gathered.speech))))
    evidence = clip_evidence(expert.slope * raw + expert.bias, checkpoint.model["bound"])
    expected = (evidence - expert.typical).numpy()
    np.testing.assert_allclose(evaluated["logit"], expected, atol=1e-5)
    assert evaluated.index[np.isnan(expected)].tolist() == ["short.wav", "absent.wav"]

    scoring = Detector.load(path, device="cpu")
    for name in ("00.wav", "05.flac", "10.ogg", "unknown fake.wav"):
        score = scoring.score(root / "trainset" / name)
        assert score.logit == pytest.approx(evaluated["logit"][name], abs=1e-6)
        assert (score.status, score.reason, set(score.evidence)) == ("partial", "no_video", {NAME})
    short = scoring.score(root / "trainset" / "short.wav")
    assert short.verdict == "unscored" and short.score is None


def test_checkpoint_contains_the_classifier_and_the_network(fitted) -> None:
    _, checkpoint, _ = fitted
    weights = checkpoint.build().state_dict()
    vectors = weights[f"experts.{NAME}.machine.vectors"]
    assert vectors.dtype == torch.int8 and vectors.shape[1] == STATISTICS and len(vectors) > 1
    random = SyntheticSpeechExpert(SyntheticSpeechConfig())
    random.texture.start("none")
    for name, value in random.texture.state_dict().items():
        assert torch.equal(weights[f"experts.{NAME}.texture.{name}"], value)


def test_second_fit_reads_the_cache_only(root, fitted, monkeypatch) -> None:
    computed: list[str] = []

    def recorded(function, tasks, **_):
        computed.extend(task.name for task in tasks)
        return in_process(function, tasks)

    monkeypatch.setattr(base, "run_in_workers", recorded)
    again = fit_experts(config_of(root))
    assert computed == ["absent.wav"], "a clip that could not be read is tried again"
    assert load_checkpoint(again.best).calibration == fitted[1].calibration


@pytest.mark.parametrize("modality", ["FVRA", ""])
def test_expert_is_left_out_without_labelled_synthetic_voices(root, gathered, caplog, modality) -> None:
    clips = labelled_clips(config_of(root))
    clips.table.labels["modality"] = np.where(clips.target == 1, modality, "")
    assert SyntheticSpeechFitter.gather(clips, config_of(root)) is None
    (warning,) = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert warning == (
        f"the synthetic_speech expert is left out: 0 labelled voices of one class outside a fold; it needs {ENOUGH}"
    )


def test_one_class_is_rejected(gathered: SyntheticSpeechFitter) -> None:
    none = np.zeros(len(gathered.folds), bool)
    reals_only = SyntheticSpeechFitter(gathered.speech, gathered.is_real, none, gathered.folds)
    with pytest.raises(WorkError, match="one class"):
        reals_only.fit(SyntheticSpeechExpert(SyntheticSpeechConfig()), seed=0)


def test_missing_weights_are_reported_before_decoding(root, monkeypatch) -> None:
    def missing(*_, **__):
        raise UsageError("weights are missing")

    monkeypatch.setattr("models.blocks.speech_texture.packaged_tensors", missing)
    monkeypatch.setattr("engine.fitting.synthetic_speech.store_speech", lambda _: pytest.fail("decoded"))
    section = {"name": "av_experts", "experts": {NAME: {}}}
    with pytest.raises(UsageError, match="weights are missing"):
        fit_experts(tiny_config(root, model=section, fit={"cache": str(root / "other")}))


def test_file_name_depends_on_everything_that_affects_its_content(root, tmp_path) -> None:
    path = root / "trainset" / "00.wav"
    settings = {
        "copies": 1,
        "noisy": False,
        "features": FEATURE_CONFIG,
        "weights": "none",
        "seed": 0,
        "folder": tmp_path,
    }
    changes = (
        {},
        {"copies": 2},
        {"noisy": True},
        {"weights": "package"},
        {"seed": 1},
        {"content": "other"},
        {"name": "b"},
    )
    tasks = [
        SpeechTask(**{"name": "a", "path": path, "content": content_key(path), **settings, **one}) for one in changes
    ]
    assert len({task.cache_path for task in tasks}) == len(tasks)
    assert store_speech(tasks[0]) == "" and tasks[0].cache_path.is_file()
    first = tasks[0].cache_path.read_bytes()
    store_speech(tasks[0])
    assert tasks[0].cache_path.read_bytes() == first
    absent = SpeechTask(name="a", path=root / "absent.wav", content="", **settings)
    assert store_speech(absent) == "missing_file"


def test_classifier_equals_the_librarys_with_balanced_classes() -> None:
    rng = np.random.default_rng(0)
    is_synthetic = np.arange(60) % 3 == 0
    examples = (rng.standard_normal((60, STATISTICS)) + 0.3 * is_synthetic[:, None]).astype(np.float32)
    weights = np.where(np.arange(60) < 40, 1.0, 0.25)
    expert = SyntheticSpeechExpert(SyntheticSpeechConfig())
    fit_machine(expert, examples, is_synthetic, weights)
    rows = expert.machine.scaled(torch.from_numpy(examples))
    stored = (expert.machine.levels(rows) * expert.machine.step).numpy()
    balance = np.where(is_synthetic, weights[~is_synthetic].sum(), weights[is_synthetic].sum()) * weights
    balance *= weights.sum() / balance.sum()
    library = SVC(C=expert.config.cost, gamma=expert.config.gamma).fit(stored, is_synthetic, sample_weight=balance)
    expected = library.decision_function(rows.numpy())
    np.testing.assert_allclose(expert.machine(torch.from_numpy(examples)), expected, atol=1e-4)


def test_folder_of_synthetic_voices_is_trained_on_in_every_fold(
    root: Path, gathered: SyntheticSpeechFitter, tmp_path: Path
) -> None:
    write_voice(tmp_path / "voices" / "extra.wav", 500, synthetic=True)
    config = config_of(root)
    config = config.model_copy(
        update={"fit": config.fit.model_copy(update={"synthetic_voices": str(tmp_path / "voices")})}
    )
    fitter = SyntheticSpeechFitter.gather(labelled_clips(config), config)
    assert fitter is not None and fitter.key != gathered.key
    for fold in (None, *range(FOLDS)):
        np.testing.assert_array_equal(fitter.counts(fold), gathered.counts(fold) + [0, 1])
