"""Golden logits. A swapped colour order or another resampler changes them and fails here.

The clips are rendered by the demo set and stored losslessly, so no lossy encoder affects them. If a change of the
logits is intended, run ``python -m pytest -s tests/golden``, copy the printed logits here, and justify them in the
commit message.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engine.checkpoint import Checkpoint, load_checkpoint
from engine.detector import Detector
from engine.score_files import ScoringOptions, score_table
from models import build_model
from models.registry import model_config
from tests.support import head_frames, head_voice
from utils.features.config import FeatureConfig
from utils.media.writer import write_clip

SHIPPED = Path(__file__).resolve().parents[2] / "checkpoint" / "default.pth"
TOLERANCE = 1e-3
FPS, FRAMES, SIZE_PX = 25, 50, 192
HEAD_GAIN = 1e4

GOLDEN = {
    "default.pth": {
        "logit": (3.160364, 0.035367),
        "evidence_synthetic_speech": (0.318431, 0.241694),
        "evidence_face": (0.243212, -0.212715),
        "evidence_motion": (2.59872, 0.006387),
    },
    "ffdv_cov": {"logit": (2.639043, 2.263721)},
    "mel_baseline": {"logit": (-1.589381, -2.067867)},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Render two talking heads as lossless 4:2:0 video with 16-bit PCM: mono at 16 kHz, and stereo at 44.1 kHz."""
    folder = tmp_path_factory.mktemp("golden")
    voices = {0: head_voice(0, FRAMES / FPS), 3: head_voice(3, FRAMES / FPS)}
    waveforms = {0: (voices[0], 16_000), 3: (np.stack([voices[3], 0.5 * voices[3]], axis=1), 44_100)}
    paths = []
    for identity, (waveform, rate_hz) in waveforms.items():
        path = folder / f"head{identity}.mkv"
        frames = head_frames(identity, FRAMES, SIZE_PX)
        write_clip(path, frames, FPS, waveform, rate_hz, video_codec="ffv1", audio_codec="pcm_s16le")
        paths.append(path)
    return paths


def seeded_checkpoint(name: str) -> Checkpoint:
    """Save a checkpoint of a published system, initialised from a fixed seed.

    The signal shrinks from layer to layer of a deep random network; a gain on the last layer brings the logit of
    System B near 1.
    """
    torch.manual_seed(0)
    section = model_config({"name": name, "pretrained": False}).model_dump()
    features = FeatureConfig()
    model = build_model(section, features)
    if name == "mel_baseline":
        *_, head = (module for module in model.modules() if isinstance(module, nn.Linear))
        head.weight.data *= HEAD_GAIN
    return Checkpoint(model=section, features=features, weights=model.state_dict())


@pytest.mark.parametrize("name", GOLDEN)
def test_scores_equal_golden_values(name: str, clips: list[Path]):
    checkpoint = load_checkpoint(SHIPPED) if name == "default.pth" else seeded_checkpoint(name)
    table = score_table(Detector(checkpoint, device="cpu"), clips, ScoringOptions(workers=1, quiet=True))
    found = {column: tuple(table[column].astype(float)) for column in GOLDEN[name]}
    print(name, {column: [round(value, 6) for value in values] for column, values in found.items()})
    for column, golden in GOLDEN[name].items():
        np.testing.assert_allclose(found[column], golden, atol=TOLERANCE, rtol=0, err_msg=f"{name}: {column}")


@pytest.mark.parametrize("name", ["ffdv_cov", "mel_baseline"])
def test_golden_logits_depend_on_the_clip(name: str):
    first, second = GOLDEN[name]["logit"]
    assert abs(first - second) > 10 * TOLERANCE
