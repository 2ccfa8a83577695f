from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.context import QueryContext
from querist.errors import ConfigurationError, StrategyError, UnknownNameError
from querist.protocols import QueryStrategy
from querist.strategies.query.binary_minimum import BinaryMinimum
from querist.strategies.query.density_weighted import DensityWeighted
from querist.strategies.query.distance_to_boundary import DistanceToBoundary
from querist.strategies.query.entropy import Entropy
from querist.strategies.query.label_cardinality import LabelCardinality
from querist.strategies.query.least_confidence import LeastConfidence
from querist.strategies.query.margin import Margin
from querist.strategies.query.predictive_variance import PredictiveVariance
from querist.strategies.query.stochastic import BLOCK, Batch, Noise
from querist.testing import (
    DrawnNumbers,
    FixedLabels,
    FixedProbabilities,
    QueryStrategyContract,
    query_context,
)
from querist.views import View

OF_CLASSES = (LeastConfidence, Margin, Entropy, DistanceToBoundary)
OTHERS = (DensityWeighted, PredictiveVariance, BinaryMinimum, LabelCardinality)
STRATEGIES = (*OF_CLASSES, *OTHERS)


class TestPowerContract(QueryStrategyContract):
    def make(self) -> QueryStrategy:
        return Margin(batch="power", coldness=2)


class TestSoftmaxContract(QueryStrategyContract):
    def make(self) -> QueryStrategy:
        return Entropy(batch="softmax", coldness=8)


class TestSoftrankContract(QueryStrategyContract):
    def make(self) -> QueryStrategy:
        return LeastConfidence(batch="softrank")


def context_of(scores: list[float], seed: int = 0, **more: Any) -> QueryContext:
    """A pool whose samples have these probabilities of class 0."""
    return query_context(
        features=torch.tensor(scores, dtype=torch.float64)[:, None],
        targets=torch.zeros(len(scores), dtype=torch.int64),
        learner=FixedProbabilities(lambda x: torch.cat([x, 1 - x], dim=1)),
        labeled=(),
        seed=seed,
        **more,
    )


def usual(strategy: Any, seed: int = 0) -> QueryContext:
    """The usual pool, with a learner of the strategy's task."""
    learner: Any = None
    if strategy is PredictiveVariance:
        weights = torch.randn(5, 4, generator=torch.Generator().manual_seed(8))
        learner = DrawnNumbers(weights.double())
    elif View.LABEL_PROBABILITIES in strategy.about.needs:
        learner = FixedLabels(lambda features: features[:, :3].sigmoid())
    return query_context(learner=learner, seed=seed)


def first(probabilities: torch.Tensor) -> torch.Tensor:
    return probabilities[:, 0]


def reference(scores: Any, form: str, coldness: float, noise: Any) -> Any:
    """The samples in the order in which they are drawn, slow and by the paper."""
    if form == "power":
        keys = np.array([math.log(max(score, 1e-300)) for score in scores])
    elif form == "softmax":
        keys = np.array(scores)
    else:
        ranks = {at: 1 + place for place, at in enumerate(np.argsort(-scores, kind="stable"))}
        keys = np.array([-math.log(ranks[at]) for at in range(len(scores))])
    return np.argsort(-(coldness * keys + noise), kind="stable")


@settings(deadline=None, max_examples=40)
@given(
    size=st.integers(1, 30),
    form=st.sampled_from(["power", "softmax", "softrank"]),
    coldness=st.sampled_from([0.0, 0.5, 1.0, 20.0]),
    n=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_draws_agree_with_numpy(size: int, form: str, coldness: float, n: int, seed: int) -> None:
    scores = np.random.default_rng(seed).random(size)
    uniform = torch.rand(
        BLOCK, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    ).numpy()
    noise = -np.log(-np.log(uniform[:size]))
    context = context_of(scores.tolist(), seed)
    chosen = Batch.of(form, coldness).select(context, n, first, View.PROBABILITIES)
    expected = reference(scores, form, coldness, noise)[:n]
    assert chosen.indices == tuple(expected.tolist())


@pytest.mark.parametrize(
    ("form", "coldness", "weights"),
    [
        ("power", 2.0, [0.1**2, 0.3**2, 0.6**2]),
        ("softmax", 3.0, np.exp(3 * np.array([0.1, 0.3, 0.6])).tolist()),
        ("softrank", 1.0, [1 / 3, 1 / 2, 1.0]),
        ("power", 0.0, [1.0, 1.0, 1.0]),
    ],
)
def test_a_sample_is_drawn_as_often_as_its_score_says(
    form: str, coldness: float, weights: list[float]
) -> None:
    batch = Batch.of(form, coldness)
    counts = np.zeros(3)
    for seed in range(600):
        context = context_of([0.1, 0.3, 0.6], seed)
        counts[batch.select(context, 1, first, View.PROBABILITIES).indices[0]] += 1
    shares = np.array(weights) / sum(weights)
    # Four standard errors of a share of 600 draws.
    np.testing.assert_allclose(counts / 600, shares, atol=4 * 0.5 / math.sqrt(600))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("form", ["power", "softmax", "softrank"])
def test_very_cold_draws_are_the_highest_scores(strategy: Any, form: str) -> None:
    top = strategy().sample(usual(strategy), 6)
    assert strategy(batch=form, coldness=1e9).sample(usual(strategy), 6).indices == top.indices


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("form", ["power", "softmax", "softrank"])
def test_other_seeds_draw_other_batches(strategy: Any, form: str) -> None:
    drawn = {strategy(batch=form).sample(usual(strategy, seed=s), 6).indices for s in range(5)}
    assert len(drawn) > 1


@pytest.mark.parametrize("strategy", OTHERS)
@pytest.mark.parametrize("coldness", [1.0, 4.0])
def test_power_draws_by_the_strategy_s_own_scores(strategy: Any, coldness: float) -> None:
    """Of scores that are at most 0, as binary_minimum's, by what they are above the lowest."""
    everything = strategy().sample(usual(strategy), 40)
    lowest = -0.5 if strategy is BinaryMinimum else 0.0
    scores = np.empty(37)
    context = usual(strategy)
    scores[torch.searchsorted(context.unlabeled, torch.tensor(everything.indices))] = [
        score - lowest for score in everything.scores
    ]
    assert scores.min() >= 0
    noise = Noise(torch.Generator().manual_seed(0)).take(37).numpy()
    order = reference(scores, "power", coldness, noise)[:9]
    drawn = strategy(batch="power", coldness=coldness).sample(context, 9)
    assert drawn.indices == tuple(context.unlabeled.numpy()[order].tolist())


@pytest.mark.parametrize("strategy", OF_CLASSES)
def test_power_takes_scores_that_are_not_negative(strategy: Any) -> None:
    """A prediction that is quite sure has the score 0, and comes last; one that is torn, first."""
    sure, torn = [1.0] * 30, [0.5] * 6
    context = context_of([*sure, *torn])
    assert sorted(strategy(batch="power").sample(context, 6).indices) == list(range(30, 36))


def test_a_redundant_pool_is_spread() -> None:
    """The paper's case: copies of one sample fill the top, and less of a drawn batch."""
    scores = [0.9] * 20 + [0.5 + 0.01 * i for i in range(20)]
    top = Batch.of("top", None).select(context_of(scores), 10, first, View.PROBABILITIES)
    drawn = Batch.of("power", None).select(context_of(scores), 10, first, View.PROBABILITIES)
    assert max(top.indices) < 20
    assert len([i for i in drawn.indices if i >= 20]) >= 2


def test_noise_is_the_same_in_any_portions() -> None:
    whole = Noise(torch.Generator().manual_seed(4)).take(BLOCK + 100)
    portions = Noise(torch.Generator().manual_seed(4))
    parts = [portions.take(m) for m in (0, 1, 7, BLOCK - 20, 112)]
    assert torch.equal(torch.cat(parts), whole)
    assert abs(float(whole.mean()) - 0.5772) < 0.02
    assert abs(float(whole.var()) - math.pi**2 / 6) < 0.05


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_wrong_options_are_refused(strategy: Any) -> None:
    with pytest.raises(UnknownNameError, match="power"):
        strategy(batch="powr")
    with pytest.raises(ConfigurationError, match="^coldness is a finite number of at least 0"):
        strategy(batch="power", coldness=-1)
    with pytest.raises(ConfigurationError, match="^coldness has no effect where batch is top"):
        strategy(coldness=2.0)


@pytest.mark.parametrize("form", ["power", "softmax", "softrank"])
def test_a_score_that_is_not_finite_is_refused(form: str) -> None:
    def broken(probabilities: torch.Tensor) -> torch.Tensor:
        return torch.where(probabilities[:, 0] > 0.5, math.nan, 0.0)

    with pytest.raises(StrategyError, match=r"scores must .* sample 2:"):
        Batch.of(form, None).select(context_of([0.1, 0.2, 0.9]), 2, broken, View.PROBABILITIES)
