"""The covariance figure: its values, unusual clips, and the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.report.covariance_picture import ClipHistograms, block_mean_covariance, draw_covariance
from utils.media.writer import write_clip

COMMAND = Path(__file__).resolve().parents[3] / "utils" / "draw_covariance.py"


def histograms(n_frames: int, seed: int = 0) -> np.ndarray:
    """Return random histograms (T, 256)."""
    return np.random.default_rng(seed).integers(0, 1000, (n_frames, 256))


def test_short_clip_equals_numpy_covariance() -> None:
    rows = histograms(40)
    assert np.allclose(block_mean_covariance(rows), np.cov(rows))


def test_long_clip_equals_block_mean_of_covariance() -> None:
    rows = histograms(60)
    full = np.cov(rows)
    assert np.allclose(block_mean_covariance(rows, max_frames=20), full.reshape(20, 3, 20, 3).mean(axis=(1, 3)))


@pytest.mark.parametrize("n_frames", [0, 1, 2, 1500])
def test_clips_of_any_length_are_drawn(tmp_path: Path, n_frames: int) -> None:
    clips = [ClipHistograms("$real_", histograms(30)), ClipHistograms("new\nline.mp4", histograms(n_frames))]
    path = draw_covariance(tmp_path / "new" / "picture.png", clips, dpi=50)
    with Image.open(path) as picture:
        assert picture.width > picture.height
    assert [entry.name for entry in path.parent.iterdir()] == ["picture.png"]


def test_constant_clip_and_many_clips_are_drawn(tmp_path: Path) -> None:
    clips = [ClipHistograms(str(index), np.full((9, 256), 7)) for index in range(5)]
    assert draw_covariance(tmp_path / "picture.png", clips, top_k=4, dpi=30).stat().st_size > 0


def test_wrong_shapes_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no clip"):
        draw_covariance(tmp_path / "picture.png", [])
    with pytest.raises(ValueError, match=r"\(T, 256\)"):
        draw_covariance(tmp_path / "picture.png", [ClipHistograms("a", np.zeros((4, 4)))])


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder`."""
    command = [sys.executable, str(COMMAND), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


def test_command_draws_several_clips(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name, n_frames in (("real clip.mp4", 12), ("one frame.mp4", 1)):
        write_clip(tmp_path / name, generator.integers(0, 255, (n_frames, 48, 64, 3), dtype=np.uint8))
    done = run(tmp_path, "--video_path", "real clip.mp4", "one frame.mp4", "--output", "out/picture.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_command_reports_bad_input_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a clip")
    cases = {
        ("absent.mp4", "a.png"): 2,
        (".", "a.png"): 2,
        ("text.mp4", "a.jpg"): 2,
        ("text.mp4", "a.png"): 1,
    }
    for (clip, output), code in cases.items():
        done = run(tmp_path, "--video_path", clip, "--output", output)
        assert done.returncode == code, done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.png"))
