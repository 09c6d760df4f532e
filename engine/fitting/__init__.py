"""Fitting of `av_experts` from real clips and pseudo-fakes of them: no gradient steps over whole clips, no fake needed."""

from engine.fitting.base import ExpertFitter, FitOptions, LabelledClips
from engine.fitting.fit import fit_experts

__all__ = ["ExpertFitter", "FitOptions", "LabelledClips", "fit_experts"]
