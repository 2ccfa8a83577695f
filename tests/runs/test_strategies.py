"""Strategies inside others work in a real run as they do alone."""

from __future__ import annotations

from typing import Any

import pytest

from querist.commands.work import WORK
from querist.errors import ConfigurationError, StrategyError
from tests.shared.strategies import Lowest, Queued, named

QUEUED = named("Queued", n=9)


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", "tests")


@pytest.mark.parametrize(
    "query",
    [
        {"name": "sequence", "options": {"stages": [{"name": "margin", "keep_times": 3}, QUEUED]}},
        {"name": "mixture", "options": {"parts": [{"name": "margin", "share": 3}, "random"]}},
        {"name": "switch", "options": {"stages": [{**QUEUED, "until_iteration": 1}, "margin"]}},
        {"name": "subsample", "options": {"strategy": "margin", "share": 0.5}},
        {"name": "class_balanced", "options": {"strategy": "entropy"}},
        {"name": "neighbours_of_labeled", "options": {"strategy": "margin", "k": 2}},
        {"name": "cost_aware", "options": {"strategy": "margin", "class_costs": [1, 3]}},
    ],
    ids=lambda query: query["name"],
)
def test_each_combinator_runs_and_comes_to_the_same_after_a_resume(
    new_run: Any, drive: Any, query: Any
) -> None:
    query = {**query, "n": 4}
    whole = new_run("whole", strategies={"query": query}, driver={"max_active_learning_steps": 2})
    drive.finish(whole)
    parts = new_run("parts", strategies={"query": query}, driver={"max_active_learning_steps": 2})
    drive.iterate(parts, 0)
    parts = drive.reopened(parts)
    drive.finish(parts)
    chosen = [whole.ledger.selected(i).tolist() for i in range(2)]
    assert [len(each) for each in chosen] == [4, 4]
    assert [parts.ledger.selected(i).tolist() for i in range(2)] == chosen


def test_nested_strategies_hear_of_folder_and_driver(new_run: Any) -> None:
    inner = {"name": "mixture", "options": {"parts": [QUEUED, named("Lowest")]}}
    Lowest.wants_committee = False  # type: ignore[misc]
    try:
        run = new_run(
            strategies={
                "query": {"name": "subsample", "options": {"strategy": inner, "size": 9}, "n": 2}
            }
        )
    finally:
        Lowest.wants_committee = True
    ((_, subsample),) = run.strategies.query
    queued, lowest = subsample.strategies[0].strategies
    assert isinstance(queued.strategy, Queued)
    assert queued.strategy.driver.run_id == run.reference.run_id
    assert lowest.folder == run.reference.folder / WORK


def test_a_nested_strategy_that_wants_votes_needs_a_parallel_run(new_run: Any) -> None:
    query = {"name": "subsample", "options": {"strategy": "vote_entropy", "size": 9}, "n": 2}
    with pytest.raises(ConfigurationError, match="subsample needs other learners or a learner of"):
        new_run("refused", strategies={"query": query})
    inner = {"name": "vote_entropy", "options": {"committee": "learners"}}
    query = {"name": "subsample", "options": {"strategy": inner, "size": 9}, "n": 2}
    with pytest.raises(ConfigurationError, match="a query strategy needs other learners: run"):
        new_run("refused", strategies={"query": query})


def test_a_nested_strategy_that_the_learner_cannot_run_is_refused(new_run: Any) -> None:
    inner = {**named("Lowest")}
    Lowest.wants_committee = False  # type: ignore[misc]
    learner = {"name": "sklearn", "options": {"estimator": "KNeighborsClassifier"}}
    query = {"name": "mixture", "options": {"parts": ["margin", inner]}, "n": 2}
    training = {"optimizer": {"name": "SGD", "options": {}}}
    try:
        with pytest.raises(StrategyError, match="'mixture' needs the learner's embeddings"):
            new_run("refused", strategies={"query": query}, learner=learner, training=training)
    finally:
        Lowest.wants_committee = True
