"""Fit of the conversion from a logit to a probability of fake: Platt scaling or isotonic regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from utils.metrics.calibration import Calibration, Method
from utils.metrics.estimate import as_target_and_score

# With fewer clips, isotonic steps are so coarse that most scores tie (Niculescu-Mizil and Caruana, 2005).
ISOTONIC_LEAST_CLIPS = 1000
LEAST_CLIPS_PER_CLASS = 2


def fit_scale(is_fake: np.ndarray, logit: np.ndarray, method: Method) -> tuple[Calibration, str]:
    """Fit the conversion from logit to score; also return why the requested method was not used, if so."""
    if method == "none":
        return Calibration(), ""
    n_fake = int(is_fake.sum())
    fewest = min(n_fake, len(is_fake) - n_fake)
    if fewest < LEAST_CLIPS_PER_CLASS:
        return Calibration(), f"not calibrated: one class has fewer than {LEAST_CLIPS_PER_CLASS} clips"
    if not np.isfinite(logit).all():
        raise ValueError("a logit is infinite; a calibration is fitted on finite logits")
    if logit[is_fake].mean() <= logit[~is_fake].mean():
        return Calibration(), "not calibrated: the fakes do not have the higher mean logit"
    if method == "isotonic" and len(logit) >= ISOTONIC_LEAST_CLIPS:
        # Imported here: 60 MB that scoring, which only applies a calibration, does not need.
        from sklearn.isotonic import IsotonicRegression

        fit = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(logit, is_fake)
        knots = (tuple(fit.X_thresholds_.tolist()), tuple(fit.y_thresholds_.tolist()))
        return Calibration(method="isotonic", isotonic=knots), ""
    slope, bias = fit_platt(is_fake, logit)
    too_few = (
        f"isotonic needs {ISOTONIC_LEAST_CLIPS} clips but there are {len(logit)}; using temperature and bias instead"
    )
    return Calibration(method="platt", slope=slope, bias=bias), too_few if method == "isotonic" else ""


def fit_platt(target: ArrayLike, logit: ArrayLike) -> tuple[float, float]:
    """Fit slope and bias of ``sigmoid(slope * logit + bias)`` by maximum likelihood (Platt, 1999).

    As Platt proposes, the targets are smoothed to ``(n_fake + 1) / (n_fake + 2)`` and ``1 / (n_real + 2)``, so the fit
    is finite for separated classes. The slope is positive if and only if the fakes have the higher mean logit.

    Args:
        target: (n,) 1 for fake, 0 for real.
        logit: (n,) finite logits that are not all equal.
    """
    is_fake, logit = as_target_and_score(target, logit)
    n_fake = is_fake.sum()
    n_real = len(is_fake) - n_fake
    smoothed = np.where(is_fake, (n_fake + 1) / (n_fake + 2), 1 / (n_real + 2))
    centre, spread = logit.mean(), logit.std()
    design = np.stack([(logit - centre) / spread, np.ones(len(logit))], axis=1)

    def loss_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
        z = design @ weights
        return float(np.mean(np.logaddexp(0, z) - smoothed * z)), design.T @ (expit(z) - smoothed) / len(z)

    def hessian(weights: np.ndarray) -> np.ndarray:
        p = expit(design @ weights)
        return (design.T * (p * (1 - p))) @ design / len(p)

    from scipy.optimize import minimize  # imported here for the same reason

    options = {"gtol": 1e-10}
    fit = minimize(loss_and_gradient, np.zeros(2), jac=True, hess=hessian, method="trust-exact", options=options)
    slope = fit.x[0] / spread
    return float(slope), float(fit.x[1] - slope * centre)
