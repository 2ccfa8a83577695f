from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from querist.errors import ConfigurationError, StrategyError
from querist.strategies.query.cost_aware import CostAware
from querist.strategies.query.margin import margin_scores
from querist.testing import QueryStrategyContract, query_context
from querist.views import View, needs_of


def growing(indices: torch.Tensor, features: torch.Tensor) -> Any:
    return 1.0 + indices


class TestContract(QueryStrategyContract):
    def make(self) -> CostAware:
        return CostAware("margin", function=growing)


class TestContractOfClassCosts(QueryStrategyContract):
    def make(self) -> CostAware:
        return CostAware("margin", class_costs=[1.0, 2.0, 9.0])

    def test_survives_one_class(self) -> None:
        """Not with a model of one class: costs are of three."""


def reference(scores: Any, costs: Any, indices: Any) -> list[int]:
    gains = scores - scores.min()
    rows = sorted(range(len(indices)), key=lambda i: (-gains[i] / costs[i], costs[i], indices[i]))
    return [int(indices[i]) for i in rows]


@pytest.mark.parametrize("source", ["column", "class_costs", "function"])
def test_agrees_with_numpy(source: str) -> None:
    features = torch.rand(40, 4, generator=torch.Generator().manual_seed(1)).double() + 0.1
    context = query_context(features=features)
    there = context.unlabeled
    probabilities = context.learner.predict_proba(features[there])
    options: dict[str, Any] = {
        "column": 2, "class_costs": {"0": 1, "1": 4.0, "2": 0.5}, "function": growing
    }  # fmt: skip
    costs = {
        "column": features[there, 2].numpy(),
        "class_costs": probabilities.numpy() @ np.array([1, 4.0, 0.5]),
        "function": 1.0 + there.numpy(),
    }[source]
    expected = reference(margin_scores(probabilities).numpy(), costs, there.numpy())
    found = CostAware("margin", **{source: options[source]}).sample(context, 9)
    assert list(found.indices) == expected[:9]


def test_a_negative_score_does_not_favour_what_is_expensive() -> None:
    """Minus the margin divided by the cost would."""
    rows = torch.tensor([[0.5, 0.5], [0.6, 0.4], [0.6, 0.4], [0.9, 0.1]], dtype=torch.float64)
    features = torch.cat([rows, torch.tensor([[100.0], [1.0], [50.0], [1.0]]).double()], dim=1)
    from querist.testing import FixedProbabilities

    learner = FixedProbabilities(lambda x: x[:, :2])
    context = query_context(
        features=features, targets=torch.zeros(4).long(), learner=learner, labeled=()
    )
    assert CostAware("margin", column=2).sample(context, 4).indices == (1, 2, 0, 3)


def test_equal_scores_go_by_the_cost() -> None:
    def falling(indices: torch.Tensor, features: torch.Tensor) -> list[float]:
        return [100.0 - i for i in indices.tolist()]

    found = CostAware("random", function=falling).sample(query_context(labeled=()), 3)
    assert found.indices == (39, 38, 37)


def test_times_bounds_how_many_the_strategy_is_asked_for() -> None:
    asked = []

    def first(context: Any, n: int) -> Any:
        asked.append(n)
        return context.unlabeled[:n]

    inner = {"name": "callable", "options": {"function": first}}
    CostAware(inner, times=3, function=growing).sample(query_context(), 4)
    CostAware(inner, times=30, function=growing).sample(query_context(), 4)
    CostAware(inner, function=growing).sample(query_context(), 4)
    assert asked == [12, 37, 37]


def test_probabilities_are_needed_for_expected_costs_alone() -> None:
    assert needs_of(CostAware("random", column=0)) == ()
    assert needs_of(CostAware("random", class_costs={0: 1})) == (View.PROBABILITIES,)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_costs_that_are_not_positive_are_refused(bad: float) -> None:
    def spoiled(indices: torch.Tensor, features: torch.Tensor) -> Any:
        return torch.where(indices == 7, bad, 1.0)

    with pytest.raises(StrategyError, match=r"those of 1 of 37 candidates .* of sample 7: correct"):
        CostAware("margin", function=spoiled).sample(query_context(), 4)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda i, f: f, r"37 numbers for 37 samples, not the shape \(37, 4\)"),
        (lambda i, f: "cheap", "37 numbers for 37 samples, not 'cheap'"),
    ],
)
def test_what_a_function_returns_is_checked(function: Any, message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        CostAware("margin", function=function).sample(query_context(chunk_size=99), 4)


def test_columns_and_classes_that_are_not_there_are_refused() -> None:
    with pytest.raises(StrategyError, match="column is one of the features 0 to 3, not 4"):
        CostAware("margin", column=4).sample(query_context(), 4)
    with pytest.raises(StrategyError, match=r"names the classes 0 to 2, not \[0, 1\]"):
        CostAware("margin", class_costs={0: 1, 1: 2}).sample(query_context(), 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "has one source of costs, not none"),
        ({"column": 1, "class_costs": {0: 1}}, "not column and class_costs"),
        ({"column": -1}, "column is a whole number of at least 0, not -1"),
        ({"column": 1, "times": 0.5}, "times is a finite number of at least 1, not 0.5"),
        ({"class_costs": []}, "class_costs is a mapping with at least one entry"),
        ({"class_costs": [1, "x"]}, "the cost of class 1 is a finite number"),
        ({"class_costs": {}}, "class_costs is a mapping with at least one entry"),
        ({"class_costs": {"a": 1}}, "a class of class_costs is a whole number"),
        ({"class_costs": {0: 0}}, "the cost of class 0 is more than 0, not 0"),
        ({"class_costs": {0: -2}}, "the cost of class 0 is a finite number of at least 0"),
        ({"function": 3}, "function is something to call with indices and features"),
    ],
)
def test_options_are_checked(options: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CostAware("margin", **options)
