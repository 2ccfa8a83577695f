from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from querist.config.component import QueryComponent
from querist.config.nested import HOLDING, MOST_LEVELS, check_nested
from querist.errors import ConfigurationError
from querist.registry import build, components


def deep(levels: int, innermost: Any = "margin") -> dict[str, Any]:
    """A strategy with so many levels of others inside."""
    found: Any = innermost
    for _ in range(levels):
        found = {"name": "subsample", "options": {"strategy": found, "size": 3}}
    return dict(found)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "mixture", "options": {"parts": [{"name": "os:system"}]}},
        {"name": "mixture", "options": {"parts": ["margin", "os:system"]}},
        {"name": "sequence", "options": {"stages": [{"name": "os:system", "keep": 3}, "margin"]}},
        deep(1, "os:system"),
        deep(3, {"name": "os:system", "options": {}}),
    ],
)
def test_import_paths_inside_are_checked_when_the_configuration_is_read(given: Any) -> None:
    with pytest.raises(ValidationError, match="importing from 'os' is not allowed"):
        QueryComponent.model_validate(given)


def test_what_is_allowed_or_of_other_people_is_left_to_them() -> None:
    inner = {"name": "querist.strategies.query.margin:Margin"}
    QueryComponent.model_validate({"name": "mixture", "options": {"parts": [inner, "margin"]}})
    theirs = {"name": "examples.mine:Strategy", "options": {"strategy": "a:b"}}
    QueryComponent.model_validate(theirs)


@pytest.mark.parametrize("given", [3, None, [], ["margin", 4], {"name": 3}, {"options": {}}])
def test_what_is_no_strategy_is_left_to_who_builds_it(given: Any) -> None:
    check_nested({"strategy": given, "parts": given})


def test_levels_are_limited_in_words() -> None:
    said = "nested in at most 10 levels, and 'margin' is in level 11: take out"
    QueryComponent.model_validate(deep(MOST_LEVELS))
    with pytest.raises(ValidationError, match=said):
        QueryComponent.model_validate(deep(MOST_LEVELS + 1))
    assert build("query", **deep(MOST_LEVELS)).strategies
    with pytest.raises(ConfigurationError, match=said):
        build("query", **deep(MOST_LEVELS + 1))


def test_many_levels_are_no_recursion_error() -> None:
    with pytest.raises(ConfigurationError, match="at most 10 levels"):
        build("query", **deep(5000))


def test_the_holding_options_are_those_of_our_strategies() -> None:
    options = {option for known in components("query") for option in known.options}
    assert options >= {*HOLDING}
