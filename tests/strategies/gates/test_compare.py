"""Champion against challenger: contracts, verdicts in words, and options that are refused."""

from __future__ import annotations

import math
from typing import Any

import torch

from querist.strategies.gates.compare import Compare
from querist.testing import GateContract
from querist.values import Evaluation, Outcomes, Task

DIGEST = "d" * 64


class TestContract(GateContract):
    def make(self) -> Compare:
        return Compare([{"metric": "f1"}])


class TestContractWithAMargin(GateContract):
    def make(self) -> Compare:
        return Compare([{"metric": "f1", "min_delta": 0.25}], wins=0.7)


class TestContractOfTheSameTwice(GateContract):
    def make(self) -> Compare:
        return Compare([{"metric": "f1"}, {"metric": "f1", "min_delta": 0.39}], wins="any")


class TestContractOfErrors(GateContract):
    metric, worse, better = "mse", 0.9, 0.1

    def make(self) -> Compare:
        return Compare([{"metric": "mse"}], wins=1)


class TestContractOfLatency(GateContract):
    metric, worse, better = "latency", 0.9, 0.1

    def make(self) -> Compare:
        return Compare([{"metric": "latency"}])


class TestContractOfAnUnknownMetric(GateContract):
    metric = "auc"

    def make(self) -> Compare:
        return Compare({"auc": {"direction": "max"}})


class TestContractOfATrainingCurve(GateContract):
    metric = "mAP50(B)/metrics"

    def make(self) -> Compare:
        check = {"type": "plot", "figure": "mAP50(B)", "legend": "metrics", "x_index": -1}
        return Compare([check])

    def evaluation(self, value: float | None, test_digest: str = DIGEST) -> Evaluation:
        curves = {} if value is None else {self.metric: [0.1, value]}
        return Evaluation(3, {}, test_digest, curves=curves)


class TestContractWithConfidence(GateContract):
    """The metric is computed from what each says of 100 samples."""

    metric = "accuracy"

    def make(self) -> Compare:
        return Compare([{"metric": "accuracy", "confidence": 0.95}])

    def evaluation(self, value: float | None, test_digest: str = DIGEST) -> Evaluation:
        if value is None or not math.isfinite(value):
            return Evaluation(3, {} if value is None else {"accuracy": value}, test_digest)
        return right_on(int(100 * value), test_digest)


def right_on(right: int, digest: str = DIGEST, size: int = 100, **more: Any) -> Evaluation:
    """A model that is right on the first samples of two alternating classes."""
    targets = torch.arange(size) % 2
    predictions = torch.where(torch.arange(size) < right, targets, 1 - targets)
    outcomes = Outcomes(Task.CLASSIFICATION, 2, targets, predictions, **more)
    return Evaluation(3, {}, digest, outcomes)
