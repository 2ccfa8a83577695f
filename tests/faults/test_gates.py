"""Row 25: numbers that are none, or of another test set, promote nothing, whatever is asked for."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from querist.protocols import Gate
from querist.strategies.gates import Compare, MetricImprovement
from querist.values import Evaluation, Outcomes, Task

DIGEST = "d" * 64


def good(level: float) -> Evaluation:
    """A model that is right with more probability, the higher the level is."""
    targets = torch.arange(60) % 2
    chances = torch.full((60, 2), 1 - level).double()
    chances[torch.arange(60), targets] = level
    outcomes = Outcomes(Task.CLASSIFICATION, 2, targets, chances.argmax(1), chances)
    return Evaluation(3, {"f1": level, "log_loss": -math.log(level)}, DIGEST, outcomes)


def nan_metric(model: Evaluation) -> Evaluation:
    return replace(model, metrics={**model.metrics, "f1": math.nan}, outcomes=None)


def infinite_metric(model: Evaluation) -> Evaluation:
    return replace(model, metrics={**model.metrics, "f1": math.inf}, outcomes=None)


def missing_metric(model: Evaluation) -> Evaluation:
    return replace(model, metrics={"log_loss": 0.1}, outcomes=None)


def nan_sample(model: Evaluation) -> Evaluation:
    assert model.outcomes is not None
    assert model.outcomes.probabilities is not None
    chances = model.outcomes.probabilities.clone()
    chances[7] = math.nan
    metrics = {"f1": math.nan, "log_loss": math.nan}
    return replace(model, metrics=metrics, outcomes=replace(model.outcomes, probabilities=chances))


def other_test_set(model: Evaluation) -> Evaluation:
    return replace(model, test_digest="e" * 64)


FAULTS = (nan_metric, infinite_metric, missing_metric, nan_sample, other_test_set)
CHECKS = [{"metric": "f1"}, {"metric": "log_loss"}]
GATES: dict[str, Gate] = {
    "metric_improvement": MetricImprovement("f1"),
    "any": Compare(CHECKS, "any"),
    "all": Compare(CHECKS, "all"),
    "none needed": Compare(CHECKS, 0.0),
    "surely": Compare([{**check, "confidence": 0.9} for check in CHECKS], 0.5),
    "sample by sample": Compare(wins="any"),
}


@pytest.mark.parametrize("name", GATES)
def test_a_number_that_is_none_never_wins(name: str, tried: Any, survived: Any) -> None:
    gate = GATES[name]
    assert gate.compare(good(0.6), good(0.9)).promote, "it can win at all"
    for fault, broken in itertools.product(FAULTS, (0, 1)):
        tried(25)
        pair = [good(0.6), good(0.9)]
        pair[broken] = fault(pair[broken])
        verdict = gate.compare(*pair)
        assert not verdict.promote, f"{fault.__name__}: {verdict.reason}"
        assert verdict.reason
        assert verdict.action == "discard"
        survived(25)


@pytest.mark.parametrize("name", GATES)
def test_without_a_baseline_only_numbers_win(name: str, tried: Any, survived: Any) -> None:
    gate = GATES[name]
    assert gate.compare(None, good(0.6)).promote
    for fault in (nan_metric, infinite_metric, missing_metric, nan_sample):
        tried(25)
        verdict = gate.compare(None, fault(good(0.9)))
        assert not verdict.promote, f"{fault.__name__}: {verdict.reason}"
        survived(25)
