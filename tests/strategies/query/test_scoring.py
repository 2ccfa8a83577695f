from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.context import QueryContext
from querist.errors import StrategyError
from querist.strategies.query.scoring import TopScores, select_by_probability, top_two
from querist.testing import FixedProbabilities, LinearNumbers, query_context


def first_class(probabilities: torch.Tensor) -> torch.Tensor:
    return probabilities[:, 0]


def context_of(column: list[float], chunk_size: int = 3) -> QueryContext:
    """A pool whose samples have the given probability of class 0."""
    return query_context(
        features=torch.tensor(column)[:, None],
        targets=torch.zeros(len(column), dtype=torch.int64),
        learner=FixedProbabilities(lambda x: torch.cat([x, 1 - x], dim=1)),
        labeled=(),
        chunk_size=chunk_size,
    )


@settings(deadline=None, max_examples=200)
@given(
    scores=st.lists(st.integers(-3, 3), min_size=0, max_size=60),
    n=st.integers(1, 70),
    chunk=st.integers(1, 25),
    shuffle=st.randoms(use_true_random=False),
)
def test_top_scores_are_those_of_a_full_sort(
    scores: list[int], n: int, chunk: int, shuffle: Random
) -> None:
    """Few different scores, so that nearly everything is a tie; indices in any order."""
    indices = list(range(100, 100 + len(scores)))
    shuffle.shuffle(indices)
    top = TopScores(n)
    at, values = torch.tensor(indices), torch.tensor(scores, dtype=torch.float64)
    for part in torch.arange(len(scores)).split(chunk):
        top.offer(at[part], values[part])
    expected = sorted(zip(scores, indices, strict=True), key=lambda pair: (-pair[0], pair[1]))[:n]
    selection = top.selection()
    assert selection.indices == tuple(index for _, index in expected)
    assert selection.scores == tuple(float(score) for score, _ in expected)


def test_only_the_best_are_kept() -> None:
    """Rising scores are the worst case: every offer beats all that came before."""
    top = TopScores(10)
    for start in range(0, 10_000, 100):
        part = torch.arange(start, start + 100)
        top.offer(part, part.double())
        assert sum(map(len, top._indices)) <= 2 * top.n + 100
    assert top.selection().indices == tuple(range(9999, 9989, -1))


def test_of_equal_scores_the_lower_index_comes_first() -> None:
    context = context_of([0.5, 0.25, 0.5, 0.75, 0.5, 0.75, 0.5], chunk_size=2)
    assert select_by_probability(context, 4, first_class).indices == (3, 5, 0, 2)


def test_the_pool_is_read_in_chunks() -> None:
    sizes = []

    def watch(probabilities: torch.Tensor) -> torch.Tensor:
        sizes.append(len(probabilities))
        return probabilities[:, 0]

    select_by_probability(context_of([0.5] * 10, chunk_size=4), 2, watch)
    assert sizes == [4, 4, 2]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_probabilities_that_are_not_finite_are_refused(value: float) -> None:
    context = context_of([0.1, 0.2, 0.3, 0.4, value, value, 0.7])
    with pytest.raises(StrategyError) as caught:
        select_by_probability(context, 2, first_class)
    assert str(caught.value) == (
        "probabilities must be finite numbers a sample can be ranked by: those of 2 of 3 samples "
        "are NaN or infinite, the first is sample 4: check the model (has its training diverged?)"
    )


@pytest.mark.parametrize("value", [-0.01, 1.01, 17.0])
def test_numbers_that_are_no_probabilities_are_refused(value: float) -> None:
    with pytest.raises(StrategyError, match=r"1 of 3 samples are outside 0 to 1.* sample 1:"):
        select_by_probability(context_of([0.1, value, 0.3]), 2, first_class)


def test_probabilities_that_are_rounded_up_are_accepted() -> None:
    rounded = FixedProbabilities(lambda x: torch.full((len(x), 1), 1.0000002))
    context = query_context(learner=rounded)
    assert len(select_by_probability(context, 2, first_class)) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_refused(value: float) -> None:
    def broken(probabilities: torch.Tensor) -> torch.Tensor:
        return torch.where(probabilities[:, 0] > 0.5, value, 0.0)

    with pytest.raises(StrategyError, match=r"scores must .*those of 1 of 3 samples .* sample 2:"):
        select_by_probability(context_of([0.1, 0.2, 0.9]), 2, broken)


def test_scores_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(StrategyError, match=r"3 samples have 3 scores, not the shape \(3, 2\)"):
        select_by_probability(context_of([0.1, 0.2, 0.9]), 2, lambda p: p)


@pytest.mark.parametrize("shape", [(3,), (2, 2), (3, 0), (3, 2, 1)])
def test_probabilities_of_the_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    learner = FixedProbabilities(lambda x: torch.full(shape, 0.5))
    features = torch.zeros(3, 1)
    targets = torch.zeros(3, dtype=torch.int64)
    context = query_context(features=features, targets=targets, learner=learner, labeled=())
    with pytest.raises(StrategyError, match="have the shape") as caught:
        select_by_probability(context, 2, first_class)
    assert str(shape) in str(caught.value)
    assert "predict_proba" in str(caught.value)


def test_a_regression_learner_is_refused_even_without_samples() -> None:
    context = query_context(
        learner=LinearNumbers(torch.ones(4)), unlabeled=torch.empty(0, dtype=torch.int64)
    )
    with pytest.raises(StrategyError, match="needs the learner's probabilities, .* random"):
        select_by_probability(context, 2, first_class)


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(StrategyError, match="0 samples or more, not -2"):
        select_by_probability(query_context(), -2, first_class)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype: torch.dtype) -> None:
    """1 - p in half precision would round these two to the same score."""
    fine = torch.tensor([0.0009765625, 0.00097751617431640625], dtype=torch.float64)

    def half(features: torch.Tensor) -> torch.Tensor:
        return features.to(dtype)

    features = torch.stack([fine[0].expand(2), fine[1].expand(2)]).to(dtype)
    context = query_context(
        features=features,
        targets=torch.zeros(2, dtype=torch.int64),
        learner=FixedProbabilities(half),
        labeled=(),
    )
    scores = select_by_probability(context, 2, lambda p: 1 - p[:, 0]).scores
    expected = sorted((1 - features[:, 0].float()).tolist(), reverse=True)
    assert list(scores) == expected
    assert all(score < 1 for score in scores)


@settings(deadline=None)
@given(
    rows=st.integers(0, 20),
    classes=st.integers(2, 40),
    seed=st.integers(0, 2**32 - 1),
    steps=st.sampled_from([2, 5, 10**6]),
)
def test_top_two_are_those_of_a_sort(rows: int, classes: int, seed: int, steps: int) -> None:
    """Few steps make rows with ties; also those where the highest occurs twice."""
    values = np.random.default_rng(seed).integers(0, steps, (rows, classes)) / steps
    first, second = top_two(torch.from_numpy(values))
    ordered = np.sort(values, axis=1)
    np.testing.assert_array_equal(first.numpy(), ordered[:, -1])
    np.testing.assert_array_equal(second.numpy(), ordered[:, -2])
