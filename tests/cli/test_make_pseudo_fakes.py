"""`utils/make_pseudo_fakes.py`: files, output, and errors."""

from __future__ import annotations

import pandas as pd
import pytest

from dataset.pseudo_fakes import build
from tests.support import one_sentence, write_head, write_video
from utils.make_pseudo_fakes import main


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number in range(2):
        write_head(folder / f"{number}.mp4", number, frames=30)
    return folder


@pytest.mark.parametrize("modality", ["audio", "video", "both"])
def test_clips_and_labels_are_written_and_counted(modality, videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "AUTOENCODER_STEPS", 1)
    arguments = ["--video_dir", str(videos), "--output", str(tmp_path / "set"), "--modality", modality]
    assert main(arguments) == 0
    assert capsys.readouterr().out.endswith("2 real and 2 forged clips\n")
    labels = pd.read_csv(tmp_path / "set" / "trainset_label.txt")
    assert labels["target"].tolist() == [0, 1, 0, 1] and labels["group"].nunique() == 2
    assert all((tmp_path / "set" / "trainset" / name).is_file() for name in labels["video_name"])
    assert main(arguments) == 0, "a finished set is not rebuilt"
    assert "made with another seed" in one_sentence(main, [*arguments, "--seed", "7"], capsys)
    (tmp_path / "set" / "pseudo_fakes.json").unlink()
    assert "already contains a" in one_sentence(main, arguments, capsys)


def test_clips_without_a_face_are_an_error(tmp_path, capsys):
    write_video(tmp_path / "videos" / "noise.mp4", 0)
    arguments = ["--video_dir", str(tmp_path / "videos"), "--output", str(tmp_path / "set"), "--modality", "video"]
    assert "0 of 1 clips have a face" in one_sentence(main, arguments, capsys, code=1)
    assert "--modality" in one_sentence(main, [*arguments[:-1], "smell"], capsys)
