"""System A: a mel branch and a frame-covariance branch, joined by a linear head and a trained cosine term.

It follows the technical report of the multi-ffdv entry: mel-spectrogram image -> ResNet18 -> linear -> S; covariance row sums c
-> c' = relu(linear(c)) + 0.01 c; logit = head(concat(S, c')) + alpha cos(S, c'). Deviations: the cosine is part of the logit
both in training and in evaluation, and a missing modality is replaced by a learned vector instead of zeros.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from dataset.batch import Batch
from models.base import DetectorConfig, DetectorModel, DetectorOutput
from models.blocks.backbone import create_backbone, feature_size
from models.blocks.image_input import ImageInput
from models.registry import MODELS
from utils.features.config import FeatureConfig

RESIDUAL_GAIN = 0.01


class FFDVCovConfig(DetectorConfig):
    """Config of System A. Without a branch or the cosine term it gives the report's ablations."""

    name: Literal["ffdv_cov"] = "ffdv_cov"
    backbone: str = Field("resnet18", description="any timm name")
    image_size_px: int = Field(256, ge=64, le=1024)
    audio_branch: bool = True
    video_branch: bool = True
    cosine: bool = True
    alpha: float = Field(1.0, description="weight of the cosine term")
    modality_dropout: float = Field(0.1, ge=0, lt=1, description="share of training clips that lose one modality")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs of the enabled branches."""
        return ("mel",) * self.audio_branch + ("covariance",) * self.video_branch

    @model_validator(mode="after")
    def _has_a_branch(self) -> FFDVCovConfig:
        if not (self.audio_branch or self.video_branch):
            raise ValueError("audio_branch and video_branch are both off; the model would have no input")
        return self


class CovarianceBranch(nn.Module):
    """c' = relu(linear(c)) + 0.01 c of the covariance's row sums c."""

    def __init__(self, top_k: int) -> None:
        """Map K row sums to K features."""
        super().__init__()
        self.linear = nn.Linear(top_k, top_k)

    def forward(self, covariance: Tensor) -> Tensor:
        """Map (B, K, K) float32 in [0, 1] to (B, K)."""
        row_sums = covariance.sum(dim=2)
        return F.relu(self.linear(row_sums)) + RESIDUAL_GAIN * row_sums


class MelBranch(nn.Module):
    """A timm backbone on the mel-spectrogram image, projected to the width of the covariance branch."""

    def __init__(self, config: FFDVCovConfig, width: int) -> None:
        """Build the backbone; `initialisation` is the origin of its weights."""
        super().__init__()
        self.image = ImageInput(config.image_size_px)
        self.backbone, self.initialisation = create_backbone(
            config.backbone,
            pretrained=config.pretrained,
            weights=config.weights,
            image_size_px=config.image_size_px,
        )
        self.linear = nn.Linear(feature_size(self.backbone), width)

    def forward(self, mel: Tensor) -> Tensor:
        """Map (B, 1, H, W) uint8 to (B, width)."""
        return self.linear(self.backbone(self.image(mel)))


@MODELS.register("ffdv_cov", FFDVCovConfig)
class FFDVCov(DetectorModel):
    """System A. Its terms are `head` and, if both branches and the cosine are enabled, `cosine`."""

    def __init__(self, config: FFDVCovConfig, features: FeatureConfig) -> None:
        """Build the branches of the config; both are K wide."""
        super().__init__()
        width = features.video.top_k
        self.config = config
        self.inputs = config.inputs
        self.uses_cosine = config.cosine and config.audio_branch and config.video_branch
        if config.audio_branch:
            self.mel_branch = MelBranch(config, width)
            self.initialisation = self.mel_branch.initialisation
        if config.video_branch:
            self.covariance_branch = CovarianceBranch(width)
        both = config.audio_branch and config.video_branch
        if both:
            self.absent_mel = nn.Parameter(torch.zeros(width))
            self.absent_covariance = nn.Parameter(torch.zeros(width))
        self.head = nn.Linear(width * (2 if both else 1), 1)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the output's terms; see `DetectorModel.terms`."""
        return ("head", "cosine") if self.uses_cosine else ("head",)

    def usable(self, batch: Batch) -> Tensor:
        """Return a mask (B,) bool of the clips with the input of at least one branch."""
        return torch.stack([batch.inputs[name].mask for name in self.inputs]).any(dim=0)

    def forward(self, batch: Batch) -> DetectorOutput:
        """Score B usable clips; see `DetectorModel.forward`."""
        if not self.config.audio_branch:
            frames = self.covariance_branch(batch.inputs["covariance"].values)
            return DetectorOutput({"head": self.head(frames).squeeze(1)})
        speech = self.mel_branch(batch.inputs["mel"].values)
        if not self.config.video_branch:
            return DetectorOutput({"head": self.head(speech).squeeze(1)})
        frames = self.covariance_branch(batch.inputs["covariance"].values)
        has_mel, has_covariance = self._visible(batch)
        speech = torch.where(has_mel[:, None], speech, self.absent_mel)
        frames = torch.where(has_covariance[:, None], frames, self.absent_covariance)
        terms = {"head": self.head(torch.cat([speech, frames], dim=1)).squeeze(1)}
        if self.uses_cosine:
            both = (has_mel & has_covariance).float()
            terms["cosine"] = self.config.alpha * F.cosine_similarity(speech, frames, dim=1) * both
        return DetectorOutput(terms)

    def _visible(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the masks of both inputs. In training, modality dropout hides one input of some clips that have both."""
        has_mel, has_covariance = batch.inputs["mel"].mask, batch.inputs["covariance"].mask
        if self.training and self.config.modality_dropout > 0:
            draw = torch.rand(len(batch), device=has_mel.device) if batch.draws is None else batch.draws
            both = has_mel & has_covariance
            half = self.config.modality_dropout / 2
            has_mel = has_mel & ~(both & (draw < half))
            has_covariance = has_covariance & ~(both & (draw > 1 - half))
        return has_mel, has_covariance
