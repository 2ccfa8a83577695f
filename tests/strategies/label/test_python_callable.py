from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from querist.errors import (
    ConfigurationError,
    ForbiddenImportError,
    StrategyError,
    UnknownNameError,
)
from querist.pools import TensorPool
from querist.registry import build
from querist.requests import LabelRequest
from querist.strategies.label.python_callable import PythonCallable, as_label_value
from querist.testing import LabelStrategyContract
from querist.values import Label, Task


def first_as_class(features: torch.Tensor) -> int:
    return int(features[0])


def first_as_number(features: torch.Tensor) -> torch.Tensor:
    return features[0]


def all_first(features: torch.Tensor) -> torch.Tensor:
    return features[:, 0]


class TestContractOfClasses(LabelStrategyContract):
    tasks = frozenset({Task.CLASSIFICATION})

    def make(self) -> PythonCallable:
        return PythonCallable(first_as_class)


class TestContractOfNumbers(LabelStrategyContract):
    tasks = frozenset({Task.REGRESSION})

    def make(self) -> PythonCallable:
        return PythonCallable(first_as_number)


class TestContractOfBatches(LabelStrategyContract):
    tasks = frozenset({Task.REGRESSION})

    def make(self) -> PythonCallable:
        return PythonCallable(all_first, batch=True)


def request_for(*indices: int) -> LabelRequest:
    features = torch.arange(10, dtype=torch.float32)[:, None] * torch.ones(1, 2)
    keys = tuple(map(str, indices))
    return LabelRequest(0, torch.tensor(indices, dtype=torch.int64), keys, TensorPool(features))


def test_the_function_gets_one_sample_at_a_time() -> None:
    seen = []

    def look(features: torch.Tensor) -> int:
        seen.append(features.tolist())
        return len(seen)

    labels = PythonCallable(look).label(request_for(7, 3))
    assert next(labels) == Label(7, 1, "callable")
    assert seen == [[7.0, 7.0]], "the second sample was computed before it was drawn"
    assert list(labels) == [Label(3, 2, "callable")]
    assert seen == [[7.0, 7.0], [3.0, 3.0]]


def test_a_batch_function_is_called_once() -> None:
    shapes = []

    def look(features: torch.Tensor) -> list[int]:
        shapes.append(tuple(features.shape))
        return [int(row[0]) for row in features]

    labels = list(PythonCallable(look, batch=True).label(request_for(7, 3, 5)))
    assert [(label.index, label.value) for label in labels] == [(7, 7), (3, 3), (5, 5)]
    assert shapes == [(3, 2)]


def test_none_leaves_a_sample_pending() -> None:
    def odd(features: torch.Tensor) -> int | None:
        return 1 if int(features[0]) % 2 else None

    assert [x.index for x in PythonCallable(odd).label(request_for(2, 3, 4, 5))] == [3, 5]


def test_none_in_a_batch_leaves_a_sample_pending() -> None:
    some = PythonCallable(lambda _: [None, 1, None], batch=True)
    assert [label.index for label in some.label(request_for(2, 3, 4))] == [3]


def test_none_for_a_batch_leaves_all_pending() -> None:
    assert list(PythonCallable(lambda _: None, batch=True).label(request_for(2, 3))) == []


def test_what_was_labeled_before_an_exception_stays() -> None:
    def breaks(features: torch.Tensor) -> int:
        if int(features[0]) == 4:
            raise RuntimeError("the device is gone")
        return 0

    labels = PythonCallable(breaks).label(request_for(2, 3, 4, 5))
    assert [next(labels).index, next(labels).index] == [2, 3]
    with pytest.raises(RuntimeError, match=r"the device is gone") as caught:
        next(labels)
    assert caught.value.__notes__ == ["while labeling sample 4"]


def test_a_batch_function_may_return_an_array_of_vectors() -> None:
    vectors = PythonCallable(lambda features: features.numpy() * 2, batch=True)
    assert [x.value for x in vectors.label(request_for(1, 2))] == [[2.0, 2.0], [4.0, 4.0]]


@pytest.mark.parametrize("returned", [[1], [1, 2, 3], "ab", {0: 1, 1: 2}, 5])
def test_a_batch_function_returns_one_value_per_sample(returned: Any) -> None:
    with pytest.raises(StrategyError, match=r"returns one value per sample, not .* for 2 samples"):
        list(PythonCallable(lambda _: returned, batch=True).label(request_for(1, 2)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2, 2),
        (2.5, 2.5),
        (True, 1),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), 1),
        (torch.tensor(4), 4),
        (torch.tensor(0.25, requires_grad=True), 0.25),
        (torch.tensor([1.0, 2.0]), [1.0, 2.0]),
        (np.array([1, 2]), [1.0, 2.0]),
        ((1, 2.5), [1.0, 2.5]),
        ([np.float32(0.5), torch.tensor(2.0)], [0.5, 2.0]),
    ],
)
def test_values_become_plain_python(value: Any, expected: Any) -> None:
    found = as_label_value(value)
    assert found == expected
    assert type(found) is type(expected)
    if isinstance(found, list):
        assert all(type(v) is float for v in found)


@pytest.mark.parametrize(
    "value",
    ["cat", math.nan, math.inf, [], [1.0, math.nan], [[1.0], [2.0]], {"a": 1}, ["1"], [True], 1j],
)
def test_what_is_no_label_is_handed_on_for_the_run_to_refuse(value: Any) -> None:
    (label,) = PythonCallable(lambda _: value).label(request_for(3))
    assert label.index == 3
    assert label.value is value


def test_what_it_says_of_itself() -> None:
    one_by_one = PythonCallable(first_as_class)
    assert (one_by_one.asks_by_key, one_by_one.at_once) == (False, 1)
    again = PythonCallable(first_as_class, repeatable=True)
    assert (again.asks_by_key, again.at_once) == (True, None)
    assert PythonCallable(first_as_class, batch=True).at_once is None


def test_a_function_is_named_by_an_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", "math,torch")
    # One number in, one number out, and the path may lead deeper than a module.
    strategy = PythonCallable("torch.linalg:vector_norm")
    assert [label.value for label in strategy.label(request_for(3))] == [
        pytest.approx(3 * math.sqrt(2))
    ]


def test_a_function_of_a_package_that_is_not_allowed_is_refused() -> None:
    with pytest.raises(ForbiddenImportError, match=r"importing from 'os' is not allowed"):
        PythonCallable("os:system")


def test_a_function_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"attribute of querist.randomness named 'derived'"):
        PythonCallable("querist.randomness:derived")


@pytest.mark.parametrize("function", ["querist.randomness:SETUP", 3, None])
def test_what_cannot_be_called_is_refused(function: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"function is something to call"):
        PythonCallable(function)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": "yes"}, "batch is true or false, not 'yes'"),
        ({"annotator": ""}, "annotator is a name, not ''"),
        ({"cost": -2}, "cost is a finite number of at least 0, not -2"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PythonCallable(first_as_class, **options)


def test_annotator_and_cost_are_those_of_the_options() -> None:
    strategy = PythonCallable(first_as_class, annotator="rule", cost=0.5)
    assert list(strategy.label(request_for(1))) == [Label(1, 1, "rule", 0.5)]


def test_is_found_by_its_name() -> None:
    assert isinstance(build("label", "callable", {"function": first_as_class}), PythonCallable)
