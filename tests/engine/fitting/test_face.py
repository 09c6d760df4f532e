"""Fitting of the face expert: training data, held-out folds, and scores equal to inference."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from dataset.batch import collate
from dataset.clips import ClipTable
from dataset.pseudo_fakes.common import REAL
from dataset.samples import InputLayout, make_sample
from dataset.splits import Split
from engine.fitting import LabelledClips, base, face
from engine.fitting.face import FaceFitter, LabelledFaces
from engine.fitting.face_examples import FaceExampleCounts, FaceExamples, pairs_file, read_examples
from engine.fitting.forgery_localizer import RealFakePairs, fit_localizer, localizer_loss
from engine.run import split_of
from models.experts.face import FaceConfig, FaceExpert
from tests.in_process import in_process
from tests.support import BACKBONE, WITH_FACE, tiny_config, write_head, write_video
from utils.errors import UsageError, WorkError
from utils.features.extract import extract_clip

SECTION = {"backbone": BACKBONE, "weights": "none", "place_nets": 2, "place_steps": 3}
FEW = FaceExampleCounts(rounds=1, fakes_per_round=2, families=("low_resolution", "frozen_mouth"), autoencoder_steps=0)
HEADS = 6
FOLDS = np.array([0, 0, 1, 1, 2, 2, 0, 1])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Write six rendered heads, the last labelled fake, a clip without a face, and a text file."""
    folder = tmp_path_factory.mktemp("root")
    for number in range(HEADS):
        write_head(folder / "trainset" / f"{number}.mp4", number, frames=26)
    write_video(folder / "trainset" / "6.mp4", 0)
    (folder / "trainset" / "7.mp4").write_text("no clip")
    return folder


@pytest.fixture(scope="module")
def config(root):
    features = {"face": True}
    model = {"name": "av_experts", "experts": {"face": SECTION}}
    return tiny_config(
        root, features=features, model=model, extraction={"workers": 1}, fit={"cache": str(root / "cache")}
    )


@pytest.fixture(scope="module")
def clips(config) -> LabelledClips:
    return labelled(split_of(config, "trainset", config.features), [0, 0, 0, 0, 0, 1, 0, 0])


def labelled(split: Split, target: list[int]) -> LabelledClips:
    labels = pd.DataFrame({"video_name": [f"{number}.mp4" for number in range(8)], "target": target})
    groups = np.array(["a", "a", "b", "b", "c", "c", "d", "d"])
    return LabelledClips(ClipTable(split, labels, None), FOLDS, groups)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fitter(clips, config):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(face, "FaceExampleCounts", lambda: FEW)
        return FaceFitter.gather(clips, config)


@pytest.fixture(scope="module")
def expert(fitter) -> FaceExpert:
    expert = FaceExpert(FaceConfig(**SECTION))
    fitter.fit(expert, seed=0, without_fold=0)
    return expert


def test_pseudo_fakes_are_made_from_real_faces_only(fitter):
    assert sorted(fitter.training) == [0, 1, 2, 3, 4]
    for one in fitter.training.values():
        own, examples = one.statistics()
        families = read_examples(one.examples).families.tolist()
        assert families[0] == REAL and sorted(families[1:]) == ["frozen_mouth", "low_resolution"]
        assert examples.shape == (3, len(own)) and np.isfinite(examples).all() and np.isfinite(own).all()


def test_second_gather_reads_the_cache_only(fitter, clips, config, monkeypatch):
    monkeypatch.setattr(face, "FaceExampleCounts", lambda: FEW)

    def unreadable_clip_only(function, tasks, **_):
        assert [task.name for task in tasks] == ["7.mp4"]
        return in_process(function, tasks)

    monkeypatch.setattr(base, "run_in_workers", unreadable_clip_only)
    assert FaceFitter.gather(clips, config).key == fitter.key


def test_truncated_examples_and_textures_are_rebuilt(fitter, clips, config, monkeypatch):
    monkeypatch.setattr(face, "FaceExampleCounts", lambda: FEW)
    one = fitter.training[2]
    before = [read_examples(one.examples).pairs.copy(), one.statistics()[1]]
    for file in (pairs_file(one.examples), one.texture, one.clip.path):
        file.write_bytes(file.read_bytes()[:200])
    again = FaceFitter.gather(clips, config)
    assert again.key == fitter.key
    np.testing.assert_array_equal(read_examples(one.examples).pairs, before[0])
    np.testing.assert_array_equal(one.statistics()[1], before[1])


def test_same_seed_gives_the_same_expert(fitter, expert):
    again, other = FaceExpert(FaceConfig(**SECTION)), FaceExpert(FaceConfig(**SECTION))
    fitter.fit(again, seed=0, without_fold=0)
    fitter.fit(other, seed=1, without_fold=0)
    first, second = expert.state_dict(), again.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(other.places[0].head.weight, expert.places[0].head.weight)
    assert not torch.equal(expert.places[0].head.weight, expert.places[1].head.weight)


def test_held_out_fold_is_not_read(fitter, expert, monkeypatch):
    looked = []
    monkeypatch.setattr(face, "read_examples", lambda path: looked.append(path) or read_examples(path))
    again = FaceExpert(FaceConfig(**SECTION))
    fitter.fit(again, seed=0, without_fold=0)
    assert set(looked) == {fitter.training[number].examples for number in (2, 3, 4)}


def test_out_of_fold_scores_equal_inference(fitter, expert, clips):
    raw = fitter.score(expert, np.arange(8))
    assert np.isfinite(raw[:HEADS]).all() and np.isnan(raw[HEADS:]).all()
    for number in (0, 5):
        features = extract_clip(clips.table.split.video_path(f"{number}.mp4"), WITH_FACE)
        sample = make_sample(0, 0.0, features, InputLayout(WITH_FACE, ("face",)))
        with torch.no_grad():
            assert float(expert.raw(collate([sample]))[0]) == raw[number]


def test_held_out_pseudo_fakes_belong_to_the_fold(fitter, expert):
    assert fitter.score_pseudo_fakes(expert, 0).shape == (4,) and fitter.score_pseudo_fakes(expert, 2).shape == (2,)
    assert np.isfinite(fitter.score_pseudo_fakes(expert, 1)).all()


def test_labelled_fakes_are_paired_with_reals_of_their_group_if_configured(fitter, expert, clips, config, monkeypatch):
    assert fitter.labelled.training_fakes == ()
    asking = config.model_copy(update={"fit": config.fit.model_copy(update={"labelled_fakes": True})})
    monkeypatch.setattr(face, "FaceExampleCounts", lambda: FEW)
    taught = FaceFitter.gather(clips, asking)
    assert taught.labelled.training_fakes == (5,) and taught.key != fitter.key
    members = taught.members(None)
    reals = np.stack([taught.training[number].statistics()[0] for number in members])
    pairs = taught.labelled_fakes(expert.texture, reals, clips.groups[members], without_fold=0)
    assert pairs.forged.shape == (1, reals.shape[1]) and np.isfinite(pairs.forged).all()
    np.testing.assert_allclose(pairs.real[0], reals[members.index(4)])
    assert len(taught.labelled_fakes(expert.texture, reals, clips.groups[members], without_fold=2).forged) == 0
    again = FaceExpert(FaceConfig(**SECTION))
    taught.fit(again, seed=0, without_fold=0)
    assert not torch.equal(again.direction.weight, expert.direction.weight)
    for mine, theirs in zip(again.places.parameters(), expert.places.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_modality_column_selects_the_forged_part(clips, caplog):
    assert (
        clips.training_fakes("video").tolist()
        == clips.training_fakes("audio").tolist()
        == [False] * 5 + [True] + [False] * 2
    )
    labels = clips.table.labels.assign(target=[0, 1, 1, 1, 0, 0, 0, 0])
    labels["modality"] = ["RVRA", "FVRA", "RVFA", "FVFA", *["RVRA"] * 4]
    with_modality = LabelledClips(ClipTable(clips.table.split, labels, None), FOLDS, clips.groups)  # type: ignore[arg-type]
    assert np.flatnonzero(with_modality.training_fakes("video")).tolist() == [1, 3]
    caplog.set_level("INFO")
    assert np.flatnonzero(with_modality.training_fakes("audio")).tolist() == [2, 3]
    assert "2 of 3 labelled fakes are examples of forged audio" in caplog.text
    with_modality.table.labels["modality"] = ["", "", " rvfa", "fvfa ", *[""] * 4]
    assert np.flatnonzero(with_modality.training_fakes("audio")).tolist() == [2, 3]
    with_modality.table.labels["modality"] = "both"
    with pytest.raises(UsageError, match="the modality of 1.mp4 is 'BOTH'"):
        with_modality.training_fakes("audio")


def test_expert_with_too_few_faces_is_left_out(clips, config, fitter, caplog):
    few = labelled(clips.table.split, [0, 0, 1, 1, 1, 1, 0, 0])
    assert FaceFitter.gather(few, config) is None
    assert "face expert is left out" in caplog.text
    lonely = FaceFitter(
        LabelledFaces(fitter.labelled.features, FOLDS, clips.groups), {0: fitter.training[0], 1: fitter.training[1]}
    )
    with pytest.raises(WorkError, match="left to fit on"):
        lonely.fit(FaceExpert(FaceConfig(**SECTION)), seed=0, without_fold=0)


def test_missing_weights_are_reported_first(clips, config):
    section = {**SECTION, "weights": "package"}
    asking = config.model_copy(update={"model": {**config.model, "experts": {"face": section}}})
    with pytest.raises(UsageError, match="no package has weights"):
        FaceFitter.gather(clips, asking)


def marked_examples(seed: int) -> FaceExamples:
    """Return a real noise sequence and a forged one that is smooth in its lower right quarter."""
    rng = np.random.default_rng(seed)
    real = rng.integers(0, 256, (6, 2, 112, 112, 3), dtype=np.uint8)
    fake, mask = real.copy(), np.zeros((2, 28, 28), np.float32)
    fake[:, :, 56:, 56:] = 128
    mask[1, 14:, 14:] = 1
    return FaceExamples(np.array([REAL, "smooth"]), np.zeros(2, int), mask, np.stack([real, fake]))


def test_localizer_learns_the_forged_region():
    clips = [marked_examples(seed) for seed in range(4)]
    net = fit_localizer(RealFakePairs(clips, np.array(["a", "a", "b", "c"])), seed=0, steps=25)
    assert not net.training
    held = marked_examples(9)
    with torch.no_grad():
        real, fake = (net(torch.from_numpy(pairs)) for pairs in held.pairs)
    assert fake[1].mean() > real[1].mean()
    assert fake[0][:, 16:, 16:].mean() > fake[0][:, :12, :12].mean()


def test_real_and_forged_alternate():
    clips = [marked_examples(seed) for seed in range(4)]
    pairs, masks = RealFakePairs(clips, np.array(["a", "a", "a", "b"])).draw(np.random.default_rng(0))
    assert pairs.shape == (20, 2, 112, 112, 3) and masks.shape == (20, 28, 28)
    assert masks[0::2].max() == 0 and (masks[1::2].amax(dim=(1, 2)) == 1).all()
    assert (pairs[0::2, :, :56] == pairs[1::2, :, :56]).all()


def test_loss_is_lower_for_correct_logits():
    masks = torch.zeros(4, 28, 28)
    masks[1::2, :10] = 1
    right, wrong = (
        localizer_loss(sign * (4 * masks - 2), sign * torch.tensor([-1.0, 1, -1, 1]), masks) for sign in (1, -1)
    )
    assert right < wrong
