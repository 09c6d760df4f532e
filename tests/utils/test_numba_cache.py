"""Cache folder of numba: the user's cache folder if it is writable, else a private temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support import REPOSITORY
from utils.numba_cache import set_numba_cache


@pytest.fixture(autouse=True)
def no_cache_folder(tmp_path, monkeypatch):
    """Start without `NUMBA_CACHE_DIR`, with a cache folder and a temporary folder below `tmp_path`."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


def refuse_writing(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)


def test_a_writable_cache_folder_is_left_to_numba(tmp_path):
    set_numba_cache()
    assert os.environ["NUMBA_CACHE_DIR"] == "" and not list((tmp_path / "temporary").iterdir())


def test_a_folder_that_the_user_set_is_kept(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "mine")
    refuse_writing(monkeypatch)
    set_numba_cache()
    assert os.environ["NUMBA_CACHE_DIR"] == "mine"


def test_without_a_writable_cache_folder_a_private_temporary_one_is_used_again(tmp_path, monkeypatch):
    refuse_writing(monkeypatch)
    folders = []
    for _ in range(2):
        os.environ["NUMBA_CACHE_DIR"] = ""
        set_numba_cache()
        folders.append(Path(os.environ["NUMBA_CACHE_DIR"]))
    assert folders[0] == folders[1] and folders[0].parent == tmp_path / "temporary"
    assert folders[0].stat().st_mode & 0o777 == 0o700


def test_a_temporary_folder_that_others_can_write_to_is_not_used(monkeypatch):
    refuse_writing(monkeypatch)
    set_numba_cache()
    shared = Path(os.environ["NUMBA_CACHE_DIR"])
    shared.chmod(0o777)
    os.environ["NUMBA_CACHE_DIR"] = ""
    set_numba_cache()
    private = Path(os.environ["NUMBA_CACHE_DIR"])
    assert private != shared and private.stat().st_mode & 0o777 == 0o700


def test_librosa_computes_without_a_writable_cache_folder(tmp_path):
    # numba checks its folders by creating files in them. Only the temporary folder may succeed.
    script = f"""
import os, sys, tempfile
sys.path.insert(0, {str(REPOSITORY)!r})
os.access = lambda path, mode: False
real = tempfile.TemporaryFile
def create(*arguments, dir=None, **options):
    if str(dir).startswith(tempfile.gettempdir()):
        return real(*arguments, dir=dir, **options)
    raise PermissionError(dir)
tempfile.TemporaryFile = create
import utils
import librosa
print(librosa.filters.mel(sr=16000, n_fft=512, n_mels=4).shape)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "(4, 257)", done.stderr
