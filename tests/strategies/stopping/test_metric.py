from __future__ import annotations

import pytest

from querist.errors import StrategyError
from querist.strategies.stopping.metric import metric_if_there, metric_of
from querist.values import IterationResult


def test_finds_a_measured_metric() -> None:
    assert metric_of(IterationResult(0, 10, {"f1": 0.5}), "f1") == 0.5


def test_the_training_loss_has_a_name() -> None:
    assert metric_of(IterationResult(0, 10, {}, train_loss=0.25), "train_loss") == 0.25


def test_metrology_wins_over_the_training_loss() -> None:
    both = IterationResult(0, 10, {"train_loss": 0.5}, train_loss=0.25)
    assert metric_of(both, "train_loss") == 0.5


def test_the_nearest_names_are_suggested() -> None:
    result = IterationResult(4, 10, {"f1": 0.5, "recall": 0.5}, train_loss=0.1)
    with pytest.raises(StrategyError) as caught:
        metric_of(result, "recal")
    assert str(caught.value) == (
        "iteration 4: there is no metric named 'recal': did you mean 'recall'?"
    )
    with pytest.raises(StrategyError, match="known are: f1, recall, train_loss"):
        metric_of(result, "zzz")


def test_without_metrology_there_is_none() -> None:
    result = IterationResult(0, 10)
    assert metric_if_there(result, "f1") is None
    with pytest.raises(StrategyError, match="known are: none"):
        metric_of(result, "f1")
