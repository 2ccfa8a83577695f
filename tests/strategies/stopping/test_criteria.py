from __future__ import annotations

from typing import Any

import pytest

from querist.errors import ConfigurationError, ForbiddenImportError, UnknownNameError
from querist.strategies.stopping.criteria import build_criteria
from querist.strategies.stopping.label_budget import LabelBudget
from querist.strategies.stopping.max_iterations import MaxIterations


def test_builds_in_order_with_options() -> None:
    first, second = build_criteria(
        "any_of",
        [
            {"name": "max_iterations", "options": {"n": 3}},
            {"name": "label_budget", "options": {"labels": 9}},
        ],
    )
    assert isinstance(first, MaxIterations)
    assert first.n == 3
    assert isinstance(second, LabelBudget)
    assert second.labels == 9


def test_a_name_alone_stands_for_a_criterion_without_options() -> None:
    with pytest.raises(ConfigurationError, match="stop 'max_iterations' needs the option 'n'"):
        build_criteria("any_of", ["max_iterations"])


@pytest.mark.parametrize("criteria", [[], (), "max_iterations", {"name": "max_iterations"}, 3])
def test_something_else_than_a_list_is_refused(criteria: Any) -> None:
    with pytest.raises(ConfigurationError, match="criteria of all_of is a list of at least one"):
        build_criteria("all_of", criteria)


@pytest.mark.parametrize("criterion", [3, {}, {"options": {}}, {"name": 3}, None])
def test_a_criterion_without_a_name_is_refused(criterion: Any) -> None:
    with pytest.raises(ConfigurationError, match="each of the criteria of any_of has a name"):
        build_criteria("any_of", [criterion])


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'max_iterations'"):
        build_criteria("any_of", ["max_iteration"])


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="key of a criterion of any_of named 'option'"):
        build_criteria("any_of", [{"name": "max_iterations", "option": {"n": 3}}])


def test_unknown_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="no option of stop 'max_iterations' named 'm'"):
        build_criteria("any_of", [{"name": "max_iterations", "options": {"m": 3}}])


def test_options_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="options of 'max_iterations' in any_of is a map"):
        build_criteria("any_of", [{"name": "max_iterations", "options": [3]}])


def test_import_paths_are_checked_inside_too() -> None:
    with pytest.raises(ForbiddenImportError, match="importing from 'os' is not allowed"):
        build_criteria("any_of", ["os:system"])
