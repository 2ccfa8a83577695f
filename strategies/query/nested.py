"""Query strategies that are named inside another one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from querist.adapters.queue_style import as_query
from querist.config.nested import check_nested
from querist.context import QueryContext
from querist.errors import ConfigurationError, StrategyError, UnknownNameError
from querist.indices import positions
from querist.protocols import QueryStrategy
from querist.registry import build
from querist.values import Selection
from querist.views import View, needs_of
from querist.votes import all_vote_alone, one_wants_committee

KEYS = ("name", "options")

_MAKES = (
    "{owner} combines strategies that choose from the pool, and {name} makes samples: name it "
    "beside the others in strategies.query"
)


class MadeOfOthers:
    """What a strategy that is made of others says of itself.

    Attributes:
        strategies: the others.
        needs: the views that any of them asks for, and those of its own.
        wants_committee, votes_alone: what they say of votes.

    Args:
        strategies: the others.
        views: what it asks for itself.
    """

    def __init__(self, strategies: Sequence[QueryStrategy], *views: View) -> None:
        self.strategies = list(strategies)
        self.needs = needs_of_all(self.strategies, *views)
        self.wants_committee = one_wants_committee(self.strategies)
        self.votes_alone = all_vote_alone(self.strategies)


def build_nested(owner: str, given: str | Mapping[str, Any]) -> QueryStrategy:
    """The query strategy of an option `strategy`: a name, or `{name: ..., options: {...}}`.

    Args:
        owner: the strategy whose option it is, for messages.
        given: the name and the options.

    Raises:
        ConfigurationError: it cannot be built.
    """
    strategy, _ = _build_one(owner, "strategy", given, ())
    _check_chooses(owner, strategy)
    return strategy


def build_list(
    owner: str,
    option: str,
    given: Sequence[str | Mapping[str, Any]],
    *,
    keys: Collection[str] = (),
    may_make: bool = False,
) -> list[tuple[QueryStrategy, Mapping[str, Any]]]:
    """The query strategies of a list, each with what it says beside its name and its options.

    Args:
        owner: the strategy whose list it is, for messages.
        option: the option that is the list.
        given: names, or `{name: ..., options: {...}}` with any of `keys` beside them.
        keys: what may be said of each.
        may_make: whether they may make samples that no pool holds.

    Raises:
        ConfigurationError: the list is empty or no list, or one of them cannot be built.
    """
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence) or not given:
        raise ConfigurationError(
            f"{option} of {owner} is a list of at least one query strategy, not {given!r:.80}: "
            "write [{name: margin, options: {}}, ...]"
        )
    built = [_build_one(owner, option, one, keys) for one in given]
    for strategy, _ in () if may_make else built:
        _check_chooses(owner, strategy)
    return built


def _build_one(
    owner: str, option: str, given: str | Mapping[str, Any], keys: Collection[str]
) -> tuple[QueryStrategy, Mapping[str, Any]]:
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise ConfigurationError(
            f"a query strategy in {option} of {owner} has a name, unlike {given!r:.80}: "
            "write {name: ..., options: {...}}"
        )
    for key in given:
        if key not in (*KEYS, *keys):
            raise UnknownNameError(f"key in {option} of {owner}", str(key), (*KEYS, *keys))
    options = given.get("options", {})
    if not isinstance(options, Mapping):
        raise ConfigurationError(
            f"options of {given['name']!r} in {owner} is a mapping, not {options!r:.80}: "
            "write options: {...}"
        )
    check_nested({"strategy": given})
    built = as_query(build("query", given["name"], options))
    return built, {key: value for key, value in given.items() if key in keys}


def _check_chooses(owner: str, strategy: QueryStrategy) -> None:
    """Refuse a strategy that says that it makes samples."""
    if one_makes_samples([strategy]):
        raise ConfigurationError(_MAKES.format(owner=owner, name=type(strategy).__name__))


def needs_of_all(strategies: Iterable[QueryStrategy], *more: View) -> tuple[View, ...]:
    """The views that any of the strategies asks for, and `more`, each once."""
    asked = [view for strategy in strategies for view in needs_of(strategy)]
    return tuple(dict.fromkeys([*asked, *more]))


def one_makes_samples(strategies: Iterable[QueryStrategy]) -> bool:
    """Whether any of the strategies says that it makes samples which no pool holds."""
    return any(getattr(strategy, "makes_samples", False) for strategy in strategies)


def among(context: QueryContext, candidates: torch.Tensor) -> QueryContext:
    """The same context with fewer unlabeled samples `(m,)`, given in any order.

    What the learner has said already of all of them is found there, too.
    """
    return replace(context, unlabeled=candidates.sort().values)


def choose(owner: str, strategy: QueryStrategy, context: QueryContext, n: int) -> Selection:
    """What a nested strategy chooses, as far as the next one can go on from it.

    Args:
        owner: the strategy that it is nested in, for messages.
        strategy: which.
        context: what it may choose from.
        n: how many.

    Raises:
        StrategyError: it made samples of its own, or chose what is not among the candidates, too
            many, or one twice.
    """
    selection = strategy.sample(context, n)
    name = type(strategy).__name__
    if selection.samples is not None:
        raise StrategyError(_MAKES.format(owner=owner, name=name))
    if len(selection) > n or len(set(selection.indices)) < len(selection):
        raise StrategyError(
            f"a strategy in {owner} chooses {n} different samples at most, and {name} chose "
            f"{len(selection)}, {len(set(selection.indices))} of them different: correct it"
        )
    indices = torch.tensor(selection.indices, dtype=torch.int64)
    foreign = indices[positions(context.unlabeled, indices) < 0]
    if len(foreign):
        raise StrategyError(
            f"a strategy in {owner} chooses from the candidates that it is given, and {name} chose "
            f"{foreign.tolist()[:5]}: choose from context.unlabeled"
        )
    return selection
