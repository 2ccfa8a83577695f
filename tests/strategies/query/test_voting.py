"""What the strategies that ask for votes have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest
import torch

from querist.context import QueryContext
from querist.errors import StrategyError, UnknownNameError
from querist.protocols import Predictor
from querist.strategies.query.committee_variance import CommitteeVariance
from querist.strategies.query.consensus_kl import ConsensusKL
from querist.strategies.query.disagreement import Disagreement
from querist.strategies.query.random import Random
from querist.strategies.query.vote_entropy import VoteEntropy
from querist.strategies.query.voting import Voters, select_by_vote
from querist.testing import (
    DrawnNumbers,
    DrawnSoftmax,
    FixedNumbers,
    FixedProbabilities,
    LinearNumbers,
    LinearSoftmax,
    query_context,
)
from querist.values import Selection, Task
from querist.views import View

LEARNERS = Voters("learners", Task.CLASSIFICATION)


def constant(*row: float) -> FixedProbabilities:
    return FixedProbabilities(lambda x: torch.tensor(row).expand(len(x), len(row)))


def first_of_last(members: Iterable[torch.Tensor]) -> torch.Tensor:
    return [*members][-1][:, 0]


def vote(*others: Predictor, learner: Predictor | None = None) -> Selection:
    context = query_context(learner=learner, committee=others)
    return select_by_vote(context, 3, LEARNERS, first_of_last)


def test_a_committee_of_one_is_random_sampling() -> None:
    def never(members: Iterable[torch.Tensor]) -> torch.Tensor:
        raise AssertionError("nobody votes")

    alone = select_by_vote(query_context(seed=5), 6, LEARNERS, never)
    assert alone == Random().sample(query_context(seed=5), 6)


def test_the_learner_itself_votes_first() -> None:
    def watch(members: Iterable[torch.Tensor]) -> torch.Tensor:
        own, other = members
        assert own[0].tolist() == [0.25, 0.75]
        assert other[0].tolist() == [0.5, 0.5]
        assert own.dtype == torch.float64
        return own[:, 0]

    context = query_context(learner=constant(0.25, 0.75), committee=[constant(0.5, 0.5)])
    assert len(select_by_vote(context, 3, LEARNERS, watch)) == 3


def test_of_equal_scores_the_lower_index_comes_first() -> None:
    assert vote(constant(0.5, 0.5), learner=constant(0.5, 0.5)).indices == (0, 1, 2)


def test_another_member_s_nan_is_refused_and_the_member_named() -> None:
    with pytest.raises(StrategyError, match=r"^of other learner 2 in the committee, .*sample 0:"):
        vote(constant(0.5, 0.5), constant(math.nan, 0.5), learner=constant(0.5, 0.5))


def test_members_with_other_classes_are_refused() -> None:
    with pytest.raises(StrategyError, match=r"not the shapes \(16, 2\) and \(16, 3\): check"):
        vote(constant(0.2, 0.3, 0.5), learner=constant(0.5, 0.5))


def test_a_member_for_another_task_is_refused() -> None:
    with pytest.raises(StrategyError, match="a regression learner has none"):
        vote(LinearNumbers(torch.ones(4)))


@pytest.mark.parametrize("shape", [(16, 2, 1), (3,), ()])
def test_numbers_of_the_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    wrong = FixedNumbers(lambda x: torch.zeros(shape))
    context: QueryContext = query_context(
        learner=wrong, committee=[wrong], targets=torch.zeros(40), chunk_size=16
    )
    with pytest.raises(StrategyError, match="check the learner's predict") as caught:
        select_by_vote(context, 3, Voters("auto", Task.REGRESSION), first_of_last)
    assert str(shape) in str(caught.value)


# The option `committee` ---------------------------------------------------------------------------

MODELS = DrawnSoftmax(torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(2)).double())


def votes_of(context: QueryContext, committee: str) -> list[int]:
    """How many vote on each chunk."""
    seen = []

    def count(members: Iterable[torch.Tensor]) -> torch.Tensor:
        given = list(members)
        assert all(one.dtype == torch.float64 for one in given)
        seen.append(len(given))
        return given[0][:, 0]

    select_by_vote(context, 3, Voters(committee, Task.CLASSIFICATION), count)
    return seen


def test_auto_takes_the_other_learners_where_there_are_any() -> None:
    context = query_context(learner=MODELS, committee=[constant(0.2, 0.3, 0.5)])
    assert set(votes_of(context, "auto")) == {2}
    assert set(votes_of(context, "learners")) == {2}
    assert set(votes_of(context, "models")) == {3}


def test_auto_takes_the_learner_s_models_where_nobody_else_is_trained() -> None:
    context = query_context(learner=MODELS)
    assert set(votes_of(context, "auto")) == {3}
    assert votes_of(context, "learners") == []  # drawn at random


def test_models_of_a_learner_of_one_are_refused() -> None:
    context = query_context(learner=LinearSoftmax(torch.zeros(4, 3).double()))
    with pytest.raises(StrategyError, match="a committee of models needs the learner's probab"):
        votes_of(context, "models")
    assert votes_of(context, "auto") == []


def test_the_models_of_a_regression_learner_vote_with_numbers() -> None:
    context = query_context(learner=DrawnNumbers(torch.eye(4).double()))
    voters = Voters("auto", Task.REGRESSION)
    chosen = select_by_vote(context, 3, voters, lambda members: sum(members)[:, 0])  # type: ignore[index]
    sums = context.pool.features(context.unlabeled).double().sum(1)
    assert chosen.indices == tuple(context.unlabeled[sums.argsort(descending=True)[:3]].tolist())


@pytest.mark.parametrize("strategy", [VoteEntropy, ConsensusKL, Disagreement, CommitteeVariance])
def test_strategies_say_whom_they_want(strategy: Any) -> None:
    said = {
        committee: (one.wants_committee, one.votes_alone, [view.value for view in one.needs])
        for committee in ("auto", "learners", "models")
        for one in [strategy(committee=committee)]
    }
    kind = "number" if strategy is CommitteeVariance else "probability"
    single = "numbers" if strategy is CommitteeVariance else "probabilities"
    assert strategy.wants_committee
    assert said == {
        "auto": (True, True, [single]),
        "learners": (True, False, [single]),
        "models": (False, True, [f"{kind}_samples"]),
    }
    with pytest.raises(UnknownNameError, match="models"):
        strategy(committee="model")


def test_what_the_learner_said_before_is_not_asked_again() -> None:
    rows: list[int] = []

    def counted(features: torch.Tensor) -> torch.Tensor:
        rows.append(len(features))
        return torch.tensor([0.5, 0.5], dtype=torch.float16).expand(len(features), 2)

    context = query_context(learner=FixedProbabilities(counted), committee=(constant(1, 0),))
    context.gather(View.PROBABILITIES)
    asked = sum(rows)
    for strategy in (VoteEntropy("learners"), ConsensusKL("learners")):
        assert len(strategy.sample(context, 3)) == 3
    assert sum(rows) == asked
