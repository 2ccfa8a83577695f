from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from querist.adapters.queue_style import QueueQuery
from querist.commands.work import work_in
from querist.config.component import Component
from querist.errors import ConfigurationError, ForbiddenImportError, StrategyError, UnknownNameError
from querist.registry import build
from querist.strategies.query.margin import Margin
from querist.strategies.query.nested import (
    among,
    build_list,
    build_nested,
    choose,
    needs_of_all,
    one_wants_committee,
)
from querist.strategies.query.scoring import counted_down
from querist.testing import query_context
from querist.views import View, needs_of
from tests.shared.strategies import Fixed, Lowest, named


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", "tests")


def test_one_is_built_by_its_name_or_with_options() -> None:
    assert isinstance(build_nested("subsample", "margin"), Margin)
    assert isinstance(build_nested("subsample", {"name": "margin", "options": {}}), Margin)
    assert isinstance(build_nested("subsample", named("Queued", n=4)), QueueQuery)


def test_a_list_is_built_in_order_with_what_is_said_beside() -> None:
    first, second = build_list(
        "mixture", "parts", ["margin", {**named("Lowest"), "share": 2}], keys=("share",)
    )
    assert isinstance(first[0], Margin)
    assert isinstance(second[0], Lowest)
    assert (dict(first[1]), dict(second[1])) == ({}, {"share": 2})


@pytest.mark.parametrize("given", [[], (), "margin", {"name": "margin"}, 3, None])
def test_something_else_than_a_list_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="parts of mixture is a list of at least one"):
        build_list("mixture", "parts", given)


@pytest.mark.parametrize("given", [3, {}, {"options": {}}, {"name": 3}, None])
def test_a_strategy_without_a_name_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="in strategy of subsample has a name, unlike"):
        build_nested("subsample", given)


def test_unknown_names_keys_and_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'margin'"):
        build_nested("subsample", "margni")
    with pytest.raises(UnknownNameError, match="key in strategy of subsample named 'option'"):
        build_nested("subsample", {"name": "margin", "option": {}})
    with pytest.raises(UnknownNameError, match="no option of query 'margin' named 'm'"):
        build_nested("subsample", {"name": "margin", "options": {"m": 1}})
    with pytest.raises(ConfigurationError, match="options of 'margin' in subsample is a mapping"):
        build_nested("subsample", {"name": "margin", "options": [1]})
    with pytest.raises(ForbiddenImportError, match="importing from 'os' is not allowed"):
        build_nested("subsample", "os:system")


@pytest.mark.parametrize(
    "combined",
    [
        ("sequence", {"stages": [{"name": "margin", "keep": 9}, named("Lowest")]}),
        ("mixture", {"parts": ["margin", named("Lowest")]}),
        ("switch", {"stages": [{"name": "margin", "until_labels": 9}, named("Lowest")]}),
        ("subsample", {"strategy": named("Lowest"), "size": 3}),
        ("class_balanced", {"strategy": named("Lowest")}),
        ("cost_aware", {"strategy": named("Lowest"), "class_costs": {0: 1}}),
    ],
    ids=lambda combined: combined[0],
)
def test_what_parts_want_is_passed_on(combined: Any, tmp_path: Path) -> None:
    """Also by a combinator inside another one."""
    name, options = combined
    built = build("query", "mixture", {"parts": [{"name": name, "options": options}]})
    assert View.EMBEDDINGS in needs_of(built)
    assert (View.PROBABILITIES in needs_of(built)) == (name != "subsample")
    assert built.wants_committee
    work_in(built, tmp_path)
    assert built.strategies[0].strategies[-1].folder == tmp_path


def test_needs_are_named_once() -> None:
    strategies = [Margin(), Margin(), Lowest()]
    assert needs_of_all(strategies) == (View.PROBABILITIES, View.EMBEDDINGS)
    assert needs_of_all([], View.FEATURES) == (View.FEATURES,)
    assert one_wants_committee(strategies)
    assert not one_wants_committee(strategies[:2])


def test_fewer_candidates_are_ascending_and_share_what_was_said() -> None:
    context = query_context()
    said = context.gather(View.PROBABILITIES)
    fewer = among(context, torch.tensor([9, 1, 5]))
    assert fewer.unlabeled.tolist() == [1, 5, 9]
    at = torch.searchsorted(context.unlabeled, fewer.unlabeled)
    assert fewer.shared.has(View.PROBABILITIES, fewer.unlabeled)
    assert torch.equal(fewer.gather(View.PROBABILITIES), said[at])


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (Fixed([], makes=True), "mixture combines strategies that choose from the pool, and Fixed"),
        (Fixed([1, 1]), "chooses 2 different samples at most, and Fixed chose 2, 1 of them"),
        (Fixed([1, 2, 3]), "chooses 2 different samples at most, and Fixed chose 3"),
        (Fixed([1, 4]), r"from the candidates that it is given, and Fixed chose \[4\]"),
        (Fixed([99]), r"and Fixed chose \[99\]"),
    ],
)
def test_what_cannot_be_gone_on_from_is_refused(strategy: Any, message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        choose("mixture", strategy, query_context(), 2)


def test_scores_count_down() -> None:
    assert counted_down([7, 3]).scores == (2.0, 1.0)
    assert len(counted_down([])) == 0


@pytest.mark.parametrize(
    "holder",
    [
        {"name": "subsample", "options": {"strategy": "COMMAND", "size": 3}},
        {"name": "sequence", "options": {"stages": ["COMMAND", {"name": "margin"}]}},
        {"name": "mixture", "options": {"parts": [{"name": "margin"}, "COMMAND"]}},
    ],
)
def test_programs_inside_are_refused_when_the_configuration_is_read(
    holder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUERIST_ALLOWED_COMMANDS", raising=False)
    command = {"name": "command", "options": {"argv": ["reboot"]}, "keep": 3}
    text = json.dumps(holder).replace('"COMMAND"', json.dumps(command))
    with pytest.raises(ValueError, match="running 'reboot' is not allowed"):
        Component.model_validate(json.loads(text))
