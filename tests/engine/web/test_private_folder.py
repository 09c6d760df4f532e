"""The private folder: its mode, the names in it, and when its files are deleted."""

from __future__ import annotations

import os
import stat
import time

import pytest

from engine.web.private_folder import PrivateFolder, plain_name


def test_temporary_folder_is_private_and_deleted():
    with PrivateFolder.temporary() as folder:
        upload = folder.new_file("clip.mp4")
        upload.write_bytes(b"clip")
        for path in (folder.root, folder.uploads, folder.jobs, folder.examples, upload.parent):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert folder.stored_bytes() == 4
    assert not folder.root.exists()


def test_temporary_folder_is_deleted_after_an_error():
    found = []

    def interrupted():
        with PrivateFolder.temporary() as folder:
            found.append(folder.new_file("clip.mp4"))
            found[0].write_bytes(b"clip")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not found[0].parent.parent.exists()


def test_job_takes_the_upload_and_deletes_it(folder):
    upload = folder.new_file("clip.mp4")
    upload.write_bytes(b"clip")
    with folder.job(upload) as clip:
        assert clip.read_bytes() == b"clip" and clip.name == "clip.mp4"
        assert not upload.parent.exists()
        with pytest.raises(FileNotFoundError), folder.job(upload):
            pass
    assert not clip.parent.exists() and not list(folder.jobs.iterdir())


def test_sweep_deletes_old_files_only(folder):
    old, new = folder.new_file("old.mp4"), folder.new_file("new.mp4")
    for path in (old, new):
        path.write_bytes(b"clip")
    an_hour_ago = time.time() - 3600
    for path in (old, old.parent):
        os.utime(path, (an_hour_ago, an_hour_ago))
    folder.sweep()
    assert not old.exists() and new.exists()


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("clip.mp4", "clip.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\clips\\a.mp4", "a.mp4"),
        ("a\0b.mp4", "ab.mp4"),
        ("", "clip"),
        ("..", "clip"),
        ("folder/", "clip"),
        ("ö" * 200 + ".mp4", "ö" * 58 + ".mp4"),
    ],
)
def test_plain_name_is_a_file_name(name, plain):
    assert plain_name(name) == plain
