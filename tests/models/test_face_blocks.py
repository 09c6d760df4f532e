"""Parts of the face expert: region statistics, the texture direction, and the forgery localizer."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch

from engine.fitting import face_direction
from engine.fitting.face_direction import TexturePairs, covariance_within, fit_direction
from models.blocks import packaged_weights
from models.blocks.backbone import create_backbone
from models.blocks.efficientnet_lite import EfficientNetLiteStages
from models.blocks.fisher import FisherDirection
from models.blocks.forgery_localizer import ForgeryLocalizer, detail
from models.blocks.packaged_weights import packaged_state
from models.blocks.region_texture import RegionTexture, region_weights
from tests.support import BACKBONE
from utils.errors import UsageError

LITE = "tf_efficientnet_lite0"


def faces(seed: int = 0, count: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, 112, 112, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("name", "size"), [(LITE, 320), (BACKBONE, 4 * (32 + 32 + 48)), ("convnext_atto", 4 * 280)])
def test_statistics_are_computed_for_any_backbone_with_stages(name, size):
    texture = RegionTexture(name)
    assert texture.size == size
    vector = texture(faces())
    assert vector.shape == (size,) and torch.isfinite(vector).all()
    assert texture.train().training is False
    assert not any(weights.requires_grad for weights in texture.parameters())


def test_the_stages_of_lite0_equal_those_of_timm():
    own = EfficientNetLiteStages().eval()
    for number, module in enumerate(own.modules()):
        if isinstance(module, torch.nn.BatchNorm2d):
            generator = torch.Generator().manual_seed(number)
            module.running_mean.uniform_(-0.5, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    reference = timm.create_model(LITE, num_classes=0).eval()
    reference.prune_intermediate_layers([0, 1, 2])
    reference.load_state_dict(own.state_dict(), strict=True)
    with torch.inference_mode():
        image = torch.randn(2, 3, 112, 96, generator=torch.Generator().manual_seed(0))
        expected = reference.forward_intermediates(image, indices=[0, 1, 2], intermediates_only=True)
        for found, stage in zip(own(image), expected, strict=True):
            torch.testing.assert_close(found, stage, atol=1e-4, rtol=1e-4)


def test_unknown_backbone_is_rejected():
    with pytest.raises(UsageError, match="no model"):
        RegionTexture("no_such_net")


def test_the_default_backbone_is_smaller_than_1_mb():
    assert sum(value.numel() * value.element_size() for value in RegionTexture(LITE).state_dict().values()) < 1_000_000


def test_region_weights_cover_the_two_regions_only():
    weights = region_weights(112, 112)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-5)
    lower, reference = (weights[:, column].reshape(112, 112) for column in (0, 1))
    assert (
        lower[74, 56] > 0
        and reference[57, 56] > 0
        and reference[28, 56] > 0
        and reference[62, 38] == reference[62, 74] > 0
    )
    assert not (lower * reference).any() and lower[:60].max() == 0


def test_random_weights_are_the_same_every_time():
    first, second = RegionTexture(BACKBONE), RegionTexture(BACKBONE)
    assert first.start("none") == second.start("none") == "random"
    assert torch.equal(first(faces()), second(faces()))


@pytest.fixture
def weight_package(tmp_path, monkeypatch):
    """Install a package with the weights of Lite0 under names that differ from timm's."""
    torch.manual_seed(0)
    state = timm.create_model(LITE).state_dict()
    stored = {f"net.{number}": value for number, (key, value) in enumerate(state.items()) if "num_batches" not in key}
    torch.save(stored, tmp_path / "lite0.pth")
    package = packaged_weights.WEIGHT_PACKAGES[LITE]
    locator = SimpleNamespace(get_model_file_path=lambda: str(tmp_path / "lite0.pth"))
    monkeypatch.setitem(sys.modules, package.module, SimpleNamespace(**{package.locator: locator}))
    return state, tmp_path / "lite0.pth"


def test_package_weights_are_renamed_to_timm_names(weight_package):
    state, _ = weight_package
    found = packaged_state(LITE)
    assert all(torch.equal(found[key], value) for key, value in state.items() if "num_batches" not in key)
    texture = RegionTexture(LITE)
    assert texture.start("package") == "imagenet (package)"
    assert torch.equal(texture.trunk.conv_stem.weight, state["conv_stem.weight"])


def test_backbone_with_another_head_loads_the_other_package_weights(weight_package):
    state, _ = weight_package
    backbone, origin = create_backbone(LITE, pretrained=True, weights="package", num_classes=1)
    assert origin == "imagenet (package)" and backbone.classifier.weight.shape[0] == 1
    assert torch.equal(backbone.blocks[0][0].conv_dw.weight, state["blocks.0.0.conv_dw.weight"])


def test_package_with_other_weights_is_rejected(weight_package):
    torch.save({"a": torch.zeros(1)}, weight_package[1])
    with pytest.raises(UsageError, match="do not fit"):
        packaged_state(LITE)


def test_a_missing_package_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, packaged_weights.WEIGHT_PACKAGES[LITE].module, None)
    with pytest.raises(UsageError, match="requirements-weights"):
        packaged_state(LITE)
    with pytest.raises(UsageError, match="no package has weights of 'resnet18'"):
        packaged_state("resnet18")


def test_the_direction_discounts_the_variation_of_real_clips(monkeypatch):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 4).astype(str)
    spread = np.array([5.0, 0.3, 1.0, 1.0])
    reals = rng.normal(size=(80, 4)) * spread + np.repeat(rng.normal(size=(20, 4)), 4, axis=0)
    partners = np.repeat(reals, 2, axis=0) + 0.1 * rng.normal(size=(160, 4))
    step = np.array([1.0, 1.0, 0.0, 0.0])
    forged = partners + step + 0.1 * rng.normal(size=(160, 4))
    families = np.where(np.arange(160) % 2, "a", "b")
    direction = FisherDirection(4)
    monkeypatch.setattr(face_direction, "RIDGE", 0.05)
    fit_direction(direction, [TexturePairs(forged, partners, families)], reals, groups)
    pull = (direction.weight / direction.spread).numpy()
    assert pull[1] > 5 * abs(pull[0]) and pull[1] > 5 * np.abs(pull[2:]).max()
    scores = direction(torch.from_numpy(reals).float()).numpy()
    assert abs(np.median(scores)) < 1e-4
    assert (
        direction(torch.from_numpy(forged).float()) > direction(torch.from_numpy(partners).float())
    ).float().mean() > 0.95


def test_covariance_is_computed_within_groups():
    features = np.array([[0.0], [2.0], [100.0], [102.0], [7.0]])
    assert covariance_within(features, np.array(list("aabbc")))[0, 0] == pytest.approx(2.0)
    assert covariance_within(features, np.array(list("abcde")))[0, 0] == pytest.approx(np.var(features, ddof=1))


def test_detail_has_no_local_mean():
    planes = torch.rand(2, 3, 20, 24) * 100
    padded = torch.nn.functional.pad(planes, (3, 3, 3, 3), mode="reflect")
    torch.testing.assert_close(
        detail(planes), planes - torch.nn.functional.avg_pool2d(padded, 7, 1), atol=1e-3, rtol=1e-4
    )
    assert detail(torch.full((1, 1, 20, 20), 5.0)).abs().max() < 1e-5


def test_planes_are_invariant_to_contrast_and_brightness():
    net = ForgeryLocalizer().eval()
    pairs = torch.randint(60, 190, (2, 2, 112, 112, 3), generator=torch.Generator().manual_seed(0))
    dim = (pairs - 60) // 2 + 30
    first, second = (net.planes(one.to(torch.uint8))[:, 1:] for one in (pairs, dim))
    assert torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0) > 0.99
    assert (first.abs().mean() / second.abs().mean()) == pytest.approx(1, abs=0.05)


def test_a_pair_logit_is_the_log_mean_exp_of_the_patch_logits():
    patches, logit = ForgeryLocalizer().eval()(torch.stack([faces(0, 2), faces(1, 2)]))
    assert patches.shape == (2, 28, 28) and logit.shape == (2,)
    torch.testing.assert_close(logit, patches.flatten(1).exp().mean(dim=1).log(), atol=1e-5, rtol=1e-4)
