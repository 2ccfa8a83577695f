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
from querist.registry import build, components
from querist.strategies.query.margin import Margin
from querist.strategies.query.nested import (
    among,
    build_list,
    build_nested,
    choose,
    needs_of_all,
)
from querist.strategies.query.scoring import counted_down
from querist.testing import query_context
from querist.views import View, needs_of
from querist.votes import one_wants_committee
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


def combined(inner: Any) -> dict[str, dict[str, Any]]:
    """Options of all strategies that are made of others, by name, with one inside."""
    inner = inner if isinstance(inner, dict) else {"name": inner}
    return {
        "sequence": {"stages": [{"name": "margin", "keep": 9}, inner]},
        "mixture": {"parts": ["margin", inner]},
        "switch": {"stages": [{"name": "margin", "until_labels": 9}, inner]},
        "subsample": {"strategy": inner, "size": 3},
        "class_balanced": {"strategy": inner},
        "cost_aware": {"strategy": inner, "class_costs": {0: 1}},
        "neighbours_of_labeled": {"strategy": inner},
    }


@pytest.mark.parametrize("name", combined("margin"))
def test_what_parts_want_is_passed_on(name: str, tmp_path: Path) -> None:
    """Also by a combinator inside another one."""
    options = combined(named("Lowest"))[name]
    built = build("query", "mixture", {"parts": [{"name": name, "options": options}]})
    assert View.EMBEDDINGS in needs_of(built)
    asks_alone = name in ("subsample", "neighbours_of_labeled")
    assert (View.PROBABILITIES in needs_of(built)) == (not asks_alone)
    assert built.wants_committee
    work_in(built, tmp_path)
    assert built.strategies[0].strategies[-1].folder == tmp_path


@pytest.mark.parametrize("name", combined("margin"))
def test_votes_alone_is_passed_on(name: str) -> None:
    for voters, alone in (("auto", True), ("learners", False)):
        voting = {"name": "vote_entropy", "options": {"committee": voters}}
        built = build("query", name, combined(voting)[name])
        assert (built.wants_committee, built.votes_alone) == (True, alone)


@pytest.mark.parametrize("name", combined("margin"))
def test_what_makes_samples_is_refused_when_it_is_built(name: str) -> None:
    """Only `switch` hands on what its stage chooses as it is; what holds it does not."""
    if name == "switch":
        switch = {"name": name, "options": combined("generated")[name]}
        assert build("query", name, switch["options"]).makes_samples
        with pytest.raises(ConfigurationError, match="subsample combines .* and Switch makes"):
            build("query", "subsample", {"strategy": switch, "size": 3})
        return
    with pytest.raises(ConfigurationError, match=f"{name} combines .* and Generated makes samples"):
        build("query", name, combined("generated")[name])


def test_all_that_are_made_of_others_are_tried() -> None:
    holds = {"strategy", "stages", "parts"}
    holders = [known.name for known in components("query") if holds & {*known.options}]
    assert sorted(holders) == sorted(combined("margin"))


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
