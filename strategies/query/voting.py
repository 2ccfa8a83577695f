"""The n samples on which a committee disagrees most, over a pool that is predicted chunk by chunk.

The committee is the learner and the other learners of its parallel run. Sums over members are taken
one after the other and never by a reduction over a stacked tensor, whose order (and rounding) may
depend on where in the chunk a sample stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch

from querist.context import QueryContext
from querist.errors import StrategyError
from querist.protocols import Predictor
from querist.strategies.query.random import Random
from querist.strategies.query.scoring import TopScores, check_count, check_scores
from querist.values import Selection, Task
from querist.view_checks import check_numbers, check_probabilities

Disagreement = Callable[[Iterable[torch.Tensor]], torch.Tensor]
"""The members' predictions, each `(m, ...)` in float64 -> scores `(m,)`, higher = more wanted."""

_NEEDS = {
    Task.CLASSIFICATION: "class probabilities, and a regression learner has none",
    Task.REGRESSION: "predicted numbers, and a classification learner has none",
}


def select_by_vote(context: QueryContext, n: int, task: Task, score: Disagreement) -> Selection:
    """The n unlabeled samples with the highest scores; of equal ones the lower index comes first.

    A committee of one cannot disagree: as long as there is no other learner's model, the samples
    are drawn at random.

    Args:
        context: what is there to choose from, and who votes.
        n: how many; all of them when fewer are there.
        task: what the members must predict: class probabilities, or numbers.
        score: how much they disagree.

    Raises:
        StrategyError: the task is another one, or predictions are unusable or do not fit together.
    """
    check_count(n)
    members = (context.learner, *context.committee)
    if any(member.task != task for member in members):
        raise StrategyError(
            f"this query strategy needs {_NEEDS[task]}: use `random`, or a query strategy for the "
            "other task"
        )
    if len(members) == 1:
        return Random().sample(context, n)
    top = TopScores(min(n, len(context.unlabeled)))
    if top.n == 0:
        return top.selection()
    for indices, features in context.chunks():
        scores = score(_predictions(members, task, indices, features))
        check_scores(scores, indices)
        top.offer(indices, scores)
    return top.selection()


def _predictions(
    members: Iterable[Predictor], task: Task, indices: torch.Tensor, features: torch.Tensor
) -> Iterator[torch.Tensor]:
    """What each member predicts, one after the other, so that few are in memory at once."""
    shape = None
    for number, member in enumerate(members):
        try:
            if task is Task.CLASSIFICATION:
                predicted = member.predict_proba(features)
                check_probabilities(predicted, indices)
            else:
                predicted = member.predict(features)
                check_numbers(predicted, indices)
        except StrategyError as error:
            if number == 0:
                raise
            raise StrategyError(f"of other learner {number} in the committee, {error}") from error
        if shape not in (None, predicted.shape):
            raise StrategyError(
                f"members of a committee predict alike, not the shapes {tuple(shape or ())} and "
                f"{tuple(predicted.shape)}: check the learners' models"
            )
        shape = predicted.shape
        # Half precision, and float32 where members nearly agree, would make ties of differences.
        yield predicted.double()


def sum_of(parts: Iterable[torch.Tensor]) -> torch.Tensor:
    """The sum of tensors in float64, one after the other."""
    total = torch.zeros((), dtype=torch.float64)
    for part in parts:
        total = total + part
    return total
