from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from querist.errors import ConfigurationError
from querist.strategies.gates.metric_improvement import MetricImprovement
from querist.testing import GateContract
from querist.values import Check, Evaluation, Verdict


class TestContract(GateContract):
    def make(self) -> MetricImprovement:
        return MetricImprovement("f1")


class TestContractWithAMargin(GateContract):
    def make(self) -> MetricImprovement:
        return MetricImprovement("f1", min_delta=0.25)


class TestContractOfErrors(GateContract):
    metric, worse, better = "mse", 0.9, 0.1

    def make(self) -> MetricImprovement:
        return MetricImprovement("mse")


class TestContractOfAnUnknownMetric(GateContract):
    metric = "auc"

    def make(self) -> MetricImprovement:
        return MetricImprovement("auc", direction="max")


def model(value: float | None, digest: str = "d" * 64) -> Evaluation:
    return Evaluation(0, {} if value is None else {"f1": value, "other": 1.0}, digest)


def judge(champion: float | None, challenger: float, **options: Any) -> Verdict:
    gate = MetricImprovement("f1", **options)
    return gate.compare(None if champion is None else model(champion), model(challenger))


def test_the_first_model_is_promoted_with_its_number() -> None:
    reason = "no champion yet: f1 0.4 is the first"
    assert judge(None, 0.4) == Verdict(True, reason, (Check("f1", None, 0.4, 0.0, True, reason),))


def test_a_better_model_is_promoted_with_both_numbers() -> None:
    reason = "f1 0.9 is higher than 0.8 by more than 0.05"
    assert judge(0.8, 0.9, min_delta=0.05) == Verdict(
        True, reason, (Check("f1", 0.8, 0.9, 0.05, True, reason, gain=0.1),)
    )


def test_a_gain_of_exactly_min_delta_is_not_enough() -> None:
    """0.8 - 0.7 > 0.1 in floats."""
    verdict = judge(0.7, 0.8, min_delta=0.1)
    assert not verdict.promote
    assert verdict.reason == "f1 0.8 is not higher than 0.7 by more than 0.1"


@given(
    champion=st.floats(-1e6, 1e6),
    challenger=st.floats(-1e6, 1e6),
    direction=st.sampled_from(["max", "min"]),
)
def test_promotes_iff_strictly_better(champion: float, challenger: float, direction: str) -> None:
    expected = challenger > champion if direction == "max" else challenger < champion
    assert judge(champion, challenger, direction=direction).promote is expected


@given(champion=st.integers(0, 100), challenger=st.integers(0, 100), margin=st.integers(0, 50))
def test_promotes_iff_better_by_more_than_the_margin(
    champion: int, challenger: int, margin: int
) -> None:
    verdict = judge(champion / 100, challenger / 100, min_delta=margin / 100)
    assert verdict.promote is (challenger - champion > margin)


@pytest.mark.parametrize(
    ("champion", "challenger", "reason"),
    [
        (model(0.5), model(None), "the challenger's f1 is missing"),
        (None, model(math.nan), "the challenger's f1 is nan"),
        (model(0.5), model(math.inf), "the challenger's f1 is inf"),
        (model(None), model(0.9), "the champion's f1 is missing: nothing to compare with"),
        (model(math.nan), model(0.9), "the champion's f1 is nan: nothing to compare with"),
        (
            model(0.5, "abcdefgh0"),
            model(0.9, "12345678a"),
            "the test sets differ (abcdefgh and 12345678): f1 cannot be compared",
        ),
    ],
)
def test_what_cannot_be_compared_is_not_promoted(
    champion: Evaluation | None, challenger: Evaluation, reason: str
) -> None:
    verdict = MetricImprovement("f1").compare(champion, challenger)
    assert (verdict.promote, verdict.reason) == (False, reason)
    assert [check.won for check in verdict.checks] == [False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "auc"}, "not 'auc': set direction to max or min"),
        ({"metric": "f1", "min_delta": -1}, "min_delta is a finite number of at least 0, not -1"),
        ({"metric": "f1", "min_delta": math.nan}, "min_delta is a finite number"),
        ({"metric": ""}, "metric is a name, not ''"),
        ({"metric": "f1", "direction": None}, "direction is one of auto, max, min, not None"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        MetricImprovement(**options)
