"""Data roots, clips and scores at URLs, on fsspec's in-memory and local file systems."""

from __future__ import annotations

import shutil
from pathlib import Path

import fsspec
import pytest

import inference
from engine.remote_clips import RemoteClips
from tests.dataset.extraction.conftest import contents, manifest
from tests.support import one_sentence, random_checkpoint
from utils import extract_ffdv
from utils.command import run_command
from utils.remote import RemoteFolder, is_url

SETTINGS = ["--quiet", "--workers", "1", "--splits", "trainset", "--set", "features.video.top_k=32"]


@pytest.fixture
def memory():
    """Return the in-memory file system, empty before and after the test."""
    files = fsspec.filesystem("memory")
    for _ in range(2):
        for path in files.ls("/", detail=False):
            files.rm(path, recursive=True)
        if not _:
            yield files


@pytest.fixture(params=["memory", "file"])
def folder(request, memory, tmp_path) -> RemoteFolder:
    """Return an empty folder at a URL."""
    return RemoteFolder.at("memory://bucket/data" if request.param == "memory" else f"file://{tmp_path}/bucket/data")


def upload_tree(source: Path, folder: RemoteFolder) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            folder.upload(path, path.relative_to(source).as_posix())


def download_tree(folder: RemoteFolder, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    for name in folder.names():
        folder.download(name, target / name)
    return target


def rows(root: Path) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in manifest(root)]


def test_extraction_at_a_url_gives_the_files_of_a_local_one(folder, data_root, tmp_path, capsys) -> None:
    upload_tree(data_root, folder)
    assert run_command(extract_ffdv.main, ["--data_root", str(data_root), *SETTINGS]) == 0
    assert run_command(extract_ffdv.main, ["--data_root", folder.url, *SETTINGS]) == 0
    copy = download_tree(folder, tmp_path / "copy")
    assert contents(copy) == contents(data_root) and rows(copy) == rows(data_root)

    folder.remove("trainset_raw/video_feature/t3.mp4.npy")
    capsys.readouterr()
    assert run_command(extract_ffdv.main, ["--data_root", folder.url, *SETTINGS]) == 0
    assert "8 clips: 8 ok, 0 partial, 0 failed, 0 pending; 1 extracted now" in capsys.readouterr().out
    assert contents(download_tree(folder, tmp_path / "copy")) == contents(data_root)


def test_clip_that_is_missing_at_the_url_has_the_reason_of_a_local_one(folder, data_root, tmp_path) -> None:
    (data_root / "trainset" / "t2.mp4").unlink()
    upload_tree(data_root, folder)
    assert run_command(extract_ffdv.main, ["--data_root", folder.url, *SETTINGS]) == 0
    row = rows(download_tree(folder, tmp_path / "copy"))[2]
    assert (row["video_name"], row["status"], row["reason"]) == ("t2.mp4", "failed", "missing_file")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("checkpoint") / "best.pth")


def test_scores_of_a_folder_at_a_url_are_those_of_a_local_one(
    folder, checkpoint, pristine_root, tmp_path, capsys
) -> None:
    clips = pristine_root / "valset"
    upload_tree(clips, folder)
    common = ["--checkpoint", str(checkpoint), "--device", "cpu", "--quiet", "--workers", "1"]
    local, remote = tmp_path / "local.csv", f"{folder.url}/out/scores.csv"
    assert run_command(inference.main, ["--video_dir", str(clips), "--output", str(local), *common]) == 0
    assert run_command(inference.main, ["--video_dir", folder.url, "--output", remote, *common]) == 0
    folder.download("out/scores.csv", tmp_path / "remote.csv")
    written = (tmp_path / "remote.csv").read_text(encoding="utf-8")
    assert written.replace(folder.url, str(clips)) == local.read_text(encoding="utf-8")

    capsys.readouterr()
    report = ["--report", str(tmp_path / "report"), "--report_pages", "0"]
    assert (
        run_command(inference.main, ["--video_dir", folder.url, "--output", remote, "--resume", *report, *common]) == 0
    )
    assert (tmp_path / "report" / "report.html").is_file()
    assert "2 clips, 2 scored, 2 kept" in capsys.readouterr().out
    folder.download("out/scores.csv", tmp_path / "remote.csv")
    assert (tmp_path / "remote.csv").read_text(encoding="utf-8") == written


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--video_dir", "memory://nothing"], "no clip in it"),
        (["--video_dir", "nonsense://x"], "nonsense://x cannot be opened: Protocol not known"),
        (["--video_dir", "memory://x", "--output", "memory://x/"], "expected a name that ends in"),
        (["--video_dir", "memory://x", "--report", "r"], "add --report_pages 0"),
    ],
)
def test_wrong_urls_give_one_sentence(argv, words, checkpoint, memory, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    memory.pipe("/x/a.mp4", b"no clip")
    assert words in one_sentence(inference.main, [*argv, "--checkpoint", str(checkpoint)], capsys)


def test_features_at_a_url_are_not_clips(memory) -> None:
    names = ["a.mp4", "b.wav", "set_raw/features.json", "set_raw/wav_file/c.wav", "deep/set_raw2/d.wav"]
    for name in names:
        memory.pipe(f"/clips/{name}", b"")
    found = [str(clip) for clip in RemoteClips("memory://clips")]
    assert found == ["memory://clips/a.mp4", "memory://clips/b.wav", "memory://clips/deep/set_raw2/d.wav"]
    assert [str(clip) for clip in RemoteClips("memory://clips/set_raw")] == ["memory://clips/set_raw/wav_file/c.wav"]


def test_output_that_cannot_be_uploaded_is_kept(checkpoint, pristine_root, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").touch()
    argv = ["--video_dir", str(pristine_root / "valset"), "--output", f"file://{tmp_path}/file/scores.csv"]
    assert run_command(inference.main, [*argv, "--checkpoint", str(checkpoint), "--device", "cpu", "--quiet"]) == 1
    (kept,) = tmp_path.glob("multi-ffdv-*/scores.csv")
    assert f"the rows are in {kept}" in capsys.readouterr().err and len(kept.read_text().splitlines()) == 3


def test_urls_are_told_from_paths() -> None:
    assert is_url("s3://bucket/x") and is_url("simplecache::s3://bucket/x") and is_url("file:///x")
    assert not any(map(is_url, ["clips", "/a://b", "a::b", "C:\\clips", "./s3://x", None]))
