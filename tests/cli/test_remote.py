"""Data roots, clips and scores at URLs, on fsspec's in-memory and local file systems."""

from __future__ import annotations

import shutil
from pathlib import Path

import fsspec
import pytest

import inference
import main
from dataset.packed.index import PackIndex, file_names, read_index
from dataset.packed.remote import fetch_packs
from engine.config import load_run_config
from engine.remote_clips import RemoteClips
from tests.dataset.extraction.conftest import contents, manifest
from tests.support import made_clips, one_sentence, random_checkpoint, write_root, write_split, write_tiny_config
from utils import extract_ffdv, pack_features
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


@pytest.fixture
def packed_url(folder, tmp_path, monkeypatch) -> tuple[Path, RemoteFolder]:
    """Return a small data root, and the URL that its packs have been uploaded to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = write_root(tmp_path / "small", train=8, val=4, test=1)
    config = str(write_tiny_config(root, train={"epochs": 1}, data={"source": "packed", "workers": 0}))
    assert run_command(pack_features.main, ["--config", config, "--quiet", "--upload", folder.url]) == 0
    return root, folder


def train(root: Path, location: str, name: str) -> str:
    """Train at a data root and return the predictions."""
    settings = ["--set", f"extract_path={location}", f"name={name}", "split.check=off"]
    assert run_command(main.main, ["--config", str(root / "tiny.yml"), *settings]) == 0
    (run,) = (root / "runs").glob(f"*_{name}")
    assert load_run_config(run / "config.yml").extract_path == location
    return (run / "predictions.csv").read_text()


def test_training_at_a_url_reads_copies_of_the_packs(packed_url, tmp_path) -> None:
    root, folder = packed_url
    assert train(root, folder.url, "remote") == train(root, str(root), "local")
    (copy,) = (tmp_path / "cache" / "multi-ffdv" / "packs").iterdir()
    files = {path: path.stat().st_mtime_ns for path in copy.rglob("*.bin")}
    assert files

    write_split(root, "valset", made_clips(6), seed=1)
    assert run_command(pack_features.main, ["--config", str(root / "tiny.yml"), "--upload", folder.url]) == 0
    assert fetch_packs(folder.url, {"trainset": "trainset_label.txt", "valset": "valset_label.txt"}, "_raw") == copy
    assert len((copy / "valset_label.txt").read_text().splitlines()) == 7
    kept = [path for path in files if path.exists()]
    assert {path.parts[-3] for path in kept} == {"trainset_raw"}
    assert all(path.stat().st_mtime_ns == files[path] for path in kept)
    assert sorted(path.name for path in copy.rglob("valset_raw/packed/*.bin")) == sorted(
        name.rpartition("/")[2] for name in folder.names() if name.startswith("valset_raw") and name.endswith(".bin")
    )


@pytest.mark.parametrize("folder", ["memory"], indirect=True)
@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("data.source=features", "training reads packs from URLs"),
        ("data.raw_suffix=_other", "trainset_other/packed has no pack; write one with"),
    ],
)
def test_url_without_packs_is_refused(packed_url, capsys, setting, words) -> None:
    root, folder = packed_url
    arguments = ["--config", str(root / "tiny.yml"), "--set", f"extract_path={folder.url}", setting]
    assert words in one_sentence(main.main, arguments, capsys)
    assert not (root / "runs").exists()


@pytest.mark.parametrize("folder", ["memory"], indirect=True)
def test_index_that_names_files_elsewhere_is_refused(packed_url, tmp_path, capsys) -> None:
    root, folder = packed_url
    name = "trainset_raw/packed/index.json"
    folder.download(name, tmp_path / "index.json")
    index = read_index(tmp_path)
    header = index.header.model_copy(update={"arrays": {"../../../mel": index.header.arrays["mel"]}})
    files = {role: index.files["clips"].model_copy(update={"name": file}) for role, file in file_names(header).items()}
    (tmp_path / "index.json").write_text(PackIndex(header=header, files=files).model_dump_json())
    folder.upload(tmp_path / "index.json", name)
    arguments = ["--config", str(root / "tiny.yml"), "--set", f"extract_path={folder.url}"]
    assert "index.json is damaged" in one_sentence(main.main, arguments, capsys)
    assert not list((tmp_path / "cache").rglob("*mel*"))


def test_commands_that_need_local_files_refuse_a_url(tmp_path, capsys) -> None:
    arguments = ["--data_root", f"file://{tmp_path}"]
    assert "copy it to a local disk" in one_sentence(pack_features.main, arguments, capsys)
