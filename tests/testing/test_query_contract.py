"""Each broken strategy fails the contract, with the words that say why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from querist.context import QueryContext
from querist.strategies.query.margin import Margin, margin_scores
from querist.strategies.query.random import Random
from querist.strategies.query.scoring import select_by_probability
from querist.testing import QueryStrategyContract, check_query_strategy
from querist.values import Selection, Task

Sample = Callable[[QueryContext, int], Selection]


def first(context: QueryContext, n: int) -> Selection:
    chosen = tuple(context.unlabeled[:n].tolist())
    return Selection(chosen, (0.0,) * len(chosen))


def labeled_too(context: QueryContext, n: int) -> Selection:
    chosen = (*context.labeled.indices.tolist(), *context.unlabeled.tolist())[:n]
    return Selection(chosen, (0.0,) * len(chosen))


def repeats(context: QueryContext, n: int) -> Selection:
    chosen = (*first(context, max(n - 1, 0)).indices, *first(context, 1).indices)[:n]
    return Selection(chosen, (0.0,) * len(chosen))


def one_too_few(context: QueryContext, n: int) -> Selection:
    return first(context, max(n - 1, 0))


def too_many(context: QueryContext, n: int) -> Selection:
    return first(context, n + 1)


def without_scores(context: QueryContext, n: int) -> Selection:
    return Selection(first(context, n).indices, ())


def rising_scores(context: QueryContext, n: int) -> Selection:
    chosen = first(context, n).indices
    return Selection(chosen, tuple(map(float, range(len(chosen)))))


def nan_scores(context: QueryContext, n: int) -> Selection:
    chosen = first(context, n).indices
    return Selection(chosen, (float("nan"),) * len(chosen))


def tensor_indices(context: QueryContext, n: int) -> Selection:
    chosen = tuple(context.unlabeled[:n])
    return Selection(chosen, (0.0,) * len(chosen))


def spoils_the_pool(context: QueryContext, n: int) -> Selection:
    context.pool._features.zero_()  # type: ignore[attr-defined]
    return first(context, n)


def spoils_the_model(context: QueryContext, n: int) -> Selection:
    if hasattr(context.learner, "weights"):
        context.learner.weights.add_(1)
    return first(context, n)


def spoils_the_indices(context: QueryContext, n: int) -> Selection:
    selection = first(context, n)
    context.unlabeled.copy_(context.unlabeled.flip(0))
    return selection


def global_torch(context: QueryContext, n: int) -> Selection:
    torch.rand(1)
    return first(context, n)


def global_numpy(context: QueryContext, n: int) -> Selection:
    np.random.rand(1)
    return first(context, n)


def draws_globally(context: QueryContext, n: int) -> Selection:
    chosen = context.unlabeled[torch.randperm(len(context.unlabeled))[:n]]
    return Selection(tuple(chosen.tolist()), (0.0,) * len(chosen))


def last_of_each_chunk(context: QueryContext, n: int) -> Selection:
    chunks = [indices for indices, _ in context.chunks()]
    chosen = torch.cat([indices.flip(0) for indices in chunks])[:n].tolist()
    return Selection(tuple(chosen), (0.0,) * len(chosen))


def swallows_nan(context: QueryContext, n: int) -> Selection:
    learner = context.learner

    class Repaired:
        task = learner.task

        def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
            return learner.predict_proba(features).nan_to_num(0.0, 1.0, 0.0)

        predict = learner.predict

    changed = QueryContext(**{**vars(context), "learner": Repaired()})
    return select_by_probability(changed, n, margin_scores)


def crashes_on_an_empty_pool(context: QueryContext, n: int) -> Selection:
    context.unlabeled.max()
    return first(context, n)


def strategy(sample: Sample) -> Callable[[], Any]:
    return type("Strategy", (), {"sample": staticmethod(sample)})


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (labeled_too, "are labeled or not in the pool"),
        (repeats, "an index is repeated"),
        (one_too_few, "samples were chosen, not"),
        (too_many, "samples were chosen, not"),
        (without_scores, "0 scores for"),
        (rising_scores, "most wanted comes first"),
        (nan_scores, "scores must be finite"),
        (tensor_indices, "indices are Python ints"),
        (spoils_the_pool, "sample changed the pool's features"),
        (spoils_the_model, "sample changed the model"),
        (spoils_the_indices, "sample changed context.unlabeled"),
        (global_torch, "the global generator of torch was used"),
        (global_numpy, "the global generator of numpy was used"),
        (draws_globally, "the same seed gave"),
        (last_of_each_chunk, "one chunk gave"),
    ],
)
def test_a_broken_strategy_fails(sample: Sample, message: str, complaints: Any) -> None:
    found = complaints(QueryStrategyContract(), strategy(sample), uses_predictions=False)
    assert any(message in complaint for complaint in found), found
    with pytest.raises(AssertionError):
        check_query_strategy(strategy(sample), uses_predictions=False)


def test_a_crash_shows() -> None:
    with pytest.raises(RuntimeError):
        check_query_strategy(strategy(crashes_on_an_empty_pool), uses_predictions=False)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (swallows_nan, "predictions with nan must be refused: nothing was raised"),
        (first, "must be refused: nothing was raised"),
    ],
)
def test_a_strategy_that_uses_predictions_refuses_bad_ones(sample: Sample, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_query_strategy(strategy(sample))


def test_another_error_than_ours_is_no_refusal() -> None:
    def raises(context: QueryContext, n: int) -> Selection:
        if hasattr(context.learner, "function") and len(context.unlabeled):
            context.learner.predict_proba(context.pool.features(context.unlabeled)).log().max()
            raise KeyError("oops")
        return first(context, n)

    suite = QueryStrategyContract()
    suite.make = strategy(raises)  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=r"raised KeyError\('oops'\), not an error of querist"):
        suite.test_refuses_predictions_that_are_not_finite()


def test_good_strategies_pass() -> None:
    check_query_strategy(Margin)
    check_query_strategy(Random, uses_predictions=False)
    check_query_strategy(
        strategy(last_of_each_chunk), uses_predictions=False, depends_on_chunks=True
    )


def test_a_suite_without_make_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"define make\(\)"):
        QueryStrategyContract().test_survives_ties()


def forgets_the_alone(context: QueryContext, n: int) -> Selection:
    if not context.committee:
        raise ValueError("nobody votes")
    return select_by_probability(context, n, margin_scores)


def spoils_a_member(context: QueryContext, n: int) -> Selection:
    for member in context.committee:
        if hasattr(member, "weights"):
            member.weights.add_(1)
    return select_by_probability(context, n, margin_scores)


@pytest.mark.parametrize(
    ("sample", "error", "message"),
    [
        (forgets_the_alone, ValueError, "nobody votes"),
        (spoils_a_member, AssertionError, "sample changed model 1 of the committee"),
    ],
)
def test_a_strategy_that_wants_a_committee_is_tried_with_and_without(
    sample: Sample, error: type[Exception], message: str
) -> None:
    class Voting:
        wants_committee = True

        def sample(self, context: QueryContext, n: int) -> Selection:
            return sample(context, n)

    with pytest.raises(error, match=message):
        check_query_strategy(Voting)


def test_a_strategy_for_regression_is_tried_with_numbers() -> None:
    with pytest.raises(AssertionError, match="predictions with nan must be refused"):
        check_query_strategy(Random, task=Task.REGRESSION)
    suite = QueryStrategyContract()
    suite.task = Task.REGRESSION
    suite.make = Random  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="a classification learner must be refused"):
        suite.test_refuses_a_learner_for_another_task()
