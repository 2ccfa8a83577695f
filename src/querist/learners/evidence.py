"""Prior precision and observation noise by the marginal likelihood of a Laplace approximation.

MacKay, The Evidence Framework Applied to Classification Networks, 1992,
doi:10.1162/neco.1992.4.5.720; for last layers Daxberger et al., 2021, arXiv:2106.14806, section 3.
"""

from __future__ import annotations

import math

import numpy as np
import torch

_BOUNDS = (math.log(1e-6), math.log(1e6))
_NOISE_BOUNDS = (math.log(1e-8), math.log(1e8))


def best_prior(eigenvalues: torch.Tensor, squared_norm: float) -> float:
    """The prior precision, 1e-6 to 1e6, under which the labels are most likely.

    Args:
        eigenvalues: of the curvature `(P,)`.
        squared_norm: of the weights.
    """
    from scipy.optimize import minimize_scalar

    values = eigenvalues.cpu().numpy()
    found = minimize_scalar(
        lambda log: -_of_weights(values, squared_norm, math.exp(log)),
        bounds=_BOUNDS,
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(float(found.x))


def best_noise(
    eigenvalues: torch.Tensor,
    squared_norm: float,
    *,
    squared_error: float,
    numbers: int,
    prior: float | None,
) -> tuple[float, float]:
    """The prior precision and the variance of the noise under which the labels are most likely.

    Args:
        eigenvalues: of the curvature at a noise of 1 `(P,)`.
        squared_norm: of the weights.
        squared_error: summed over all labels.
        numbers: how many numbers the labels are.
        prior: the precision where it is given; None = it is chosen as well.
    """
    from scipy.optimize import minimize

    values = eigenvalues.cpu().numpy()

    def minus(logs: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        noise = math.exp(logs[0])
        precision = math.exp(logs[1]) if prior is None else prior
        of_labels = -squared_error / (2 * noise) - numbers / 2 * math.log(noise)
        return -(of_labels + _of_weights(values / noise, squared_norm, precision))

    start = math.log(max(squared_error / numbers, 1e-6))
    bounds = [_NOISE_BOUNDS, _BOUNDS][: 1 if prior is not None else 2]
    first = np.clip([start, 0.0][: len(bounds)], *np.array(bounds).T)
    found = minimize(minus, first, method="L-BFGS-B", bounds=bounds).x
    return (math.exp(found[1]) if prior is None else prior), math.exp(found[0])


def _of_weights(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], squared_norm: float, prior: float
) -> float:
    """What depends on the weights in the logarithm of the marginal likelihood."""
    occam = float(np.log1p(values / prior).sum())
    return -(prior * squared_norm + occam) / 2
