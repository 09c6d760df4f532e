"""Statistics of a convolutional network on the complex spectrogram of speech.

The network is the convolutional part of DistillMOS (Stahl and Gamper, 2025), which was trained to rate the quality of natural,
transmitted and generated speech. It responds to traces of coding and synthesis. It is frozen.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.blocks.packaged_weights import packaged_tensors

CHANNELS = (2, 64, 64, 128, 256, 256, 256)
N_FFT, HOP = 320, 160
"""Window of 20 ms and hop of 10 ms at 16 kHz: 161 bins."""

BINS_LEFT = 4
"""Frequency bins of the last layer."""

STATISTICS_SIZE = 2 * CHANNELS[-1] * BINS_LEFT
"""D: mean and standard deviation over time of every channel and bin of the last layer."""

COMPRESSION = 0.3
TINY = 1e-12
SLOPE = 0.1
RANDOM_START = 0
"""Seed of a network with random weights. It is fixed because the network's statistics are cached across runs."""

PRETRAINED = "distillmos"
Weights = Literal["package", "none"]


class SpeechTexture(nn.Module):
    """The frozen network with its pooling over time."""

    def __init__(self) -> None:
        """Build the layers with random weights; see `start`."""
        super().__init__()
        layers: list[nn.Module] = []
        for number, (wide, deep) in enumerate(zip(CHANNELS[:-1], CHANNELS[1:], strict=True)):
            stride = (2 if number else 1, 2 if number == len(CHANNELS) - 2 else 1)
            layers += [nn.Conv2d(wide, deep, 3, stride=stride, padding=(0, 1)), nn.LeakyReLU(SLOPE, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.requires_grad_(False)

    def start(self, weights: Weights) -> None:
        """Load weights.

        Args:
            weights: `package`: pretrained weights from a Python package; `none`: random with a fixed seed.

        Raises:
            UsageError: the package is not installed, or its tensors do not fit.
        """
        own = self.layers.state_dict()
        if weights == "none":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(RANDOM_START)
                own = SpeechTexture().layers.state_dict()
        else:
            own = packaged_tensors(PRETRAINED, {key: value.shape for key, value in own.items()}, prefix="cnn.cnn.")
        self.layers.load_state_dict(own)

    @torch.no_grad()
    def forward(self, waveforms: Tensor) -> Tensor:
        """Compute the statistics of each waveform.

        Args:
            waveforms: (N, S) float32 at 16 kHz, S at least 1,600. The result does not depend on their level.

        Returns:
            (N, D) float32.
        """
        if torch.compiler.is_exporting():
            return self.pooled(self.planes(waveforms))
        # One waveform at a time, because each plane of the first layers takes 12 MB.
        return torch.cat([self.pooled(self.planes(waveform)) for waveform in waveforms.split(1)])

    def planes(self, waveforms: Tensor) -> Tensor:
        """Return the last layer for waveforms (N, S): (N, C, T) with C channels and bins, one step per 20 ms."""
        return self.layers(compressed_spectrogram(waveforms)).flatten(1, 2)

    @staticmethod
    def pooled(planes: Tensor) -> Tensor:
        """Return mean and standard deviation over time (N, D) of planes (N, C, T)."""
        return torch.cat([planes.mean(dim=2), planes.std(dim=2)], dim=1)


def compressed_spectrogram(waveforms: Tensor) -> Tensor:
    """Return real and imaginary parts (N, 2, 161, T) of spectrograms with magnitudes to the power 0.3 and unchanged phase.

    The result is float32, but the transform is computed in double precision. The compression raises rounding errors of
    single precision, which differ between libraries, to the level of a quiet signal.
    """
    waveforms = waveforms.double()
    loudest = waveforms.abs().amax(dim=1, keepdim=True)
    margin = (N_FFT - HOP) // 2
    signal = functional.pad((waveforms / (loudest + 1e-8))[:, None], (margin, margin), mode="reflect")[:, 0]
    window = torch.hann_window(N_FFT, dtype=signal.dtype, device=signal.device)
    spectrum = torch.stft(signal, N_FFT, HOP, window=window, center=False, return_complex=True)
    scale = spectrum.abs().clamp(min=TINY) ** (COMPRESSION - 1)
    return (torch.view_as_real(spectrum) * scale[..., None]).permute(0, 3, 1, 2).float()
