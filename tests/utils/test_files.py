"""Atomic writes, file name checks and hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from utils.errors import UsageError, WriteError
from utils.files import (
    LOCK_NAME,
    atomic_path,
    existing_file,
    file_sha256,
    locked,
    unsafe_name,
    write_text_atomic,
    writing,
)


def test_atomic_write_creates_folders_and_respects_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        path = write_text_atomic(tmp_path / "a" / "b" / "c.txt", "größe\n")
    finally:
        os.umask(old)
    assert path.read_bytes() == "größe\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == ["c.txt"]


def test_failed_write_keeps_the_old_file_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = write_text_atomic(tmp_path / "c.json", "old")

    def fail_midway() -> None:
        with atomic_path(path) as temporary:
            assert temporary.suffix == ".json" and temporary.parent == path.parent
            temporary.write_text("half")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail_midway()
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("present", [True, False])
def test_a_symbolic_link_stays_a_link_to_the_new_file(tmp_path: Path, present: bool) -> None:
    target, link = tmp_path / "real" / "result", tmp_path / "link.csv"
    target.parent.mkdir()
    link.symlink_to(Path("real") / "result")
    if present:
        target.write_text("old")
    with atomic_path(link) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("new")
    assert link.is_symlink() and target.read_text() == "new"
    assert [entry.name for entry in target.parent.iterdir()] == ["result"]


def test_a_link_to_a_device_is_replaced_and_the_device_stays(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    write_text_atomic(link, "new")
    assert stat.S_ISFIFO(pipe.stat().st_mode) and not link.is_symlink() and link.read_text() == "new"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("/etc/passwd", "absolute"),
        ("\\\\server\\share\\a.mp4", "absolute"),
        ("C:\\a.mp4", "drive"),
        ("c:a.mp4", "drive"),
        ("../a.mp4", "'..'"),
        ("sub/../../a.mp4", "'..'"),
        ("sub\\..\\a.mp4", "'..'"),
        ("..", "'..'"),
        (".", "not name a file"),
        ("./", "not name a file"),
        ("a\0b.mp4", "NUL"),
    ],
)
def test_unsafe_names_are_rejected(name: str, why: str) -> None:
    assert why in unsafe_name(name)


@pytest.mark.parametrize(
    "name", ["a.mp4", "sub/a.mp4", "./a.mp4", "a..mp4", "..a.mp4", "a b/ü 映.mp4", ".hidden.mp4", "12:30.mp4"]
)
def test_safe_names_are_accepted(name: str) -> None:
    assert unsafe_name(name) is None


def test_missing_file_and_folder_are_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="label file does not exist"):
        existing_file(tmp_path / "a", "label file")
    with pytest.raises(UsageError, match="label file is a folder"):
        existing_file(tmp_path, "label file")


def test_hash_covers_the_whole_file(tmp_path: Path) -> None:
    content = os.urandom((1 << 20) + 17)
    (tmp_path / "a").write_bytes(content)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_undecodable_file_names_are_escaped(tmp_path):
    name = os.fsdecode(b"bad\xff.mp4")
    assert write_text_atomic(tmp_path / "out.csv", f"{name},1\n").read_bytes() == b"bad\\udcff.mp4,1\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES])
def test_a_full_or_protected_disk_is_reported_with_the_path_and_leaves_the_old_file(
    tmp_path: Path, number: int
) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("old")

    def write() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("ne")
            raise OSError(number, os.strerror(number))

    with pytest.raises(WriteError) as caught:
        write()
    assert str(caught.value) == f"{path} cannot be written: {os.strerror(number)}" and caught.value.exit_code == 1
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_runtime_error_caused_by_a_full_disk_is_reported(tmp_path: Path) -> None:
    def save() -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            raise RuntimeError("unexpected pos 801920 vs 801872")

    with pytest.raises(WriteError, match="No space left on device"), writing(tmp_path / "a.pth"):
        save()


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "no such file"), RuntimeError("a bug"), ValueError()]
)
def test_other_errors_propagate_unchanged(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, atomic_path(tmp_path / "a.csv"):
        raise error
    assert caught.value is error


def test_lock_excludes_other_processes_and_does_not_reword_errors_of_its_block(tmp_path: Path) -> None:
    attempt = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    command = [sys.executable, "-c", attempt, str(tmp_path / LOCK_NAME)]

    def fail() -> None:
        with locked(tmp_path):
            blocked = subprocess.run(command, capture_output=True, text=True, check=False)
            assert "BlockingIOError" in blocked.stderr
            raise PermissionError(errno.EACCES, "elsewhere")

    with pytest.raises(PermissionError, match="elsewhere"):
        fail()
    assert not subprocess.run(command, check=False).returncode
