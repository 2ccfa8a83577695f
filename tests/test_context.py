from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from querist.context import QueryContext
from querist.errors import StrategyError
from querist.shared_views import SharedViews
from querist.strategies.query.entropy import Entropy
from querist.strategies.query.margin import Margin
from querist.testing import FixedProbabilities, query_context
from querist.views import View


class Counted(FixedProbabilities):
    """Counts the rows that it is asked about."""

    def __init__(self) -> None:
        super().__init__(lambda x: torch.cat([x.sigmoid(), 1 - x.sigmoid()], dim=1)[:, [0, 4]])
        self.rows = 0

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        self.rows += len(features)
        return super().predict_proba(features)


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def context(counted: Counted) -> QueryContext:
    return query_context(learner=counted)


def test_two_strategies_ask_the_learner_once(context: QueryContext, counted: Counted) -> None:
    Margin().sample(context, 3)
    assert counted.rows == 37
    # As the second strategy of an iteration, which chooses from fewer.
    fewer = replace(context, unlabeled=context.unlabeled[::2])
    Entropy().sample(fewer, 3)
    fewer.gather(View.PROBABILITIES)
    assert counted.rows == 37


def test_more_candidates_are_asked_anew(context: QueryContext, counted: Counted) -> None:
    fewer = replace(context, unlabeled=context.unlabeled[::2])
    fewer.gather(View.PROBABILITIES)
    context.gather(View.PROBABILITIES)
    assert counted.rows == 19 + 37
    fewer.gather(View.PROBABILITIES)
    assert counted.rows == 19 + 37


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_a_stream_gives_all_views_chunk_by_chunk(chunk_size: int) -> None:
    context = query_context(chunk_size=chunk_size)
    for again in range(2):
        parts = list(context.stream(View.PROBABILITIES, View.EMBEDDINGS))
        assert all(len(indices) <= chunk_size for indices, _, _ in parts), again
        indices, probabilities, embeddings = (
            torch.cat(column) for column in zip(*parts, strict=True)
        )
        assert torch.equal(indices, context.unlabeled)
        features = context.pool.features(context.unlabeled)
        torch.testing.assert_close(probabilities, context.learner.predict_proba(features))
        torch.testing.assert_close(embeddings, features.double())


def test_a_stream_that_is_left_half_way_keeps_nothing(context: QueryContext) -> None:
    next(context.stream(View.PROBABILITIES))
    assert not context.shared.has(View.PROBABILITIES, context.unlabeled)


def test_beyond_the_limit_a_stream_asks_again_and_a_whole_lies_in_a_file(
    context: QueryContext, counted: Counted
) -> None:
    small = replace(context, shared=SharedViews(in_memory=100))
    first = torch.cat([p for _, p in small.stream(View.PROBABILITIES)])
    again = torch.cat([p for _, p in small.stream(View.PROBABILITIES)])
    assert counted.rows == 2 * 37
    assert torch.equal(first, again)
    whole = small.gather(View.PROBABILITIES)
    assert whole.mapped  # type: ignore[attr-defined]
    assert torch.equal(whole, first)
    for indices, said in small.stream(View.PROBABILITIES):
        assert len(indices) == len(said)
    assert counted.rows == 3 * 37


def test_a_stream_reserves_what_it_will_keep_and_gives_it_back(context: QueryContext) -> None:
    small = replace(context, shared=SharedViews(in_memory=37 * 2 * 4))
    left = small.stream(View.PROBABILITIES)
    next(left)
    assert small.gather(View.EMBEDDINGS).mapped  # type: ignore[attr-defined]
    left.close()  # type: ignore[attr-defined]
    list(small.stream(View.PROBABILITIES))
    assert small.shared.has(View.PROBABILITIES, small.unlabeled)


def test_some_rows_of_a_file_are_streamed_without_another_one(context: QueryContext) -> None:
    small = replace(context, shared=SharedViews(in_memory=10))
    whole = small.gather(View.PROBABILITIES)
    fewer = replace(small, unlabeled=small.unlabeled[::2], chunk_size=4)
    parts = [values for _, values in fewer.stream(View.PROBABILITIES)]
    assert torch.equal(torch.cat(parts), whole[::2])
    assert torch.equal(fewer.gather(View.PROBABILITIES), whole[::2])


def test_a_stream_keeps_no_features_that_the_pool_has_in_memory(context: QueryContext) -> None:
    list(context.stream(View.FEATURES, View.PROBABILITIES))
    assert context.shared.has(View.PROBABILITIES, context.unlabeled)
    assert not context.shared.has(View.FEATURES, context.unlabeled)
    context.gather(View.FEATURES)
    assert context.shared.has(View.FEATURES, context.unlabeled)


class OnMeta(FixedProbabilities):
    """Stands for a learner on a GPU: what it says lies on another device than features."""

    views = frozenset({View.LOGITS})

    def __init__(self) -> None:
        super().__init__(lambda x: x.softmax(1))

    def look(self, views: Any, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(features.to("meta") for _ in views)


def test_all_views_of_one_call_lie_on_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("querist.context.look", _unchecked)
    context = query_context(learner=OnMeta())
    for limit, whole in ((2**20, "meta"), (10, "cpu")):
        asked = replace(context, shared=SharedViews(in_memory=limit))
        if limit == 10:
            monkeypatch.setattr(torch.Tensor, "copy_", lambda self, other: self)
        for _ in range(2):
            for _, *values in asked.stream(View.FEATURES, View.LOGITS):
                assert {each.device.type for each in values} == {"meta"}
            values = list(asked.gather_all(View.FEATURES, View.LOGITS))
            assert {each.device.type for each in values} == {whole}


def _unchecked(learner: Any, views: Any, features: torch.Tensor, indices: torch.Tensor) -> Any:
    return tuple(
        features if view is View.FEATURES else learner.look([view], features)[0] for view in views
    )


def test_labeled_and_other_samples(context: QueryContext) -> None:
    known = context.of_labeled(View.PROBABILITIES)
    features = context.pool.features(context.labeled.indices)
    torch.testing.assert_close(known, context.learner.predict_proba(features))
    some = torch.tensor([30, 2, 30])
    small = replace(context, chunk_size=2)
    samples = small.of(some, View.PROBABILITY_SAMPLES)
    assert samples.shape == (2, 3, 2)
    torch.testing.assert_close(samples[0], context.of(some, View.PROBABILITIES))


def test_without_candidates_there_is_one_chunk_of_none() -> None:
    """So that what is put together from chunks has its shape."""
    context = query_context(unlabeled=torch.empty(0, dtype=torch.int64))
    ((indices, probabilities),) = context.stream(View.PROBABILITIES)
    assert (indices.shape, probabilities.shape) == ((0,), (0, 3))
    assert context.gather(View.EMBEDDINGS).shape == (0, 4)
    assert context.look(context.unlabeled) == ()


def test_the_sample_of_a_bad_answer_is_named(context: QueryContext) -> None:
    def spoiled(features: torch.Tensor) -> torch.Tensor:
        good = torch.full((len(features), 2), 0.5)
        good[features[:, 0] == 23] = float("nan")
        return good

    marked = torch.arange(40.0)[:, None]
    bad = query_context(features=marked, learner=FixedProbabilities(spoiled))
    for ask in (lambda: bad.gather(View.EMBEDDINGS), lambda: list(bad.stream(View.PROBABILITIES))):
        with pytest.raises(StrategyError, match="the first is sample 23"):
            _called(ask)


def _called(ask: Any) -> Any:
    return ask()
