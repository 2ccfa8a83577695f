from __future__ import annotations

import math

import torch

from querist.strategies.metrology.one_vs_rest import counts_by_score, one_vs_rest


def share(scores: torch.Tensor, positive: torch.Tensor) -> float:
    return float(positive.double().mean()) if bool(positive.any()) else math.nan


def test_the_positive_class_of_two() -> None:
    targets, probabilities = torch.tensor([0, 1, 1, 1]), torch.ones(4, 2) / 2
    assert one_vs_rest(targets, probabilities, share) == 0.75
    assert one_vs_rest(targets, probabilities, share, positive=0) == 0.25


def test_the_mean_over_more_without_those_that_are_undefined() -> None:
    targets, probabilities = torch.tensor([0, 1, 1, 1]), torch.ones(4, 3) / 3
    assert one_vs_rest(targets, probabilities, share) == 0.5
    assert math.isnan(one_vs_rest(targets, probabilities, lambda s, p: math.nan))


def test_samples_of_one_score_are_counted_together() -> None:
    scores = torch.tensor([0.5, 0.1, 0.5, 0.5])
    hits, others = counts_by_score(scores, torch.tensor([True, False, False, True]))
    assert (hits.tolist(), others.tolist()) == ([0.0, 2.0], [1.0, 1.0])
