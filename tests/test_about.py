from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

from querist.about import About
from querist.registry import components
from querist.views import View


def test_it_is_frozen() -> None:
    about = About(paper="", needs=(View.PROBABILITIES,), cost="n c")
    with pytest.raises(dataclasses.FrozenInstanceError):
        about.cost = "n"  # type: ignore[misc]


@pytest.mark.parametrize("component", components("query"), ids=lambda found: found.name)
def test_each_query_strategy_says_what_it_is_about(component: object) -> None:
    about = getattr(component.factory, "about", None)  # type: ignore[attr-defined]
    assert isinstance(about, About)
    assert about.cost
    assert all(isinstance(view, View) for view in about.needs)
    assert not about.paper or re.search(r"\b(19|20)\d\d\b", about.paper), "a paper has its year"


@pytest.mark.parametrize("component", components("query"), ids=lambda found: found.name)
def test_what_measures_distances_says_so(component: object) -> None:
    factory = component.factory  # type: ignore[attr-defined]
    if "space" in inspect.signature(factory).parameters:
        assert {View.FEATURES, View.EMBEDDINGS} & set(factory.about.needs)
