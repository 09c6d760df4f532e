"""Fitting of the face expert: real clips and their pseudo-fakes alone, held-out folds, the same score as inference gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from dataset.batch import collate, make_sample
from dataset.clips import ClipTable
from dataset.face_bank import pairs_beside, read_rows
from dataset.pseudo_fakes.bank import REAL
from dataset.pseudo_fakes.face_rows import FaceBankConfig, FaceRows
from dataset.splits import Split
from engine.fitting import LabelledClips, face
from engine.fitting.face import FaceFitter
from engine.fitting.place_net import Couples, fit_place_net, place_loss
from engine.run import split_of
from models.experts.face import FaceConfig, FaceExpert
from tests.support import BACKBONE, SIZE_PX, WITH_FACE, K, tiny_config, write_head, write_video
from utils.errors import UsageError, WorkError
from utils.features.extract import extract_clip

SECTION = {"backbone": BACKBONE, "weights": "none", "place_nets": 2, "place_steps": 3}
BANK = FaceBankConfig(rounds=1, fakes_per_round=2, families=("low_resolution", "frozen_mouth"), autoencoder_steps=0)
HEADS = 6
FOLDS = np.array([0, 0, 1, 1, 2, 2, 0, 1])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Six drawn heads, the last of which is called fake, a clip without a face, and one that is text."""
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
        patch.setattr(face, "FaceBankConfig", lambda: BANK)
        return FaceFitter.gather(clips, config)


@pytest.fixture(scope="module")
def expert(fitter) -> FaceExpert:
    expert = FaceExpert(FaceConfig(**SECTION))
    fitter.fit(expert, seed=0, without_fold=0)
    return expert


def test_pseudo_fakes_are_made_of_the_real_faces_only(fitter):
    assert sorted(fitter.material) == [0, 1, 2, 3, 4]
    for one in fitter.material.values():
        own, rows = one.statistics()
        families = read_rows(one.rows).families.tolist()
        assert families[0] == REAL and sorted(families[1:]) == ["frozen_mouth", "low_resolution"]
        assert rows.shape == (3, len(own)) and np.isfinite(rows).all() and np.isfinite(own).all()


def test_nothing_is_made_twice(fitter, clips, config, monkeypatch):
    monkeypatch.setattr(face, "FaceBankConfig", lambda: BANK)
    for module in ("dataset.face_bank", "engine.fitting.texture"):
        monkeypatch.setattr(f"{module}.run_in_workers", lambda *_, **__: pytest.fail("made again"))
    assert FaceFitter.gather(clips, config).key == fitter.key


def test_rows_and_textures_that_were_cut_short_are_made_anew(fitter, clips, config, monkeypatch):
    monkeypatch.setattr(face, "FaceBankConfig", lambda: BANK)
    one = fitter.material[2]
    before = [read_rows(one.rows).pairs.copy(), one.statistics()[1]]
    for file in (pairs_beside(one.rows), one.texture, one.clip.path):
        file.write_bytes(file.read_bytes()[:200])
    again = FaceFitter.gather(clips, config)
    assert again.key == fitter.key
    np.testing.assert_array_equal(read_rows(one.rows).pairs, before[0])
    np.testing.assert_array_equal(one.statistics()[1], before[1])


def test_the_same_seed_gives_the_same_expert(fitter, expert):
    again, other = FaceExpert(FaceConfig(**SECTION)), FaceExpert(FaceConfig(**SECTION))
    fitter.fit(again, seed=0, without_fold=0)
    fitter.fit(other, seed=1, without_fold=0)
    first, second = expert.state_dict(), again.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(other.places[0].head.weight, expert.places[0].head.weight)
    assert not torch.equal(expert.places[0].head.weight, expert.places[1].head.weight)


def test_the_fold_that_is_left_out_is_not_looked_at(fitter, expert, monkeypatch):
    looked = []
    monkeypatch.setattr(face, "read_rows", lambda path: looked.append(path) or read_rows(path))
    again = FaceExpert(FaceConfig(**SECTION))
    fitter.fit(again, seed=0, without_fold=0)
    assert set(looked) == {fitter.material[number].rows for number in (2, 3, 4)}


def test_a_clip_is_judged_as_inference_judges_it(fitter, expert, clips):
    raw = fitter.judge(expert, np.arange(8))
    assert np.isfinite(raw[:HEADS]).all() and np.isnan(raw[HEADS:]).all()
    for number in (0, 5):
        features = extract_clip(clips.table.split.video_path(f"{number}.mp4"), WITH_FACE)
        sample = make_sample(0, 0.0, features, top_k=K, image_size_px=SIZE_PX, face=True)
        with torch.no_grad():
            assert float(expert.raw(collate([sample]))[0]) == raw[number]


def test_stand_ins_are_the_forged_rows_of_the_fold(fitter, expert):
    assert fitter.stand_ins(expert, 0).shape == (4,) and fitter.stand_ins(expert, 2).shape == (2,)
    assert np.isfinite(fitter.stand_ins(expert, 1)).all()


def test_labelled_fakes_teach_beside_the_reals_of_their_group_only_where_asked(
    fitter, expert, clips, config, monkeypatch
):
    assert fitter.fakes == []
    asking = config.model_copy(update={"fit": config.fit.model_copy(update={"labelled_fakes": True})})
    monkeypatch.setattr(face, "FaceBankConfig", lambda: BANK)
    taught = FaceFitter.gather(clips, asking)
    assert taught.fakes == [5] and taught.key != fitter.key
    members = taught.members(None)
    reals = np.stack([taught.material[number].statistics()[0] for number in members])
    forged, beside = taught.labelled_steps(expert.texture, reals, clips.groups[members], without_fold=0)
    assert forged.shape == (1, reals.shape[1]) and np.isfinite(forged).all()
    np.testing.assert_allclose(beside[0], reals[members.index(4)])
    assert taught.labelled_steps(expert.texture, reals, clips.groups[members], without_fold=2)[0].shape == (
        0,
        reals.shape[1],
    )
    again = FaceExpert(FaceConfig(**SECTION))
    taught.fit(again, seed=0, without_fold=0)
    assert not torch.equal(again.direction.weight, expert.direction.weight)
    for mine, theirs in zip(again.places.parameters(), expert.places.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_modality_says_which_part_of_a_fake_can_teach(clips, caplog):
    assert (
        clips.teaching_fakes("video").tolist()
        == clips.teaching_fakes("audio").tolist()
        == [False] * 5 + [True] + [False] * 2
    )
    labels = clips.table.labels.assign(target=[0, 1, 1, 1, 0, 0, 0, 0])
    labels["modality"] = ["RVRA", "FVRA", "RVFA", "FVFA", *["RVRA"] * 4]
    told = LabelledClips(ClipTable(clips.table.split, labels, None), FOLDS, clips.groups)  # type: ignore[arg-type]
    assert np.flatnonzero(told.teaching_fakes("video")).tolist() == [1, 3]
    caplog.set_level("INFO")
    assert np.flatnonzero(told.teaching_fakes("audio")).tolist() == [2, 3]
    assert "2 of 3 labelled fakes can teach a forged audio" in caplog.text
    told.table.labels["modality"] = ["", "", " rvfa", "fvfa ", *[""] * 4]
    assert np.flatnonzero(told.teaching_fakes("audio")).tolist() == [2, 3]
    told.table.labels["modality"] = "both"
    with pytest.raises(UsageError, match="the modality of 1.mp4 is 'BOTH'"):
        told.teaching_fakes("audio")


def test_too_few_faces_leave_the_expert_out(clips, config, fitter, caplog):
    few = labelled(clips.table.split, [0, 0, 1, 1, 1, 1, 0, 0])
    assert FaceFitter.gather(few, config) is None
    assert "face expert stays out" in caplog.text
    lonely = FaceFitter(fitter.described, {0: fitter.material[0], 1: fitter.material[1]}, FOLDS, clips.groups)
    with pytest.raises(WorkError, match="left to fit on"):
        lonely.fit(FaceExpert(FaceConfig(**SECTION)), seed=0, without_fold=0)


def test_weights_that_cannot_be_had_are_named_before_anything_is_made(clips, config):
    section = {**SECTION, "weights": "package"}
    asking = config.model_copy(update={"model": {**config.model, "experts": {"face": section}}})
    with pytest.raises(UsageError, match="no package has weights"):
        FaceFitter.gather(clips, asking)


def marked_rows(seed: int) -> FaceRows:
    """A real sequence of noise and one that is smooth in its lower right quarter."""
    rng = np.random.default_rng(seed)
    real = rng.integers(0, 256, (6, 2, 112, 112, 3), dtype=np.uint8)
    fake, mask = real.copy(), np.zeros((2, 28, 28), np.float32)
    fake[:, :, 56:, 56:] = 128
    mask[1, 14:, 14:] = 1
    return FaceRows(np.array([REAL, "smooth"]), np.zeros(2, int), mask, np.stack([real, fake]))


def test_a_place_net_learns_where_the_forgery_is():
    clips = [marked_rows(seed) for seed in range(4)]
    net = fit_place_net(Couples(clips, np.array(["a", "a", "b", "c"])), seed=0, steps=25)
    assert not net.training
    held = marked_rows(9)
    with torch.no_grad():
        real, fake = (net(torch.from_numpy(pairs)) for pairs in held.pairs)
    assert fake[1].mean() > real[1].mean()
    assert fake[0][:, 16:, 16:].mean() > fake[0][:, :12, :12].mean()


def test_couples_stand_side_by_side():
    clips = [marked_rows(seed) for seed in range(4)]
    pairs, masks = Couples(clips, np.array(["a", "a", "a", "b"])).draw(np.random.default_rng(0))
    assert pairs.shape == (20, 2, 112, 112, 3) and masks.shape == (20, 28, 28)
    assert masks[0::2].max() == 0 and (masks[1::2].amax(dim=(1, 2)) == 1).all()
    assert (pairs[0::2, :, :56] == pairs[1::2, :, :56]).all()


def test_the_loss_falls_when_forged_is_told_from_real():
    masks = torch.zeros(4, 28, 28)
    masks[1::2, :10] = 1
    right, wrong = (
        place_loss(sign * (4 * masks - 2), sign * torch.tensor([-1.0, 1, -1, 1]), masks) for sign in (1, -1)
    )
    assert right < wrong
