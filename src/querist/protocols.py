"""What outsiders implement. Structural: a class that has the methods is a strategy.

None of these may keep a clock, a file or a tracker; randomness is always handed in. A strategy may
be built again after a crash, so it keeps nothing between calls that its arguments do not give it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from querist.values import (
    Evaluation,
    History,
    Item,
    Label,
    MetrologyRecord,
    Selection,
    StopDecision,
    Task,
    Verdict,
)

if TYPE_CHECKING:
    from querist.context import MetrologyContext, QueryContext
    from querist.pools.labeled import LabeledSet
    from querist.requests import LabelRequest
    from querist.training.job import TrainingJob, TrainingReport


@runtime_checkable
class Pool(Protocol):
    """Samples addressed by integer index, 0 .. len - 1.

    Reading must not change the pool, and the same index always gives the same sample: a run that
    is resumed builds its pool again and expects to find it as it was (a fingerprint is checked).
    """

    @property
    def classes(self) -> int | None:
        """How many classes there are; None for regression."""
        ...

    def __len__(self) -> int: ...

    def features(self, indices: torch.Tensor) -> torch.Tensor:
        """The features of `indices` `(k,)`, stacked `(k, ...)`, in that order."""
        ...


@runtime_checkable
class TruthfulPool(Pool, Protocol):
    """A pool that knows its own labels: for initial labels, test subsets and the oracle."""

    def targets(self, indices: torch.Tensor) -> torch.Tensor:
        """The truth of `indices`: `(k,)` int64 classes, or `(k,)` or `(k, d)` floats."""
        ...


@runtime_checkable
class GenerativePool(Pool, Protocol):
    """A pool that makes its own candidates in every iteration, beside the samples it has."""

    def propose(self, iteration: int, generator: torch.Generator) -> torch.Tensor:
        """Candidates `(m, ...)` for this iteration. Must depend on its arguments only."""
        ...


class Predictor(Protocol):
    """The side of a learner that strategies see. Calls do not change it."""

    @property
    def task(self) -> Task:
        """Classification, regression or multilabel."""
        ...

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities `(n, c)` on the CPU; rows sum to 1. Not for regression.

        Of several labels, each is for itself, and rows sum to anything.
        """
        ...

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(n,)`, numbers `(n,)` or `(n, d)`, or labels `(n, c)`, on the CPU."""
        ...


@runtime_checkable
class SamplingPredictor(Predictor, Protocol):
    """A predictor that can say how far several equally likely models of its own disagree.

    The models are the members of an ensemble, the masks of dropout, or draws of weights. They stay
    the same until the learner is fitted again: sample `s` of two calls is the same model, so that
    what it says of one row may be put beside what it says of another, and chunks do not matter.
    What strategies ask for by `isinstance`.
    """

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities of each model `(t, n, c)` on the CPU. Classification only."""
        ...

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices of each model `(t, n)`, or numbers `(t, n)` or `(t, n, d)`, on the CPU."""
        ...


class Learner(Predictor, Protocol):
    """A model plus how it is fitted and how it predicts."""

    def fit(self, labeled: LabeledSet, job: TrainingJob) -> TrainingReport:
        """Train on `labeled`, going on from the present weights. The job seeds all randomness."""
        ...

    def state_files(self) -> Mapping[str, bytes]:
        """Everything needed to go on from here, by file name. No pickles."""
        ...

    def load_state_files(self, files: Mapping[str, bytes]) -> None:
        """The inverse of `state_files`."""
        ...

    def reset(self) -> None:
        """Back to the first weights, as if never fitted."""
        ...


@runtime_checkable
class QueryStrategy(Protocol):
    """Chooses the unlabeled samples that the learner would learn most from."""

    def sample(self, context: QueryContext, n: int) -> Selection:
        """At most `n` of `context.unlabeled`, without repeats, most wanted first.

        Fewer are returned when fewer are there. Called again with equal arguments it returns the
        same: after a crash the call may be repeated.

        A strategy with an attribute `wants_committee = True` finds the models of the other learners
        of its parallel run in `context.committee`; a run that has no parent is then refused, unless
        an attribute `votes_alone = True` says that a learner of several models will do. Where
        options decide, the class says that it may want a committee, and the instance whether it
        does.

        An attribute `about` (`querist.about.About`) says what it asks of the learner, what it
        costs, and whose idea it is; an attribute `needs` of an instance, what it asks with its
        options. A learner that cannot give it is then refused before the run starts.

        One that is made of others holds them in a list `strategies`, so that they are told what a
        strategy of the run is told, and passes on their `needs` and `wants_committee`, and has
        `votes_alone = True` where all of them that want a committee have it. Those that hand on
        only what is in the pool refuse one with an attribute `makes_samples = True`, which says
        that its selections are samples of its own.
        """
        ...


@runtime_checkable
class LabelStrategy(Protocol):
    """Where labels come from."""

    def label(self, request: LabelRequest) -> Iterator[Label]:
        """Yield labels as they come; fewer than asked means that the rest is pending.

        Each label is stored before the next one is drawn. What is pending is asked for again in
        the next iteration, with the same `key` per sample. Raise only what means that nothing was
        bought for the samples that have no label yet: they are asked for again. A source that
        cannot know raises `InDoubtError`, and a person settles it.

        A strategy may say more of itself by attributes:

        - `asks_by_key = True`: asked again with a key that it knows it gives the same answer and
          bills once. After a crash it is then asked again.
        - `recall(request) -> Iterator[Label]`: yields what it has sold for these keys, and buys
          nothing. After a crash it is called; only what it leaves out is asked for.
        - `at_once = n`: it is handed `n` samples per call. With 1, a crash leaves one label in
          doubt at most.
        - `version`: text or number; labels of another version are labels of another source.

        A strategy with neither of the first two is never asked again for what it may have sold.
        """
        ...


@runtime_checkable
class MetrologyStrategy(Protocol):
    """Measures a learner."""

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One number per metric name. Pure: called again it returns the same.

        A strategy may say more of itself by attributes:

        - `measures`: the metrics that it gives. Where all strategies of an experiment say so, a
          stop criterion that needs another one is refused before the run starts.
        - `stop_set_size = n`: `context.stop_set` has what this model and the one before predict on
          `n` samples that are the same in every iteration. Classification only.
        - `needs_test_set = False`: it may be used where no samples are held back.
        - `of_each(context) -> tensor (m,)`: for a strategy whose only metric is a mean over the
          samples, what it is the mean of. Comparisons then draw from it instead of measuring anew.
        """
        ...


@runtime_checkable
class StopCriterion(Protocol):
    """Says when a learner has learned enough."""

    def check(self, history: History) -> StopDecision:
        """Asked after every iteration with all iterations so far, the newest last.

        NaN never counts as met, and the reason says that it is NaN. A criterion may name the
        metrics that it cannot do without by an attribute `needs`: that they are measured is then
        checked before the run starts.
        """
        ...


@runtime_checkable
class LabelBudgeted(Protocol):
    """A stop criterion that bounds how many labels there may be: the query phase asks it."""

    def remaining(self, labels: int) -> int:
        """How many more labels may be asked for when there are `labels`."""
        ...


@runtime_checkable
class Gate(Protocol):
    """Decides whether a challenger takes the champion's place."""

    def compare(self, champion: Evaluation | None, challenger: Evaluation) -> Verdict:
        """`champion` is None while there is none yet. A NaN or missing metric never promotes.

        A gate with an attribute `wants_outcomes = True` finds what both models say of each sample
        in `outcomes`. Metrics that it cannot do without, and that predictions alone do not give,
        are named by an attribute `needs`; what it compares that no model inside a run has, by
        `not_in_runs`: a run is then refused before it starts.
        """
        ...


@runtime_checkable
class ItemSource(Protocol):
    """Data that grow: samples with names, of which some are labeled."""

    @property
    def classes(self) -> int | None:
        """How many classes there are; None for regression."""
        ...

    def items(self) -> Iterable[Item]:
        """Everything there is now, in an order of its own. Asked again there may be more; what was
        there stays, though its label may have been corrected.
        """
        ...

    def features(self, ids: Sequence[str]) -> torch.Tensor:
        """The features of items `(k, ...)`, in that order. Never other ones for the same item."""
        ...


@runtime_checkable
class Schedule(Protocol):
    """Changes a group of settings from iteration to iteration.

    One whose attribute `rounds` is true gives numbers that are rounded where the setting is a whole
    one.
    """

    def settings(self, iteration: int, history: History) -> Mapping[str, Any]:
        """What to merge over the group's base settings in `iteration`; empty = the base.

        Before a run starts it is asked with an empty history, so that mistakes show early. The
        answer is always the same for the same iteration and history: a resume asks again.
        """
        ...


@runtime_checkable
class ForeseenSchedule(Schedule, Protocol):
    """A schedule that knows from the start which settings it changes.

    All of them are checked before the run starts, whichever iteration they are for, and all of
    them are tracked in every iteration, also in those that keep the base.
    """

    def overrides(self) -> Sequence[Mapping[str, Any]]:
        """Everything that `settings` may return, or an example of it with all its keys."""
        ...


@runtime_checkable
class TrainingLoop(Protocol):
    """Fits a torch module. The default one is `querist.training.loop.DefaultLoop`."""

    def __call__(
        self, module: torch.nn.Module, labeled: LabeledSet, job: TrainingJob
    ) -> TrainingReport:
        """Train `module` in place on `labeled` as `job.settings` say."""
        ...


TrainStep = Callable[[torch.nn.Module, Any], torch.Tensor]
"""`train_step_fn(model, batch) -> loss`; a batch is a tuple (features, targets)."""

ValidateStep = Callable[[torch.nn.Module, Any], Any]
"""`validate_step_fn(model, batch) -> loss` or a number or None."""


class PartialCheckpoints(Protocol):
    """Where a training loop leaves and finds its state in the middle of training."""

    def save(self, epoch: int, files: Mapping[str, bytes]) -> None:
        """Keep `files` as the state after `epoch` epochs; replaces the one before."""
        ...

    def latest(self) -> tuple[int, Mapping[str, bytes]] | None:
        """The newest state that is whole, with its epoch; None when there is none."""
        ...


class Spool(Protocol):
    """Where a run leaves what the tracker shall hear. Never waits for the tracker."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        ...

    def append(self, kind: str, **payload: Any) -> None:
        """Write one event, durable in order."""
        ...
