from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from querist.errors import StrategyError
from querist.testing import FixedNumbers, FixedProbabilities, LinearNumbers, query_context
from querist.testing.predictors import DrawnNumbers, DrawnSoftmax, LinearSoftmax
from querist.values import Task
from querist.views import (
    View,
    flattened,
    gradients_at_logits,
    look,
    needs_of,
    require_views,
    views_of,
)

FEATURES = torch.rand(6, 4, generator=torch.Generator().manual_seed(1)).double()
AT = torch.arange(6)
WEIGHTS = torch.randn(4, 3, generator=torch.Generator().manual_seed(2)).double()


class Plain:
    """Says classes and nothing else."""

    task = Task.CLASSIFICATION

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        return LinearSoftmax(WEIGHTS).predict_proba(features)

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        return self.predict_proba(features).argmax(1)


def test_what_each_learner_can_be_asked() -> None:
    classes = {View.FEATURES, View.PROBABILITIES, View.LOGITS, View.GRADIENTS}
    assert views_of(Plain()) == classes
    assert views_of(LinearSoftmax(WEIGHTS)) == classes | {View.EMBEDDINGS}
    drawn = views_of(DrawnSoftmax(WEIGHTS[None]))
    assert drawn == classes | {View.EMBEDDINGS, View.PROBABILITY_SAMPLES}
    numbers = {View.FEATURES, View.NUMBERS, View.EMBEDDINGS}
    assert views_of(LinearNumbers(WEIGHTS[:, 0])) == numbers
    assert views_of(DrawnNumbers(WEIGHTS.T)) == numbers | {View.NUMBER_SAMPLES, View.VARIANCES}


def test_what_is_missing_is_named_with_what_can_be_run() -> None:
    with pytest.raises(StrategyError) as caught:
        require_views(Plain(), [View.PROBABILITIES, View.EMBEDDINGS], "badge")
    said = str(caught.value)
    assert said.startswith(
        "badge needs the learner's embeddings, and a classification learner (Plain) gives "
        "features, gradients, logits, probabilities: it can run "
    )
    runnable = said.partition("it can run ")[2].split(", ")
    assert {"random", "margin", "entropy"} <= set(runnable)
    require_views(Plain(), [View.LOGITS], "anything")


def test_a_regression_learner_has_no_probabilities() -> None:
    learner = LinearNumbers(torch.ones(4))
    with pytest.raises(StrategyError, match="margin needs the learner's probabilities, and a reg"):
        require_views(learner, [View.PROBABILITIES], "margin")


def test_needs_of_an_instance_go_before_those_of_its_class() -> None:
    class Strategy:
        needs: tuple[View, ...] = (View.EMBEDDINGS,)

    assert needs_of(Strategy()) == (View.EMBEDDINGS,)
    assert needs_of(object()) == ()
    from querist.strategies.query.margin import Margin

    assert needs_of(Margin()) == (View.PROBABILITIES,)


def test_logits_and_gradients_follow_from_probabilities() -> None:
    probabilities, logits, gradients = look(
        Plain(), [View.PROBABILITIES, View.LOGITS, View.GRADIENTS], FEATURES, AT
    )
    torch.testing.assert_close(logits.softmax(1), probabilities)
    best = torch.nn.functional.one_hot(probabilities.argmax(1), 3)
    torch.testing.assert_close(gradients, probabilities - best)


def test_logits_of_a_probability_of_0_are_finite() -> None:
    sure = FixedProbabilities(lambda x: torch.eye(3)[torch.zeros(len(x)).long()])
    (logits,) = look(sure, [View.LOGITS], FEATURES, AT)
    assert bool(logits.isfinite().all())
    torch.testing.assert_close(logits.softmax(1), torch.eye(3)[[0] * 6])


def test_gradients_are_those_that_torch_finds() -> None:
    logits = (FEATURES @ WEIGHTS).requires_grad_()
    loss = torch.nn.functional.cross_entropy(logits, logits.argmax(1), reduction="sum")
    (expected,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradients_at_logits(logits.detach().softmax(1)), expected)


def test_the_learner_passes_once_for_all_views_of_its_own() -> None:
    asked: list[tuple[View, ...]] = []

    class Looked(Plain):
        views = frozenset({View.EMBEDDINGS, View.PROBABILITIES})

        def look(self, views: Sequence[View], features: torch.Tensor) -> Any:
            asked.append(tuple(views))
            said = {View.EMBEDDINGS: features, View.PROBABILITIES: self.predict_proba(features)}
            return tuple(said[view] for view in views)

    found = look(Looked(), [View.EMBEDDINGS, View.GRADIENTS, View.PROBABILITIES], FEATURES, AT)
    assert asked == [(View.EMBEDDINGS, View.PROBABILITIES)]
    assert torch.equal(found[0], FEATURES)


def test_features_are_flattened_floats() -> None:
    images = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4)
    found = flattened(images)
    assert found.dtype == torch.float32
    assert found.tolist() == [list(range(12)), list(range(12, 24))]
    assert flattened(torch.empty(0, 3, 4)).shape == (0, 12)
    with pytest.raises(StrategyError, match="features that are numbers, and this pool's are list"):
        flattened(["a text"])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [torch.int32, torch.int64])
def test_numbers_of_tokens_are_no_amounts(kind: torch.dtype) -> None:
    tokens = torch.ones(2, 3, dtype=kind)
    with pytest.raises(StrategyError, match=f"are {kind}.*: set space: embeddings, or give"):
        flattened(tokens)
    assert flattened(tokens.to(torch.int16)).dtype == torch.float32


def test_what_is_recommended_needs_no_other_learner() -> None:
    with pytest.raises(StrategyError, match="it can run") as caught:
        require_views(LinearSoftmax(WEIGHTS), [View.NUMBERS], "greedy_output")
    recommended = str(caught.value).partition("it can run ")[2].split(", ")
    assert "margin" in recommended
    assert not {"vote_entropy", "consensus_kl", "disagreement"} & set(recommended)


def test_samples_count_rows_in_their_second_dimension() -> None:
    assert {view for view in View if view.rows == 1} == {
        View.PROBABILITY_SAMPLES, View.NUMBER_SAMPLES
    }  # fmt: skip
    context = query_context(learner=FixedNumbers(lambda x: x[:, 0]), chunk_size=5)
    assert context.gather(View.NUMBER_SAMPLES).shape == (2, 37, 1)
    assert context.gather(View.NUMBERS).shape == (37, 1)
