"""The n samples on which a committee disagrees most, over a pool that is predicted chunk by chunk.

The committee is the learner and the other learners of its parallel run, or the learner's own
models: an ensemble's, or those that are drawn from a posterior. Sums over members are taken one
after the other and never by a reduction over a stacked tensor, whose order (and rounding) may
depend on where in the chunk a sample stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch

from querist.context import QueryContext
from querist.errors import StrategyError
from querist.strategies.options import one_of
from querist.strategies.query.random import Random
from querist.strategies.query.scoring import check_count
from querist.strategies.query.stochastic import TOP, Batch
from querist.values import Selection, Task
from querist.views import View, look, require_views, views_of

VoteScore = Callable[[Iterable[torch.Tensor]], torch.Tensor]
"""The members' predictions, each `(m, ...)` in float64 -> scores `(m,)`, higher = more wanted."""

_NEEDS = {
    Task.CLASSIFICATION: "class probabilities",
    Task.REGRESSION: "predicted numbers",
}


COMMITTEES = ("auto", "learners", "models")
_MODELS = {
    Task.CLASSIFICATION: View.PROBABILITY_SAMPLES,
    Task.REGRESSION: View.NUMBER_SAMPLES,
}
_ONE = {Task.CLASSIFICATION: View.PROBABILITIES, Task.REGRESSION: View.NUMBERS}


class Voters:
    """The option `committee`: who votes.

    Attributes:
        name: the option.
        task: what the members predict.

    Args:
        committee: `learners`: the learner and the others of its parallel run. `models`: the
            learner's own. `auto`: the first where another learner is trained, the second where
            none is and the learner has models.
        task: what the members must predict: class probabilities, or numbers.

    Raises:
        ConfigurationError: the option is none of these.
    """

    def __init__(self, committee: str, task: Task) -> None:
        self.name = one_of("committee", committee, COMMITTEES)
        self.task = task

    @property
    def others(self) -> bool:
        """Whether other learners are asked, where there are any: `wants_committee`."""
        return self.name != "models"

    @property
    def alone(self) -> bool:
        """Whether the learner's own models do where there are no others: `votes_alone`."""
        return self.name != "learners"

    @property
    def needs(self) -> tuple[View, ...]:
        """What the learner must have, if the other learners are there."""
        return ((_MODELS if self.name == "models" else _ONE)[self.task],)

    def own_models(self, context: QueryContext) -> View | None:
        """The view that has all votes; None where the other learners vote, or nobody does.

        Raises:
            StrategyError: the learner's models are to vote, and it has none.
        """
        models = _MODELS[self.task]
        if self.name == "models":
            require_views(context.learner, (models,), "a committee of models")
        elif self.name == "learners" or context.committee:
            return None
        return models if models in views_of(context.learner) else None


def select_by_vote(
    context: QueryContext, n: int, voters: Voters, score: VoteScore, batch: Batch = TOP
) -> Selection:
    """n unlabeled samples, chosen by how much a committee disagrees on them.

    A committee of one cannot disagree: as long as there is no other model, the samples are drawn at
    random.

    Args:
        context: what is there to choose from, and who may vote.
        n: how many; all of them when fewer are there.
        voters: who votes, on what.
        score: how much they disagree.
        batch: how samples are chosen by their scores.

    Raises:
        StrategyError: the task is another one, or predictions are unusable or do not fit together.
    """
    check_count(n)
    task = voters.task
    members = (context.learner, *(context.committee if voters.others else ()))
    for member in members:
        if member.task != task:
            raise StrategyError(
                f"this query strategy needs {_NEEDS[task]}, and a {member.task} learner has none: "
                "use `random`, or a query strategy for the other task"
            )
    models = voters.own_models(context)
    if models is not None:
        return batch.select(context, n, lambda votes: score(one.double() for one in votes), models)
    if len(members) == 1:
        return Random().sample(context, n)
    scored = (
        (indices, score(_predictions(context, _ONE[task], indices, own)))
        for indices, own in context.stream(_ONE[task])
    )
    return batch.among(context, n, scored)


class Vote:
    """A query strategy that chooses by how much a committee disagrees.

    Attributes:
        task: what the members must predict.

    Args:
        committee: who votes, see `Voters`.
        batch, coldness: how samples are chosen by their scores, see `Batch`.
    """

    task: Task = Task.CLASSIFICATION
    wants_committee = True

    def __init__(
        self, committee: str = "auto", batch: str = "top", coldness: float | None = None
    ) -> None:
        self.voters = Voters(committee, self.task)
        self.wants_committee = self.voters.others
        self.votes_alone = self.voters.alone
        self.needs = self.voters.needs
        self.batch = Batch.of(batch, coldness)

    def score(self, members: Iterable[torch.Tensor]) -> torch.Tensor:
        """How much the members disagree, a `VoteScore`."""
        raise NotImplementedError("define score(members): how much they disagree")

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest scores; random samples as long as nobody else votes."""
        return select_by_vote(context, n, self.voters, self.score, self.batch)


def _predictions(
    context: QueryContext, view: View, indices: torch.Tensor, own: torch.Tensor
) -> Iterator[torch.Tensor]:
    """What each member predicts, one after the other, so that few are in memory at once."""
    # Half precision, and float32 where members nearly agree, would make ties of differences.
    yield own.double().cpu()
    features = context.pool.features(indices)
    for number, member in enumerate(context.committee, 1):
        try:
            (predicted,) = look(member, (view,), features, indices)
        except StrategyError as error:
            raise StrategyError(f"of other learner {number} in the committee, {error}") from error
        if predicted.shape != own.shape:
            raise StrategyError(
                f"members of a committee predict alike, not the shapes {tuple(own.shape)} and "
                f"{tuple(predicted.shape)}: check the learners' models"
            )
        yield predicted.double().cpu()


def vote_counts(members: Iterable[torch.Tensor]) -> tuple[torch.Tensor, int]:
    """How many members vote for each class, and how many there are: k times `(m, c)` -> `(m, c)`.

    A member votes for its most probable class; of equal ones for the first. Whole numbers, whose
    sums are the same in any order: rounding must not decide between ties.
    """
    counts, number = torch.zeros((), dtype=torch.int64), 0
    for probabilities in members:
        votes = probabilities.argmax(1, keepdim=True)
        if not number:
            counts = torch.zeros_like(probabilities, dtype=torch.int64)
        counts.scatter_add_(1, votes, torch.ones_like(votes))
        number += 1
    return counts, number


def sum_of(parts: Iterable[torch.Tensor]) -> torch.Tensor:
    """The sum of tensors in float64, one after the other."""
    total = torch.zeros((), dtype=torch.float64)
    for part in parts:
        total = total + part
    return total
