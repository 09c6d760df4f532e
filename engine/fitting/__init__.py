"""Fitting of `av_experts` from real clips and pseudo-fakes of them: no gradient steps over whole clips, no fake needed."""

from engine.fitting.base import ExpertFitter, LabelledClips
from engine.fitting.fit import fit_experts, labelled_clips

__all__ = ["ExpertFitter", "LabelledClips", "fit_experts", "labelled_clips"]
