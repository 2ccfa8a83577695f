from __future__ import annotations

import numpy as np
import pytest
import torch

from querist.strategies.query.fisher import (
    Design,
    Roots,
    add_fisher,
    factors,
    principal_directions,
    symmetric,
)


def drawn(n: int, c: int, d: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    proba = torch.randn(n, c, generator=generator).double().mul(2).softmax(1)
    return proba, torch.randn(n, d, generator=generator).double()


def information(p: np.ndarray, h: np.ndarray) -> np.ndarray:
    """The Fisher information of a softmax layer for one sample, by its definition."""
    return np.kron(np.diag(p) - np.outer(p, p), np.outer(h, h))


@pytest.mark.parametrize("classes", [3, 5])
def test_information_is_that_of_the_definition(classes: int) -> None:
    proba, inputs = drawn(7, classes, 4)
    total = None
    for p, x in zip(proba.split(3), inputs.split(3), strict=True):
        total = add_fisher(total, *factors(p, x))
    assert total is not None
    pairs = zip(proba.numpy(), inputs.numpy(), strict=True)
    expected = sum(information(p, h) for p, h in pairs)
    np.testing.assert_allclose(symmetric(total).numpy(), expected, atol=1e-12)


def test_columns_are_a_root_of_the_information() -> None:
    proba, inputs = drawn(2, 3, 4)
    columns = Roots(*factors(proba, inputs)).columns(1)
    expected = information(proba[1].numpy(), inputs[1].numpy())
    np.testing.assert_allclose((columns @ columns.T).numpy(), expected, atol=1e-12)


def test_two_classes_have_one_output() -> None:
    proba, inputs = drawn(5, 2, 3)
    roots, x = factors(proba, inputs)
    assert roots.shape == (5, 1, 1)
    total = symmetric(add_fisher(None, roots, x)).numpy()
    weights = (proba[:, 0] * proba[:, 1]).numpy()
    expected = sum(w * np.outer(h, h) for w, h in zip(weights, inputs.numpy(), strict=True))
    np.testing.assert_allclose(total, expected, atol=1e-12)


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_low_rank_updates_give_the_trace(classes: int) -> None:
    """The trace and the candidates' own matrices stay those of M built anew."""
    proba, inputs = drawn(12, classes, 4)
    roots = Roots(*factors(proba, inputs))
    fisher = symmetric(add_fisher(None, roots.roots, roots.inputs))
    design = Design(torch.eye(len(fisher)).double(), fisher, roots)
    taken = [design.take() for _ in range(8)]
    assert len(set(taken)) == 8
    for _ in range(3):
        taken.remove(design.drop(taken))
    at = torch.tensor(taken)
    kept = symmetric(add_fisher(None, roots.roots[at], roots.inputs[at]))
    inverse = torch.linalg.inv(torch.eye(len(fisher)).double() + kept)
    assert design.trace == pytest.approx(float(torch.trace(inverse @ fisher)), rel=1e-9)
    columns = roots.columns(taken[0])
    torch.testing.assert_close(design._q[taken[0]], columns.T @ inverse @ columns)
    between = columns.T @ inverse @ fisher @ inverse @ columns
    torch.testing.assert_close(design._r[taken[0]], between)


def test_principal_directions_keep_what_is_there() -> None:
    _, inputs = drawn(20, 3, 2)
    wide = inputs @ torch.randn(2, 6, generator=torch.Generator().manual_seed(1)).double()
    directions = principal_directions(wide.split(7), 2)
    torch.testing.assert_close(wide @ directions @ directions.T, wide)
