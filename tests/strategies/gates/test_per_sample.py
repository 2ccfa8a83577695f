from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from querist.strategies.gates.compare import Compare
from querist.strategies.gates.per_sample import score_of_each
from querist.values import Evaluation, Outcomes, Task
from tests.strategies.gates.test_detection import ELSEWHERE, ONE, images


def numbers(*predictions: float) -> Evaluation:
    """A regression whose truth is 0."""
    predicted = torch.tensor(predictions)
    outcomes = Outcomes(Task.REGRESSION, None, torch.zeros(len(predictions)), predicted)
    return Evaluation(0, {}, "d", outcomes)


def test_a_tie_is_won_by_nobody() -> None:
    old, new = numbers(1, 1, 1, 1), numbers(0.5, -1, 1, 2)
    verdict = Compare(wins=0.25).compare(old, new)
    (check,) = verdict.checks
    assert (verdict.promote, check.champion, check.challenger, check.gain) == (True, 0.25, 0.25, 0)
    words = "the challenger is better on 1 of 4 samples, worse on 1, equal on the rest"
    assert check.reason == words
    assert verdict.reason == f"{check.reason}; a share of 0.25 is needed"
    assert check.low is not None
    assert check.high is not None
    assert check.low < 0 < check.high
    assert not Compare(wins=0.26).compare(old, new).promote
    assert Compare(wins="any").compare(old, new).promote
    assert not Compare(wins="all").compare(old, new).promote
    assert Compare(wins=0).compare(old, old).promote, "a share of 0 is reached, with evidence"
    assert not Compare().compare(old, old).promote, "half of them by default"


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (
            Outcomes(Task.CLASSIFICATION, 2, torch.tensor([0, 1]), torch.tensor([0, 0]),
                     torch.tensor([[0.5, 0.5], [0.75, 0.25]])),
            [math.log(0.5), math.log(0.25)],
        ),
        (
            Outcomes(Task.CLASSIFICATION, 2, torch.tensor([0, 1]), torch.tensor([0, 0])),
            [1, 0],
        ),
        (
            Outcomes(Task.REGRESSION, None, torch.zeros(2, 2), torch.tensor([[1.0, 2], [0, 0]])),
            [-2.5, 0],
        ),
        (images(([(0.9, ONE)], [ONE]), ([(0.8, ELSEWHERE)], [ONE])), [1, 0]),
    ],
    ids=["log loss", "right or not", "squared error", "boxes"],
)  # fmt: skip
def test_what_a_sample_is_compared_by(outcomes: Any, expected: Any) -> None:
    assert score_of_each(outcomes).tolist() == pytest.approx(expected)


def test_the_first_needs_finite_scores() -> None:
    verdict = Compare().compare(None, numbers(1, 2))
    assert (verdict.promote, verdict.reason) == (
        True, "no champion yet: all 2 scores of samples are finite",
    )  # fmt: skip
    broken = Compare(wins=0).compare(None, numbers(1, math.nan))
    assert (broken.promote, broken.reason) == (
        False, "the challenger's score of a sample is not finite",
    )  # fmt: skip


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_score_that_is_not_finite_promotes_nothing(odd: float) -> None:
    for pair in ((numbers(odd, 2), numbers(1, 1)), (numbers(2, 2), numbers(1, odd))):
        assert not Compare(wins="any").compare(*pair).promote


def labels(*likely: list[float]) -> Outcomes:
    """Two labels a sample, of which the first is there."""
    probabilities = torch.tensor(likely, dtype=torch.float64)
    targets = torch.tensor([[1.0, 0.0]] * len(likely))
    predictions = (probabilities > 0.5).float()
    return Outcomes(Task.MULTILABEL, None, targets, predictions, probabilities)


def test_labels_are_scored_by_how_likely_the_truth_is() -> None:
    """The mean log-likelihood over the labels of a sample; finite where it was sure and wrong."""
    found = score_of_each(labels([0.8, 0.1], [0.5, 0.5], [0.0, 1.0]))
    expected = [(math.log(0.8) + math.log(0.9)) / 2, math.log(0.5)]
    torch.testing.assert_close(found[:2], torch.tensor(expected, dtype=torch.float64))
    assert -40 < float(found[2]) < -30
    assert bool(score_of_each(labels([math.nan, 0.5])).isnan().all())


def test_the_better_labels_are_promoted() -> None:
    old = Evaluation(0, {}, "d", labels(*[[0.6, 0.4]] * 30))
    new = Evaluation(1, {}, "d", labels(*[[0.9, 0.1]] * 30))
    assert Compare().compare(old, new).promote
    assert not Compare().compare(new, old).promote
