"""The contract of a query strategy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from querist.context import QueryContext
from querist.pools.labeled import LabeledSet
from querist.pools.tensor_pool import TensorPool
from querist.protocols import Predictor, QueryStrategy
from querist.testing.predictors import (
    DrawnNumbers,
    DrawnSoftmax,
    FixedLabels,
    FixedNumbers,
    FixedProbabilities,
    LinearLabels,
    LinearNumbers,
    LinearSoftmax,
)
from querist.testing.suite import global_randomness_untouched, refusal, run_suite
from querist.testing.watched import Watched
from querist.values import Selection, Task
from querist.views import View, needs_of

CLASSES = 3
LABELED = (4, 11, 29)
SIZE = 40


def query_context(
    *,
    features: torch.Tensor | None = None,
    targets: torch.Tensor | None = None,
    learner: Predictor | None = None,
    labeled: Sequence[int] = LABELED,
    unlabeled: torch.Tensor | None = None,
    seed: int = 0,
    chunk_size: int = 16,
    committee: Sequence[Predictor] = (),
) -> QueryContext:
    """A small real context: 40 samples of three classes, three of them labeled.

    Args:
        features: `(n, d)`; default: fixed numbers `(40, 4)`.
        targets: `(n,)`; default: classes in turn, sums of features for a regression learner, or
            which of the first features are above 0 for a multilabel one.
        learner: default: a linear softmax model.
        labeled: indices of the labeled samples.
        unlabeled: default: all that are not labeled.
        seed: of the generator.
        chunk_size: samples per prediction.
        committee: models of other learners.
    """
    if features is None:
        features = torch.randn(SIZE, 4, generator=torch.Generator().manual_seed(7))
    if learner is None:
        learner = LinearSoftmax(_weights(features, CLASSES))
    if targets is None:
        numbers = features.reshape(len(features), -1).sum(1)
        classes = torch.arange(len(features)) % CLASSES
        targets = numbers if learner.task == Task.REGRESSION else classes
        if learner.task == Task.MULTILABEL:
            targets = (features.reshape(len(features), -1)[:, :CLASSES] > 0).float()
    pool = TensorPool(features, targets)
    known = torch.tensor(list(labeled), dtype=torch.int64)
    if unlabeled is None:
        everything = torch.arange(len(features))
        unlabeled = everything[~torch.isin(everything, known)]
    return QueryContext(
        learner=learner,
        pool=pool,
        unlabeled=unlabeled,
        labeled=LabeledSet(pool, known, targets[known]),
        generator=torch.Generator().manual_seed(seed),
        device=torch.device("cpu"),
        chunk_size=chunk_size,
        iteration=1,
        committee=tuple(committee),
    )


def _weights(features: torch.Tensor, classes: int, seed: int = 3) -> torch.Tensor:
    width = features[0].numel()
    drawn = torch.randn(width, classes, generator=torch.Generator().manual_seed(seed))
    return drawn.to(torch.float64)


def _drawn_weights(features: torch.Tensor, seed: int) -> torch.Tensor:
    """Weights of three models that do not quite agree `(3, d, c)`."""
    return torch.stack([_weights(features, CLASSES, seed + other) for other in range(3)])


class QueryStrategyContract:
    """What every strategy that chooses from the pool keeps. Subclass it and define `make`.

    Its learners have all views: embeddings, and several models that can be asked one by one. One
    with `wants_committee` is handed two other members, and in one of the tests none.

    Attributes:
        uses_predictions: it looks at predictions, so that NaN must be refused, and so must a
            learner for another task.
        depends_on_chunks: another chunk size may give another selection.
        task: what the learners that it chooses for predict.
    """

    uses_predictions: bool = True
    depends_on_chunks: bool = False
    task: Task = Task.CLASSIFICATION

    def make(self) -> QueryStrategy:
        """A fresh instance of the strategy."""
        raise NotImplementedError("define make(): it returns a fresh instance of the strategy")

    def _context(self, *, learner: Predictor | None = None, **more: Any) -> QueryContext:
        """A context for the task, with a committee where the strategy wants one."""
        if learner is None:
            features = more.get("features", torch.zeros(1, 4))
            weights = [_drawn_weights(features, seed) for seed in (3, 6, 9)]
            members: list[Predictor] = [DrawnSoftmax(each) for each in weights]
            if self.task is Task.REGRESSION:
                members = [DrawnNumbers(each[:, :, 0]) for each in weights]
            elif self.task is Task.MULTILABEL:
                members = [LinearLabels(each[0]) for each in weights]
        else:
            members = [learner] * 3
        wanted = getattr(self.make(), "wants_committee", False)
        return query_context(learner=members[0], committee=members[1:] if wanted else (), **more)

    def _sample(self, context: QueryContext, n: int) -> Selection:
        selection = self.make().sample(context, n)
        _check_selection(selection, context, n)
        return selection

    def test_chooses_unlabeled_samples_without_repeats(self) -> None:
        """Only unlabeled samples, each once, and as many as asked for."""
        for n in (1, 5, 36):
            self._sample(self._context(), n)

    def test_leaves_pool_model_and_labels_as_they_are(self) -> None:
        """Nothing that the context gives is changed."""
        context = self._context()
        before = _contents(context)
        self._sample(context, 5)
        for name, tensor in _contents(context).items():
            assert torch.equal(before[name], tensor), f"sample changed {name}"

    def test_is_deterministic_for_a_seed(self) -> None:
        """The same seed gives the same selection, in a used instance and in a fresh one."""
        strategy = self.make()
        first = strategy.sample(self._context(), 7)
        torch.rand(3)
        again = strategy.sample(self._context(), 7)
        assert first == again, f"the same seed gave {first.indices}, then {again.indices}"
        fresh = self.make().sample(self._context(), 7)
        assert first == fresh, f"a fresh instance gave {fresh.indices}, not {first.indices}"

    def test_takes_randomness_from_the_context_only(self) -> None:
        """Global generators are neither drawn from nor seeded."""
        with global_randomness_untouched():
            self._sample(self._context(), 7)

    def test_returns_all_when_asked_for_more(self) -> None:
        """Asked for more than there are, it returns every unlabeled sample."""
        self._sample(self._context(), 10 * SIZE)

    def test_returns_none_when_asked_for_none(self) -> None:
        """Asked for 0 samples, it returns an empty selection."""
        self._sample(self._context(), 0)

    def test_survives_an_empty_pool(self) -> None:
        """Nothing unlabeled returns an empty selection."""
        self._sample(self._context(unlabeled=torch.empty(0, dtype=torch.int64)), 5)

    def test_survives_a_single_sample(self) -> None:
        """One unlabeled sample is chosen."""
        self._sample(self._context(unlabeled=torch.tensor([6])), 5)

    def test_survives_ties(self) -> None:
        """Samples that are all alike are chosen without repeats, the same ones again."""
        alike = torch.ones(SIZE, 4)
        first = self._sample(self._context(features=alike), 7)
        again = self._sample(self._context(features=alike), 7)
        assert first == again, f"ties were broken as {first.indices}, then as {again.indices}"

    def test_survives_repeated_rows(self) -> None:
        """Few distinct rows, most of them labeled, are chosen without repeats."""
        rows = torch.randn(12, 4, generator=torch.Generator().manual_seed(7))
        for distinct, size, labeled in ((12, 600, range(8)), (4, SIZE, range(3)), (3, SIZE, (0,))):
            few = rows[:distinct].repeat(-(-size // distinct), 1)[:size]
            first, again = (
                self._sample(self._context(features=few, labeled=tuple(labeled)), 20)
                for _ in range(2)
            )
            assert first == again, f"repeats gave {first.indices}, then {again.indices}"

    def test_survives_one_class(self) -> None:
        """All labels of one class (or one number), and a learner that is quite sure of it."""
        if self.task is Task.REGRESSION:
            same = FixedNumbers(lambda features: torch.full((len(features),), 0.1))
            self._sample(self._context(targets=torch.full((SIZE,), 0.1), learner=same), 7)
            return
        if self.task is Task.MULTILABEL:
            for likely in (0.0, 1.0):
                all_or_none = torch.full((SIZE, CLASSES), likely)
                fixed = FixedLabels(partial(_alike, all_or_none[0]))
                self._sample(self._context(targets=all_or_none, learner=fixed), 7)
            return

        def sure(features: torch.Tensor) -> torch.Tensor:
            return torch.eye(CLASSES, dtype=torch.float32)[0].expand(len(features), CLASSES)

        one = torch.zeros(SIZE, dtype=torch.int64)
        self._sample(self._context(targets=one, learner=FixedProbabilities(sure)), 7)

        def only(features: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(features), 1)

        self._sample(self._context(targets=one, learner=FixedProbabilities(only)), 7)

    def test_does_not_depend_on_the_chunk_size(self) -> None:
        """Chunks bound memory; they do not decide."""
        if self.depends_on_chunks:
            return
        whole = self._sample(self._context(chunk_size=1000), 9)
        for chunk_size in (1, 7, 16):
            parts = self._sample(self._context(chunk_size=chunk_size), 9)
            assert parts.indices == whole.indices, (
                f"chunks of {chunk_size} gave {parts.indices}, one chunk gave {whole.indices}"
            )

    def test_refuses_predictions_that_are_not_finite(self) -> None:
        """NaN or infinity of a single sample is refused, and the sample is named."""
        if not self.uses_predictions:
            return
        marked = torch.arange(SIZE, dtype=torch.float32)[:, None]
        for value in (math.nan, math.inf):
            context = self._context(features=marked, learner=self._spoiled(value))
            why = f"predictions with {value} must be refused"
            error = refusal(partial(self.make().sample, context, 5), why)
            assert "23" in str(error), f"the refusal must name sample 23: {error}"

    def _spoiled(self, value: float) -> Predictor:
        """Predicts `value` where the feature is 23."""

        def probabilities(features: torch.Tensor) -> torch.Tensor:
            good = torch.full((len(features), CLASSES), 1 / CLASSES)
            good[features[:, 0] == 23, 1] = value
            return good

        if self.task is Task.REGRESSION:
            return FixedNumbers(lambda features: probabilities(features)[:, 1])
        if self.task is Task.MULTILABEL:
            return FixedLabels(probabilities)
        return FixedProbabilities(probabilities)

    def test_refuses_a_learner_for_another_task(self) -> None:
        """Who needs class probabilities refuses a regression learner, and so on."""
        weights = _weights(torch.zeros(1, 4), CLASSES)
        learners = (LinearNumbers(torch.ones(4)), LinearSoftmax(weights), LinearLabels(weights))
        for other in learners:
            if other.task is self.task:
                continue
            context = self._context(learner=other)
            if self.uses_predictions:
                why = f"a {other.task} learner must be refused"
                error = refusal(partial(self.make().sample, context, 5), why)
                assert other.task in str(error), f"the refusal must say {other.task}: {error}"
            else:
                self._sample(context, 5)

    def test_says_what_it_needs(self) -> None:
        """It asks the learner for no view that it did not name in `about.needs` or `needs`."""
        strategy = self.make()
        context = self._context()
        if not hasattr(strategy, "about") and not hasattr(strategy, "needs"):
            return
        named = set(needs_of(strategy))
        if named & {View.LOGITS, View.GRADIENTS}:  # which this learner has from its probabilities
            named.add(View.PROBABILITIES)
        if View.LABEL_PROBABILITIES in named:  # which are its predict_proba
            named.add(View.PROBABILITIES)
        if View.VARIANCES in named:  # which this learner has from its models' numbers
            named.add(View.NUMBER_SAMPLES)
        if View.FEATURES in named:  # for which embeddings stand, where space is `auto`
            named.add(View.EMBEDDINGS)
        learner = Watched(context.learner)
        strategy.sample(replace(context, learner=learner), 5)
        more = sorted(learner.asked - named - {View.FEATURES})
        assert not more, f"it asked for {more}, and says that it needs {sorted(named)}"

    def test_leaves_what_is_shared_as_it_is(self) -> None:
        """Views that others look into as well are not written to."""
        context = self._context()
        before = {view: context.gather(view).clone() for view in _shared_views(self.task)}
        self._sample(context, 5)
        for view, values in before.items():
            assert torch.equal(context.gather(view), values), f"sample changed the {view}"

    def test_survives_a_committee_of_one(self) -> None:
        """Without other learners' models it chooses all the same, the same ones again."""
        first, again = (self._sample(replace(self._context(), committee=()), 7) for _ in range(2))
        assert first == again, f"alone it chose {first.indices}, then {again.indices}"


def _alike(row: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    return row.expand(len(features), -1)


def _shared_views(task: Task) -> tuple[View, ...]:
    if task is Task.MULTILABEL:
        return (View.FEATURES, View.LABEL_PROBABILITIES, View.EMBEDDINGS)
    if task is Task.REGRESSION:
        return (View.FEATURES, View.NUMBERS, View.EMBEDDINGS)
    return (View.FEATURES, View.PROBABILITIES, View.EMBEDDINGS, View.GRADIENTS)


def _contents(context: QueryContext) -> dict[str, torch.Tensor]:
    pool = context.pool
    everything = torch.arange(len(pool))
    assert isinstance(pool, TensorPool)
    found = {
        "the pool's features": pool.features(everything),
        "the pool's targets": pool.targets(everything),
        "context.unlabeled": context.unlabeled,
        "context.labeled.indices": context.labeled.indices,
        "context.labeled.targets": context.labeled.targets,
    }
    members = (context.learner, *context.committee)
    found |= {
        f"model {number} of the committee" if number else "the model": member.weights
        for number, member in enumerate(members)
        if isinstance(member, LinearSoftmax | LinearNumbers | LinearLabels)
    }
    return {name: tensor.clone() for name, tensor in found.items()}


def _check_selection(selection: Selection, context: QueryContext, n: int) -> None:
    indices, scores = selection.indices, selection.scores
    assert selection.samples is None, "this contract is for strategies that choose from the pool"
    assert isinstance(indices, tuple), f"indices is a tuple, not {type(indices).__name__}"
    assert all(type(i) is int for i in indices), f"indices are Python ints, not {indices[:3]}"
    assert all(type(s) is float for s in scores), f"scores are Python floats, not {scores[:3]}"
    assert len(set(indices)) == len(indices), f"an index is repeated: {indices}"
    strangers = set(indices) - set(context.unlabeled.tolist())
    assert not strangers, f"samples {sorted(strangers)} are labeled or not in the pool"
    expected = min(n, len(context.unlabeled))
    assert len(indices) == expected, f"{len(indices)} samples were chosen, not {expected}"
    assert len(scores) == len(indices), f"{len(scores)} scores for {len(indices)} indices"
    assert all(map(math.isfinite, scores)), f"scores must be finite: {scores}"
    assert list(scores) == sorted(scores, reverse=True), f"most wanted comes first: {scores}"


def check_query_strategy(
    factory: Callable[[], QueryStrategy],
    *,
    uses_predictions: bool = True,
    depends_on_chunks: bool = False,
    task: Task = Task.CLASSIFICATION,
) -> None:
    """Run the whole contract on what `factory` makes.

    Raises:
        AssertionError: the first thing that is not as the contract says.
    """
    suite = QueryStrategyContract()
    suite.make = factory  # type: ignore[method-assign]
    suite.uses_predictions = uses_predictions
    suite.depends_on_chunks = depends_on_chunks
    suite.task = task
    run_suite(suite)
