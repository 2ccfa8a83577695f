from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.strategies.query.bald import Bald, bald_scores
from querist.testing import QueryStrategyContract, query_context
from querist.views import View


class TestContract(QueryStrategyContract):
    def make(self) -> Bald:
        return Bald()


class TestPowerContract(QueryStrategyContract):
    def make(self) -> Bald:
        return Bald(batch="power")


def reference(samples: Any) -> Any:
    def entropy(probabilities: Any) -> Any:
        logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
        return -(probabilities * logs).sum(-1)

    return entropy(samples.mean(0)) - entropy(samples).mean(0)


def test_models_that_are_sure_and_disagree_score_highest() -> None:
    sure, torn = [1.0, 0.0], [0.5, 0.5]
    samples = torch.tensor([[sure, sure, torn], [sure, sure[::-1], torn]])
    torch.testing.assert_close(bald_scores(samples), torch.tensor([0.0, math.log(2), 0.0]))


@settings(deadline=None, max_examples=50)
@given(
    models=st.integers(1, 6),
    rows=st.integers(1, 60),
    classes=st.sampled_from([2, 3, 10, 33]),
    zeros=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_agree_with_numpy(
    models: int, rows: int, classes: int, zeros: bool, seed: int
) -> None:
    drawn = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), (models, rows))
    if zeros:
        drawn[drawn < 0.05] = 0
    scores = bald_scores(torch.from_numpy(drawn)).numpy()
    np.testing.assert_allclose(scores, reference(drawn), rtol=1e-9, atol=1e-12)


def test_a_score_does_not_depend_on_the_samples_beside_it() -> None:
    samples = torch.rand(5, 1000, 10, generator=torch.Generator().manual_seed(0)).softmax(2)
    scores = bald_scores(samples)
    for begin, end in [(0, 1), (3, 50), (17, 900), (999, 1000)]:
        assert torch.equal(bald_scores(samples[:, begin:end]), scores[begin:end])


@pytest.mark.parametrize("n", [1, 8, 37])
def test_chooses_the_highest_scores_of_the_pool(n: int) -> None:
    context = TestContract()._context()
    selection = Bald().sample(context, n)
    (samples,) = context.look(context.unlabeled, View.PROBABILITY_SAMPLES)
    scores = reference(samples.numpy())
    order = np.argsort(-scores, kind="stable")[:n]
    assert selection.indices == tuple(context.unlabeled.numpy()[order].tolist())


def test_a_learner_of_one_model_is_refused_by_name() -> None:
    with pytest.raises(Exception, match="probability samples"):
        Bald().sample(query_context(), 3)
