"""Files of an extracted split: layout, contents, names and links."""

from __future__ import annotations

import json
import os
import shutil
import wave
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset.manifest import COLUMNS
from tests.dataset.extraction.conftest import SMALL_K, contents, extract, label, manifest, times
from utils.features.extract import extract_clip


def test_extraction_writes_the_documented_layout_and_contents(extracted: Path) -> None:
    names = [f"t{index}.mp4" for index in range(8)]
    expected = {"features.json"}
    for name in names:
        expected |= {f"audio_feature/{name}.jpg", f"video_feature/{name}.npy", f"wav_file/{Path(name).stem}.wav"}
    assert set(contents(extracted)) == expected
    rows = manifest(extracted)
    assert list(rows[0]) == COLUMNS and [row["video_name"] for row in rows] == names
    assert {row["status"] for row in rows} == {"ok"} and {row["has_audio"] for row in rows} == {"1"}
    assert rows[0]["n_frames"] == "8" and rows[0]["fps"] == "25.000" and float(rows[0]["seconds"]) > 0

    folder = extracted / "trainset_raw"
    features = extract_clip(extracted / "trainset" / "t3.mp4", SMALL_K)
    covariance = np.load(folder / "video_feature" / "t3.mp4.npy", allow_pickle=False)
    assert covariance.shape == (32, 32) and covariance.dtype == np.float32
    np.testing.assert_array_equal(covariance, features.values["covariance"])
    assert (folder / "audio_feature" / "t3.mp4.jpg").read_bytes() == features.values["mel"]
    picture = cv2.imread(str(folder / "audio_feature" / "t3.mp4.jpg"), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (256, 256) and picture.dtype == np.uint8
    with wave.open(str(folder / "wav_file" / "t3.wav")) as stored:
        assert (stored.getframerate(), stored.getnchannels(), stored.getsampwidth()) == (22050, 1, 2)
        assert stored.getnframes() / 22050 == pytest.approx(float(rows[3]["duration_s"]), abs=0.006)
    config = json.loads((folder / "features.json").read_text())
    assert config["fingerprint"] == SMALL_K.fingerprint() and config["features"]["video"]["top_k"] == 32


def test_shared_stems_and_sub_folders_have_distinct_wav_files(data_root: Path, media) -> None:
    names = ["a.mp4", "a.mkv", "a.mp4.mkv", "sub/a.mp4", "./sub/b.mp4", "no_suffix", ".hidden.mp4", "ü, 映 x.mp4"]
    for seed, name in enumerate(names):
        path = media.clip(data_root / "trainset" / (name if "." in name else f"{name}.mp4"), seed=seed)
        path.rename(data_root / "trainset" / name)
    label(data_root, *names)
    assert extract(data_root).statuses["ok"] == len(names)
    waves = {name.removeprefix("wav_file/") for name in contents(data_root) if name.startswith("wav_file")}
    assert waves == {
        "a.mp4.wav",
        "a.mkv.wav",
        "a.mp4.mkv.wav",
        "sub/a.wav",
        "sub/b.wav",
        "no_suffix.wav",
        ".hidden.wav",
        "ü, 映 x.wav",
    }
    assert len({contents(data_root)[f"wav_file/{wave}"] for wave in waves}) == len(names)
    before = times(data_root)
    assert extract(data_root).n_new == 0 and times(data_root) == before


def test_links_are_followed(data_root: Path, tmp_path: Path) -> None:
    shutil.move(data_root / "trainset", tmp_path / "elsewhere")
    (data_root / "trainset").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "features").mkdir()
    (data_root / "trainset_raw").symlink_to(tmp_path / "features")
    target = (tmp_path / "elsewhere" / "t0.mp4").rename(tmp_path / "t0.mp4")
    (tmp_path / "elsewhere" / "t0.mp4").symlink_to(target)
    assert extract(data_root).statuses["ok"] == 8
    assert (tmp_path / "features" / "video_feature" / "t0.mp4.npy").is_file()


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_feature_folder_may_link_to_another_file_system(data_root: Path, tmp_path: Path) -> None:
    other = Path("/dev/shm") / f"features-{os.getpid()}"
    other.mkdir()
    try:
        if other.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("/dev/shm is on the same file system")
        (data_root / "trainset_raw").mkdir()
        (data_root / "trainset_raw" / "wav_file").symlink_to(other)
        (data_root / "trainset_raw" / "features.json").write_text("{}")
        assert extract(data_root, overwrite=True).statuses["ok"] == 8
        assert sorted(path.name for path in other.iterdir()) == [f"t{index}.wav" for index in range(8)]
    finally:
        shutil.rmtree(other)
