from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import ConfigurationError, StrategyError
from querist.strategies.query.expected_gradient_length import (
    ExpectedGradientLength,
    expected_gradient_lengths,
)
from querist.testing import FixedProbabilities, QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> ExpectedGradientLength:
        return ExpectedGradientLength()


class TestFeaturesContract(QueryStrategyContract):
    def make(self) -> ExpectedGradientLength:
        return ExpectedGradientLength(space="features", batch="power")


def reference(probabilities: Any, inputs: Any) -> Any:
    """Slow: every gradient is built."""
    found = []
    for p, h in zip(probabilities, inputs, strict=True):
        lengths = [
            np.linalg.norm(np.outer(p - np.eye(len(p))[y], np.append(h, 1))) for y in range(len(p))
        ]
        found.append(np.dot(p, lengths))
    return np.array(found)


def test_the_gradient_is_that_of_torch() -> None:
    layer = torch.nn.Linear(4, 3).double()
    h = torch.randn(1, 4, generator=torch.Generator().manual_seed(1)).double()
    p = layer(h).softmax(1).detach()
    by_torch = 0.0
    for label in range(3):
        layer.zero_grad()
        torch.nn.functional.cross_entropy(layer(h), torch.tensor([label])).backward()  # type: ignore[no-untyped-call]
        parts = [part.grad for part in layer.parameters() if part.grad is not None]
        length = torch.cat([part.flatten() for part in parts]).norm()
        by_torch += float(p[0, label] * length)
    assert float(expected_gradient_lengths(p, h)) == pytest.approx(by_torch)


@settings(deadline=None, max_examples=30)
@given(
    rows=st.integers(1, 20),
    classes=st.sampled_from([1, 2, 3, 40]),
    width=st.integers(1, 9),
    single=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_agree_with_numpy(
    rows: int, classes: int, width: int, single: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    dtype = np.float32 if single else np.float64
    p = random.dirichlet(np.full(classes, 0.3), rows).astype(dtype)
    h = random.normal(size=(rows, width)).astype(dtype)
    scores = expected_gradient_lengths(torch.from_numpy(p), torch.from_numpy(h))
    assert scores.shape == (rows,)
    expected = reference(p.astype(np.float64), h.astype(np.float64))
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("n", [1, 8, 37])
def test_chooses_the_highest_scores_of_the_pool(n: int) -> None:
    context = query_context()
    features = context.pool.features(context.unlabeled)
    p = context.learner.predict_proba(features).numpy()
    scores = reference(p, features.double().numpy())
    order = np.argsort(-scores, kind="stable")[:n]
    selection = ExpectedGradientLength().sample(context, n)
    assert selection.indices == tuple(context.unlabeled.numpy()[order].tolist())
    np.testing.assert_allclose(selection.scores, scores[order], rtol=1e-9)


def test_of_equally_torn_samples_the_largest_comes_first() -> None:
    learner = FixedProbabilities(lambda x: torch.full((len(x), 2), 0.5))
    context = query_context(features=torch.tensor([[1.0], [3.0], [2.0]]), learner=learner,
                            labeled=())  # fmt: skip
    chosen = ExpectedGradientLength(space="features").sample(context, 3)
    assert chosen.indices == (1, 2, 0)


def test_what_it_needs_depends_on_the_space() -> None:
    assert [v.value for v in ExpectedGradientLength().needs] == ["probabilities", "features"]
    one = ExpectedGradientLength(space="embeddings")
    assert [v.value for v in one.needs] == ["probabilities", "embeddings"]

    class Closed(FixedProbabilities):
        views = frozenset()  # type: ignore[assignment]

    context = query_context(learner=Closed(lambda x: torch.full((len(x), 2), 0.5)))
    with pytest.raises(StrategyError, match="needs the learner's embeddings"):
        one.sample(context, 2)
    assert len(ExpectedGradientLength().sample(context, 2)) == 2
    with pytest.raises(ConfigurationError, match="space"):
        ExpectedGradientLength(space="sky")
