"""Against exact Hessians of small problems."""

from __future__ import annotations

import pytest
import torch
from torch.func import hessian

from querist.learners.curvature import (
    Curvature,
    Full,
    Kronecker,
    curvature_from,
    curvature_of_classes,
    curvature_of_numbers,
    no_curvature,
    root_of_sigmoid,
    root_of_softmax,
)

C, D, N = 3, 4, 20
INPUTS = torch.randn(N, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
TARGETS = torch.arange(N) % C
WEIGHTS = torch.randn(C, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
PRIOR = 0.7


def exact(loss: object, weights: torch.Tensor) -> torch.Tensor:
    """The Hessian of the loss in the flat weights."""
    found = hessian(loss)(weights)
    return found.reshape(weights.numel(), weights.numel())


def softmax_loss(weights: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(INPUTS @ weights.T, TARGETS, reduction="sum")


def whole(curvature: Curvature) -> torch.Tensor:
    """The matrix `(P, P)` out of its factors."""
    if isinstance(curvature, Full):
        vectors = curvature.vectors.reshape(len(curvature.values), -1)
        return vectors @ curvature.values.diag() @ vectors.T
    outer = curvature.out_vectors @ curvature.out_values.diag() @ curvature.out_vectors.T
    inner = curvature.in_vectors @ curvature.in_values.diag() @ curvature.in_vectors.T
    return torch.kron(outer, inner)


def of_classes(full_up_to: int = 1024, pieces: int = 1) -> Curvature:
    roots = root_of_softmax((INPUTS @ WEIGHTS.T).softmax(1))
    size = N // pieces
    return curvature_of_classes(
        zip(INPUTS.split(size), roots.split(size), strict=True), full_up_to=full_up_to
    )


def test_the_full_matrix_of_a_linear_model_is_its_hessian() -> None:
    curvature = of_classes()
    assert isinstance(curvature, Full)
    torch.testing.assert_close(whole(curvature), exact(softmax_loss, WEIGHTS))
    torch.testing.assert_close(whole(of_classes(pieces=4)), whole(curvature))


def test_the_full_matrix_of_one_logit() -> None:
    weights, targets = WEIGHTS[:1], (TARGETS == 1).double()

    def loss(w: torch.Tensor) -> torch.Tensor:
        logits = (INPUTS @ w.T)[:, 0]
        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits, targets, reduction="sum"
        )

    roots = root_of_sigmoid((INPUTS @ weights.T)[:, 0].sigmoid())
    curvature = curvature_of_classes([(INPUTS, roots)])
    torch.testing.assert_close(whole(curvature), exact(loss, weights))


def test_squared_errors_are_a_product_exactly() -> None:
    targets = torch.randn(N, C, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def loss(w: torch.Tensor) -> torch.Tensor:
        return (INPUTS @ w.T - targets).square().sum() / 2

    curvature = curvature_of_numbers(INPUTS.split(7), C)
    torch.testing.assert_close(whole(curvature), exact(loss, WEIGHTS))
    torch.testing.assert_close(whole(curvature.scaled(4.0)), 4 * exact(loss, WEIGHTS))


def test_the_product_of_equal_rows_is_exact() -> None:
    inputs = INPUTS[:1].repeat(5, 1)
    roots = root_of_softmax((inputs @ WEIGHTS.T).softmax(1))
    factored = curvature_of_classes([(inputs, roots)], full_up_to=0)
    assert isinstance(factored, Kronecker)
    torch.testing.assert_close(whole(factored), whole(curvature_of_classes([(inputs, roots)])))


def test_the_product_has_the_trace_of_its_factors() -> None:
    factored, full = of_classes(full_up_to=0), of_classes()
    assert isinstance(factored, Kronecker)
    assert factored.eigenvalues().shape == full.eigenvalues().shape == (C * D,)
    in_pieces = of_classes(full_up_to=0, pieces=4)
    torch.testing.assert_close(whole(in_pieces), whole(factored))
    ratio = float(factored.eigenvalues().sum() / full.eigenvalues().sum())
    assert 0.5 < ratio < 2


@pytest.mark.parametrize("full_up_to", [1024, 0])
def test_variances_and_draws_are_of_the_posterior(full_up_to: int) -> None:
    curvature = of_classes(full_up_to=full_up_to)
    covariance = torch.linalg.inv(whole(curvature) + PRIOR * torch.eye(C * D, dtype=torch.float64))
    jacobians = torch.stack([torch.kron(torch.eye(C), x[None]).double() for x in INPUTS])
    outputs = jacobians @ covariance @ jacobians.transpose(1, 2)
    torch.testing.assert_close(
        curvature.variances(PRIOR).of(INPUTS), outputs.diagonal(dim1=1, dim2=2)
    )
    # Draws are linear in the noise: unit noise gives a root of the covariance.
    units = torch.eye(C * D, dtype=torch.float64).reshape(C * D, C, D)
    root = curvature.draws(units, PRIOR).reshape(C * D, C * D).T
    torch.testing.assert_close(root @ root.T, covariance)


def test_no_curvature_is_the_prior() -> None:
    nothing = no_curvature(C, D)
    expected = INPUTS.square().sum(1)[:, None].expand(N, C) / PRIOR
    torch.testing.assert_close(nothing.variances(PRIOR).of(INPUTS), expected)


@pytest.mark.parametrize("full_up_to", [1024, 0])
def test_tensors_make_it_again(full_up_to: int) -> None:
    curvature = of_classes(full_up_to=full_up_to)
    again = curvature_from(curvature.tensors())
    assert type(again) is type(curvature)
    assert torch.equal(whole(again), whole(curvature))
    torch.testing.assert_close(whole(curvature.scaled(2.0)), 2 * whole(curvature))
