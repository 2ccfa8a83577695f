"""What the strategies that ask for votes have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
import torch

from querist.context import QueryContext
from querist.errors import StrategyError
from querist.protocols import Predictor
from querist.strategies.query.random import Random
from querist.strategies.query.voting import select_by_vote
from querist.testing import FixedNumbers, FixedProbabilities, LinearNumbers, query_context
from querist.values import Selection, Task


def constant(*row: float) -> FixedProbabilities:
    return FixedProbabilities(lambda x: torch.tensor(row).expand(len(x), len(row)))


def first_of_last(members: Iterable[torch.Tensor]) -> torch.Tensor:
    return [*members][-1][:, 0]


def vote(*others: Predictor, learner: Predictor | None = None) -> Selection:
    context = query_context(learner=learner, committee=others)
    return select_by_vote(context, 3, Task.CLASSIFICATION, first_of_last)


def test_a_committee_of_one_is_random_sampling() -> None:
    def never(members: Iterable[torch.Tensor]) -> torch.Tensor:
        raise AssertionError("nobody votes")

    alone = select_by_vote(query_context(seed=5), 6, Task.CLASSIFICATION, never)
    assert alone == Random().sample(query_context(seed=5), 6)


def test_the_learner_itself_votes_first() -> None:
    def watch(members: Iterable[torch.Tensor]) -> torch.Tensor:
        own, other = members
        assert own[0].tolist() == [0.25, 0.75]
        assert other[0].tolist() == [0.5, 0.5]
        assert own.dtype == torch.float64
        return own[:, 0]

    context = query_context(learner=constant(0.25, 0.75), committee=[constant(0.5, 0.5)])
    assert len(select_by_vote(context, 3, Task.CLASSIFICATION, watch)) == 3


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
        select_by_vote(context, 3, Task.REGRESSION, first_of_last)
    assert str(shape) in str(caught.value)
