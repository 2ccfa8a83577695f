from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import ConfigurationError, StrategyError
from querist.strategies.query import epig
from querist.strategies.query.bald import Bald
from querist.strategies.query.epig import Epig, Targets
from querist.testing import (
    DrawnSoftmax,
    FixedProbabilities,
    LinearSoftmax,
    QueryStrategyContract,
    query_context,
)
from querist.views import View


class TestContract(QueryStrategyContract):
    def make(self) -> Epig:
        return Epig()


class TestFewTargetsContract(QueryStrategyContract):
    def make(self) -> Epig:
        return Epig(targets=5, batch="power")


def reference(samples: Any, targets: Any) -> Any:
    """Slow, and by the paper: the divergence of the joint prediction from the product."""
    found = []
    for row in range(samples.shape[1]):
        gains = []
        for other in range(targets.shape[1]):
            joint = np.mean(
                [np.outer(s[row], t[other]) for s, t in zip(samples, targets, strict=True)], axis=0
            )
            product = np.outer(samples[:, row].mean(0), targets[:, other].mean(0))
            there = joint > 0
            gains.append((joint[there] * np.log(joint[there] / product[there])).sum())
        found.append(np.mean(gains))
    return np.array(found)


def drawn(models: int, rows: int, classes: int, seed: int) -> Any:
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), (models, rows))


@settings(deadline=None, max_examples=30)
@given(
    models=st.integers(1, 5),
    rows=st.integers(1, 8),
    others=st.integers(1, 6),
    classes=st.sampled_from([1, 2, 3, 7]),
    single=st.booleans(),
    block=st.sampled_from([1, 10, 2**20]),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_agree_with_numpy(
    models: int, rows: int, others: int, classes: int, single: bool, block: int, seed: int
) -> None:
    dtype = np.float32 if single else np.float64
    samples = drawn(models, rows, classes, seed).astype(dtype)
    targets = drawn(models, others, classes, seed + 1).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epig, "BLOCK", block)
        scores = Targets(torch.from_numpy(targets)).scores(torch.from_numpy(samples))
    assert scores.shape == (rows,)
    assert scores.dtype == torch.from_numpy(samples).dtype
    np.testing.assert_allclose(
        scores.numpy(), reference(samples, targets), atol=1e-5 if single else 1e-10
    )


def test_classes_that_are_ruled_out_are_no_trouble() -> None:
    certain = torch.eye(3)[torch.tensor([[0, 1], [1, 1]])]  # of the first, the models disagree
    scores = Targets(certain).scores(certain)
    torch.testing.assert_close(scores, torch.tensor([np.log(2) / 2, 0.0]), check_dtype=False)


@pytest.mark.parametrize("n", [1, 8, 37])
def test_chooses_the_highest_scores_of_the_pool(n: int) -> None:
    weights = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(8)).double()
    context = query_context(learner=DrawnSoftmax(weights))
    samples = context.gather(View.PROBABILITY_SAMPLES).numpy()
    scores = reference(samples, samples)
    order = np.argsort(-scores, kind="stable")[:n]
    selection = Epig().sample(context, n)
    assert selection.indices == tuple(context.unlabeled.numpy()[order].tolist())
    np.testing.assert_allclose(selection.scores, scores[order], rtol=1e-9)


def test_an_odd_sample_is_asked_for_by_bald_and_not_by_epig() -> None:
    """The paper's case: the models differ most where nothing else of the pool is."""

    class Odd(FixedProbabilities):
        def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
            odd = features[:, 0] == 0
            one = torch.where(odd, 0.99, 0.8)
            three = torch.where(odd, 0.01, 0.8)
            two, four = torch.where(odd, 0.99, 0.2), torch.where(odd, 0.01, 0.2)
            first = torch.stack([one, three, two, four]).double()
            return torch.stack([first, 1 - first], dim=2)

    context = query_context(
        features=torch.arange(30.0)[:, None], learner=Odd(lambda x: x), labeled=()
    )
    assert Bald().sample(context, 1).indices == (0,)
    assert Epig().sample(context, 5).indices == (1, 2, 3, 4, 5)


def test_targets_are_drawn_from_the_generator() -> None:
    learner = DrawnSoftmax(torch.randn(5, 4, 3).double())
    found = {
        Epig(targets=2).sample(query_context(learner=learner, seed=s), 1).scores for s in range(4)
    }
    assert len(found) > 1


def test_wrong_options_and_learners_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="^targets is a whole number of at least 1"):
        Epig(targets=0)
    single = query_context(learner=LinearSoftmax(torch.zeros(4, 3).double()))
    with pytest.raises(StrategyError, match="needs the learner's probability samples"):
        Epig().sample(single, 0)
