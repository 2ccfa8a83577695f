"""Against marginal likelihoods that are known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from querist.learners.evidence import best_noise, best_prior

DRAWN = torch.Generator().manual_seed(1)
INPUTS = torch.randn(200, 5, generator=DRAWN, dtype=torch.float64)


def likelihood(targets: torch.Tensor, prior: float, noise: float) -> float:
    """log p(targets) of Bayesian linear regression: a normal distribution."""
    covariance = INPUTS @ INPUTS.T / prior + noise * torch.eye(len(targets), dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal(torch.zeros(200).double(), covariance)
    return float(normal.log_prob(targets))


def draw(prior: float, noise: float) -> torch.Tensor:
    weights = torch.randn(5, generator=DRAWN, dtype=torch.float64) / math.sqrt(prior)
    return INPUTS @ weights + math.sqrt(noise) * torch.randn(200, generator=DRAWN).double()


def best(targets: torch.Tensor, prior: float | None) -> tuple[float, float]:
    """What the functions choose, at the weights that this prior and noise have as their mean."""
    noise, precision = 1.0, prior or 1.0
    for _ in range(30):
        a = INPUTS.T @ INPUTS / noise + precision * torch.eye(5).double()
        mean = torch.linalg.solve(a, INPUTS.T @ targets / noise)
        precision, noise = best_noise(
            torch.linalg.eigvalsh(INPUTS.T @ INPUTS),
            float(mean.square().sum()),
            squared_error=float((targets - INPUTS @ mean).square().sum()),
            numbers=200,
            prior=prior,
        )
    return precision, noise


def test_noise_and_prior_are_where_the_labels_are_most_likely() -> None:
    targets = draw(prior=0.25, noise=0.09)
    prior, noise = best(targets, None)
    assert noise == pytest.approx(0.09, rel=0.25)
    top = likelihood(targets, prior, noise)
    for factor in (0.8, 1.25):
        assert likelihood(targets, prior * factor, noise) < top + 1e-3
        assert likelihood(targets, prior, noise * factor) < top


def test_a_given_prior_stays() -> None:
    targets = draw(prior=0.25, noise=0.09)
    prior, noise = best(targets, 3.0)
    assert prior == 3.0
    assert noise == pytest.approx(0.09, rel=0.25)


def test_the_prior_of_classes_solves_mackays_equation() -> None:
    values, norm = torch.tensor([50.0, 8.0, 0.5, 0.0]).double(), 3.0
    prior = best_prior(values, norm)
    gamma = float((values / (values + prior)).sum())
    assert prior == pytest.approx(gamma / norm, rel=1e-3)


def test_labels_that_are_met_exactly_have_the_smallest_noise() -> None:
    values = torch.ones(3).double()
    assert best_noise(values, 1.0, squared_error=0.0, numbers=9, prior=1.0)[1] < 1e-6
    assert 0 < best_prior(torch.zeros(3).double(), 0.0) < math.inf
