"""The label phase where a source fails, falls silent or remembers; and what people say of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from querist import phases
from querist.errors import (
    ConfigurationError,
    DataError,
    InDoubtError,
    LabelError,
    StrategyError,
)
from querist.ledger import RequestState
from querist.phases.settle import Outcome, settle_outcome, settle_value, unsettled
from querist.requests import LabelRequest
from querist.runs import Run
from querist.runs.status import read_status
from querist.values import Label

FOR_EVER = 0.05
"""Seconds that a silent source is waited for."""


class Source:
    """A label source that a test directs; it bills every question.

    Attributes:
        asked: the samples of every call.
        raises: raised after `answered` labels of a call, if it is set.
    """

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.raises: BaseException | None = None
        self.answered = 0

    def label(self, request: LabelRequest) -> Iterator[Label]:
        self.asked.append(request.indices.tolist())
        yield from self._labels(request)

    def _labels(self, request: LabelRequest) -> Iterator[Label]:
        truth = request.pool.targets(request.indices).tolist()  # type: ignore[attr-defined]
        for position, (index, value) in enumerate(
            zip(request.indices.tolist(), truth, strict=True)
        ):
            if self.raises is not None and position == self.answered:
                raise self.raises
            yield Label(index, value)


class Remembering(Source):
    """It knows what it has sold, and may be unable to say so."""

    def __init__(self) -> None:
        super().__init__()
        self.recalled: list[list[int]] = []
        self.forgets: Exception | None = None
        self.silent = False

    def recall(self, request: LabelRequest) -> Iterator[Label]:
        self.recalled.append(request.indices.tolist())
        sold = [i for asked in self.asked for i in asked]
        truth = request.pool.targets(request.indices).tolist()  # type: ignore[attr-defined]
        for index, value in zip(request.indices.tolist(), truth, strict=True):
            if self.silent:
                time.sleep(4 * FOR_EVER)
            if index in sold:
                yield Label(index, value)
            if self.forgets is not None:
                raise self.forgets


@pytest.fixture
def directed(new_run: Any, component: Any) -> Any:
    """A run whose labels come from a source of this kind, and the source."""

    def make(kind: type[Source] = Source, **changes: Any) -> tuple[Run, Any]:
        source = kind()
        settings = {"label": {"name": component("label", lambda: source)}, **changes}
        budget = settings.pop("stop", [])
        return new_run(strategies=settings, stop=budget), source

    return make


def states(run: Run) -> list[RequestState]:
    return [request.state for request in run.ledger.requests()]


def everything_asked(source: Source) -> list[int]:
    return [sample for asked in source.asked for sample in asked]


def labels(run: Run) -> int:
    return len(run.data.labeled(run.ledger))


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_a_source_that_ends_the_process_leaves_its_labels_in_doubt(
    timeout: float | None, directed: Any, drive: Any
) -> None:
    run, source = directed(label_timeout_seconds=timeout)
    source.raises, source.answered = SystemExit(0), 2
    drive.iterate(run, 0)
    assert labels(run) == 12
    assert states(run) == [RequestState.IN_DOUBT] * 3
    assert "the label source raised SystemExit" in run.ledger.requests()[0].reason
    source.raises = None
    drive.finish(drive.reopened(run))
    assert [len(asked) for asked in source.asked] == [5, 5, 5], "never asked for again"


def test_what_is_in_doubt_and_why_is_in_the_status(directed: Any, drive: Any) -> None:
    run, source = directed()
    source.raises, source.answered = InDoubtError("the line broke"), 3
    drive.iterate(run, 0)
    status = read_status(run.reference)
    first = source.asked[0]
    assert status.in_doubt == dict.fromkeys(first[3:], "InDoubtError: the line broke")
    assert (status.labels_bought, status.pending_requests) == (3, 0)


def test_a_source_that_knows_what_it_sold_is_asked_for_it(directed: Any, drive: Any) -> None:
    run, source = directed(Remembering)
    source.raises, source.answered = InDoubtError("the line broke"), 3
    drive.iterate(run, 0)
    doubtful = source.asked[0][3:]
    source.raises = None
    drive.iterate(run, 1)
    assert source.recalled == [doubtful]
    assert labels(run) == 20
    assert everything_asked(source).count(doubtful[0]) == 1


def test_a_source_that_cannot_say_what_it_sold_is_asked_later(
    directed: Any, drive: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run, source = directed(Remembering)
    source.raises, source.answered = InDoubtError("the line broke"), 2
    drive.iterate(run, 0)
    doubtful = source.asked[0][2:]
    source.raises, source.forgets = None, ConnectionError("the archive is closed")
    with caplog.at_level(logging.WARNING, "querist"):
        drive.iterate(run, 1)
    assert "cannot say what it has sold, ConnectionError: the archive is closed" in caplog.text
    assert labels(run) == 10 + 2 + 1 + 5, "what it said before it failed is kept"
    assert [r.sample for r in run.ledger.requests()] == doubtful[1:]
    source.forgets = None
    drive.iterate(run, 2)
    assert source.recalled == [doubtful, doubtful[1:]]
    assert labels(run) == 25
    assert len(everything_asked(source)) == len(set(everything_asked(source))), "asked twice"


def test_a_source_that_is_silent_about_what_it_sold_is_given_up_on(
    directed: Any, drive: Any
) -> None:
    run, source = directed(Remembering, label_timeout_seconds=FOR_EVER)
    source.raises, source.answered = InDoubtError("the line broke"), 2
    drive.iterate(run, 0)
    source.raises, source.silent = None, True
    started = time.monotonic()
    drive.iterate(run, 1)
    assert time.monotonic() - started < 5
    assert labels(run) == 17
    assert states(run) == [RequestState.IN_DOUBT] * 3
    source.silent = False
    drive.iterate(run, 2)
    assert labels(run) == 25


def test_a_source_that_broke_its_contract_is_asked_no_further(directed: Any, drive: Any) -> None:
    run, source = directed(label_attempts=3)
    source.raises, source.answered = DataError("no such table"), 2
    with pytest.raises(DataError, match="no such table"):
        drive.iterate(run, 0)
    assert len(source.asked) == 1
    assert labels(run) == 12
    assert states(run) == [RequestState.IN_DOUBT] * 3
    source.raises = None
    drive.finish(drive.reopened(run))
    assert labels(run) == 22


# What a person says -------------------------------------------------------------------------------


@pytest.fixture
def doubtful(directed: Any, drive: Any) -> tuple[Run, Any, list[int]]:
    """A run after an iteration that left two labels in doubt, its source, and the samples."""
    run, source = directed()
    source.raises, source.answered = InDoubtError("the line broke"), 3
    drive.iterate(run, 0)
    source.raises = None
    return run, source, source.asked[0][3:]


def test_what_was_not_bought_is_asked_for_again(
    doubtful: tuple[Run, Any, list[int]], drive: Any
) -> None:
    run, source, (first, second) = doubtful
    settle_outcome(run, frozenset({first}), Outcome.NOT_BOUGHT)
    drive.iterate(drive.reopened(run), 1)
    assert first in source.asked[1]
    assert second not in source.asked[1]


def test_what_is_lost_is_never_asked_for_again(
    doubtful: tuple[Run, Any, list[int]], drive: Any
) -> None:
    run, source, samples = doubtful
    settle_outcome(run, frozenset(samples), Outcome.LOST)
    assert unsettled(run.ledger).requests == ()
    run = drive.reopened(run)
    drive.finish(run)
    assert labels(run) == 23
    assert everything_asked(source).count(samples[0]) == 1


def test_a_value_joins_the_next_training(doubtful: tuple[Run, Any, list[int]], drive: Any) -> None:
    run, _, (first, _) = doubtful
    settle_value(run, first, 1, annotator="Ada", cost=2.5)
    assert (first, "Ada", 1) in run.ledger.label_rows()
    assert run.ledger.labels_spent() == (4, 5.5)
    drive.iterate(run, 1)
    assert first not in run.labeled(1).indices.tolist()
    assert first in run.labeled(2).indices.tolist()


def test_nothing_is_settled_that_is_not_in_doubt(
    doubtful: tuple[Run, Any, list[int]],
) -> None:
    run, source, (first, second) = doubtful
    known = source.asked[0][0]
    for settle in (
        lambda: settle_outcome(run, frozenset({known}), Outcome.LOST),
        lambda: settle_value(run, known, 1),
    ):
        with pytest.raises(ConfigurationError, match=f"about sample {known}: .* are ") as error:
            settle()
        assert {str(first), str(second)} <= set(error.value.args[0].replace(",", "").split())
    with pytest.raises(LabelError, match="a class 0 to 1, not 2"):
        settle_value(run, first, 2)
    assert states(run) == [RequestState.IN_DOUBT] * 2


def test_a_budget_of_which_the_rest_is_lost_ends_the_run(directed: Any, drive: Any) -> None:
    stop = {"name": "label_budget", "options": {"labels": 15}}
    run, source = directed(stop=[stop])
    source.raises, source.answered = InDoubtError("the line broke"), 3
    drive.iterate(run, 0)
    samples = source.asked[0][3:]
    settle_outcome(run, frozenset(samples), Outcome.LOST)
    decision = drive.finish(run)
    assert decision.reason == "budget spent: what is left of it is in doubt, refused or lost"
    assert len(source.asked) == 1


# What a stranger found ----------------------------------------------------------------------------


def test_a_source_with_a_time_limit_draws_no_label_before_the_last_one_is_stored(
    new_run: Any, component: Any
) -> None:
    stored: list[int] = []
    run: Any = None

    class Watched:
        def label(self, request: Any) -> Any:
            for index in request.indices.tolist():
                stored.append(len(run.data.labeled(run.ledger)))
                yield Label(index, 0)

    name = component("label", Watched)
    run = new_run(strategies={"label": {"name": name}, "label_timeout_seconds": 30})
    phases.train(run, 0)
    phases.query(run, 0)
    phases.label(run, 0)
    assert stored == [10, 11, 12, 13, 14]


def test_a_recall_that_nobody_can_make_sense_of_leaves_everything_in_doubt(
    new_run: Any, drive: Any, component: Any
) -> None:
    class Muddled:
        bought = 0

        def label(self, request: Any) -> Any:
            type(self).bought += len(request.indices)
            raise InDoubtError("the line went dead")
            yield

        def recall(self, request: Any) -> Any:
            yield Label("17", 1)  # type: ignore[arg-type]

    run = new_run(strategies={"label": {"name": component("label", Muddled)}})
    for expected in (InDoubtError, LabelError):
        with pytest.raises(expected):
            drive.iterate(run, 0)
        run = drive.reopened(run)
    assert Muddled.bought == 5
    assert states(run) == [RequestState.IN_DOUBT] * 5


@pytest.mark.parametrize("at_once", [0, -1, True, 1.5, "all"])
def test_a_source_that_takes_none_at_once(new_run: Any, component: Any, at_once: Any) -> None:
    made = type("Odd", (), {"at_once": at_once, "label": lambda self, request: iter(())})
    with pytest.raises(StrategyError, match="at_once .* a whole number from 1"):
        new_run(strategies={"label": {"name": component("label", made)}})
