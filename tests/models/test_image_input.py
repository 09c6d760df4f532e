"""Conversion of grey images to ImageNet inputs."""

from __future__ import annotations

import torch

from models.blocks.image_input import ImageInput


def test_black_and_white_become_imagenet_normalised_channels():
    mel = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 1, 64, 64)
    picture = ImageInput(64)(mel)
    assert picture.shape == (2, 3, 64, 64)
    black, white = picture[:, :, 0, 0]
    torch.testing.assert_close(black, torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]))
    torch.testing.assert_close(white, torch.tensor([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]))


def test_an_image_of_another_size_is_resized_and_keeps_its_orientation():
    mel = torch.zeros(1, 1, 128, 128, dtype=torch.uint8)
    mel[:, :, :64] = 255
    picture = ImageInput(64)(mel)
    assert picture.shape == (1, 3, 64, 64)
    assert picture[0, 0, :30].mean() > 2 > 0 > picture[0, 0, 34:].mean()


def test_the_normalisation_is_not_in_the_state_dict():
    assert not ImageInput(64).state_dict()
