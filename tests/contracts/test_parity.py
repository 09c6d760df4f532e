"""A clip's score is the same from cached features, on the fly and in inference, and independent of other clips."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from engine.clip_search import find_videos
from engine.detector import Detector
from engine.score_files import ScoringOptions, score_table
from tests.support import write_video

ATOL = 1e-6
FIGURES = ["score", "logit", "evidence_head", "evidence_cosine"]


@pytest.fixture(scope="module")
def cached(clip_root, tmp_path_factory):
    """Return the scores computed from features on disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cached"))
        return clip_root.evaluate()


def infer(clip_root, paths, tta=1, **options):
    """Return the scores of inference by path."""
    detector = Detector.load(clip_root.checkpoint, "cpu", tta=tta)
    table = score_table(detector, paths, ScoringOptions(workers=1, quiet=True, **options))
    return table.set_index("video")


def test_each_clip_is_scored_by_its_available_inputs(cached):
    assert cached["reason"].tolist() == [
        *[""] * 4, "no_audio", "no_video", "one_frame", "unreadable", "missing_file"
    ]  # fmt: skip
    assert cached["status"].tolist() == ["ok"] * 4 + ["partial"] * 3 + ["failed"] * 2
    assert cached["logit"].notna().tolist() == [True] * 7 + [False] * 2
    assert (cached["evidence_cosine"][:4] != 0).all() and (cached["evidence_cosine"][4:7] == 0).all()
    assert cached["logit"][:7].nunique() == 7


def test_on_the_fly_equals_cached(clip_root, cached):
    video = clip_root.evaluate(data={"source": "video", "workers": 0})
    np.testing.assert_allclose(video[FIGURES], cached[FIGURES], atol=ATOL, rtol=0)
    assert video[["status", "reason"]].equals(cached[["status", "reason"]])


def test_scores_do_not_depend_on_batch_size_or_workers(clip_root, cached):
    one = clip_root.evaluate(eval={"batch_size": 1, "bootstrap": 100})
    many = clip_root.evaluate(eval={"batch_size": 32, "bootstrap": 100}, data={"workers": 2})
    np.testing.assert_allclose(one[FIGURES], cached[FIGURES], atol=ATOL, rtol=0)
    np.testing.assert_allclose(many[FIGURES], cached[FIGURES], atol=ATOL, rtol=0)


@pytest.mark.parametrize("batch_size", [1, 32])
def test_inference_equals_evaluation(clip_root, cached, batch_size):
    paths = [clip_root.videos / name for name in clip_root.names]
    scores = infer(clip_root, paths, batch_size=batch_size)
    assert scores.index.tolist() == [str(path) for path in paths]
    np.testing.assert_allclose(scores[FIGURES], cached[FIGURES], atol=ATOL, rtol=0)
    assert scores["reason"].tolist() == cached["reason"].tolist()
    assert scores["status"].tolist() == cached["status"].tolist()
    verdict = ["unscored" if np.isnan(score) else "fake" if score >= 0.5 else "real" for score in cached["score"]]
    assert scores["verdict"].tolist() == verdict


def test_score_does_not_depend_on_other_files_in_the_folder(clip_root, cached, tmp_path):
    folder = tmp_path / "other company"
    shutil.copytree(clip_root.videos / "sub folder", folder)
    shutil.copy(clip_root.videos / "a.mp4", folder)
    write_video(folder / "louder.webm.avi", 30)
    (folder / "notes.txt").write_text("no clip")
    paths = find_videos(folder)
    assert [path.name for path in paths] == ["a.mp4", "louder.webm.avi", "ça và.mp4"]
    scores = infer(clip_root, paths)
    for name in ("a.mp4", "sub folder/ça và.mp4"):
        found = scores.loc[str(folder / name.split("/")[-1]), FIGURES].to_numpy(float)
        np.testing.assert_allclose(found, cached.loc[name, FIGURES].to_numpy(float), atol=ATOL, rtol=0)


@pytest.mark.parametrize("tta", [1, 2, 4])
def test_tta_scores_are_deterministic_and_equal_in_all_paths(clip_root, cached, tta):
    first, second = (clip_root.evaluate(eval={"tta": tta, "bootstrap": 100}) for _ in range(2))
    assert first.equals(second)
    scores = infer(clip_root, [clip_root.videos / name for name in clip_root.names], tta=tta)
    np.testing.assert_allclose(scores[FIGURES], first[FIGURES], atol=ATOL, rtol=0)
    differs = np.abs(first["logit"] - cached["logit"])[:4].max() > 1e-5
    assert differs == (tta > 1)
