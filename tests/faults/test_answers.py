"""Rows 11 and 12: what a label source answers may be anything, and may come in any order.

Row 11: what cannot be a label is in quarantine with the reason, and the batch goes on. Row 12:
duplicates change nothing, a contradiction waits for a person while the first label stays in use, a
late label joins the next iteration.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from querist import phases
from querist.config.load import merge
from querist.errors import LabelError
from querist.ledger import RequestState
from querist.phases.query import request_key
from querist.pools import TensorPool
from querist.requests import LabelRequest
from querist.runs import Run, close_run
from querist.values import Label, Phase
from tests.shared import runs

new_run, experiment = runs.new_run, runs.experiment
component, drive = runs.component, runs.drive

SAMPLES = 6000


class Puppet:
    """A label source that says what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.answers: Callable[[LabelRequest], Iterator[Any]] = lambda request: iter(())

    def label(self, request: LabelRequest) -> Iterator[Any]:
        self.asked.append(request.indices.tolist())
        return self.answers(request)


def pool(*, classes: int | None, shape: tuple[int, ...] = (), n: int = SAMPLES) -> TensorPool:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(n + 50, 2, generator=generator)
    if classes:
        targets = torch.arange(n + 50) % classes
    else:
        targets = torch.randn(n + 50, *shape, generator=generator)
    test = TensorPool(features[n:], targets[n:], classes=classes)
    return TensorPool(features[:n], targets[:n], classes=classes, held_out={"test": test})


@pytest.fixture
def asked_run(new_run: Any, component: Any) -> Callable[..., tuple[Run, Puppet]]:
    """A run whose label source is a puppet."""

    def make(pool_of: Callable[[], TensorPool], **changes: Any) -> tuple[Run, Puppet]:
        puppet = Puppet()
        own = {
            "data": {"pool": {"name": component("pool", pool_of)}},
            "strategies": {"label": component("label", lambda: puppet), "label_attempts": 1},
        }
        return new_run(**merge(own, changes)), puppet

    return make


def request(run: Run, iteration: int, samples: list[int]) -> None:
    """Ask for labels of these samples, as the query phase does."""
    chosen = [(sample, 1.0, "margin") for sample in samples]
    keys = [request_key(run, iteration, sample) for sample in samples]
    run.ledger.record_selection(iteration, chosen, keys=keys, made={}, started=1.0)
    run.queue.put(run.ledger.open_requests())


# Row 11 ------------------------------------------------------------------------------------------


class Shy:
    """Something that cannot be shown."""

    def __repr__(self) -> str:
        raise RecursionError("do not look")


class Rude:
    """Something that cannot be looked at."""

    @property
    def index(self) -> int:
        raise RuntimeError("do not look")


def deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


def fresh(make: Callable[[], Any]) -> st.SearchStrategy[Any]:
    return st.builds(make)


NO_NUMBER = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, None, "1", b"1", {}, (), {1}, 1j, True]),
    st.text(max_size=5),
    st.sampled_from(["\ud800", "a\0b", "x" * 10_000]),
    fresh(Shy),
    fresh(object),
)
NO_CLASS = st.one_of(
    NO_NUMBER,
    st.integers(max_value=-1),
    st.integers(min_value=2),
    st.just(10**400),
    st.floats(),
    st.lists(st.integers(0, 1), max_size=3),
    fresh(lambda: deep(100_000)),
    fresh(lambda: torch.tensor(1)),
    fresh(lambda: np.int64(1)),
    fresh(lambda: np.float64(1.0)),
)
NO_INDEX = st.one_of(
    NO_NUMBER,
    st.integers(max_value=-1),
    st.integers(min_value=SAMPLES),
    st.just(10**400),
    st.floats(),
    fresh(lambda: np.int64(3)),
    fresh(lambda: torch.tensor(3)),
)
NO_ANNOTATOR = st.one_of(
    st.sampled_from([None, 5, b"ann", "x" * 201, "a\0b", "\ud800", ["ann"]]), fresh(Shy)
)
NO_COST = st.one_of(NO_NUMBER, st.floats(max_value=-0.001), st.just(10**400))
NO_LABEL = st.one_of(NO_NUMBER, st.integers(), fresh(Rude), fresh(lambda: Label))
BAD = st.one_of(
    st.tuples(st.just("value"), NO_CLASS),
    st.tuples(st.just("index"), NO_INDEX),
    st.tuples(st.just("annotator"), NO_ANNOTATOR),
    st.tuples(st.just("cost"), NO_COST),
    st.tuples(st.just("answer"), NO_LABEL),
)


def bad_label(sample: int, what: str, wrong: Any) -> Any:
    """An answer for a sample that is wrong in one way."""
    if what == "answer":
        return wrong
    return Label(**{"index": sample, "value": 1, "annotator": "ann", "cost": 1.0, what: wrong})


def test_what_cannot_be_a_label_is_never_trained_on(
    asked_run: Any, drive: Any, tries: Any, tried: Any, survived: Any
) -> None:
    run, puppet = asked_run(lambda: pool(classes=2))
    free = [s for s in range(SAMPLES) if s not in set(run.ledger.subset("initial").tolist())]
    iteration = 0
    good: set[int] = set()
    bad: set[int] = set()

    @settings(
        max_examples=tries(11, 180, 900),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(wrong=st.lists(BAD, min_size=1, max_size=3), place=st.integers(0, 2))
    def check(wrong: list[tuple[str, Any]], place: int) -> None:
        nonlocal iteration
        tried(11)
        left, middle, right = (free.pop() for _ in range(3))
        request(run, iteration, [left, middle, right])
        said: list[Any] = [bad_label(middle, what, value) for what, value in wrong]
        answers = [Label(left, 1), Label(right, 0)]
        answers[place:place] = said
        puppet.answers = lambda request: iter(answers)
        before = len(run.ledger.quarantined())
        try:
            assert phases.label(run, iteration) == 2
        finally:
            iteration += 1
        reasons = [kept.reason for kept in run.ledger.quarantined()[before:]]
        assert len(reasons) == len(said)
        assert all(reasons)
        good.update((left, right))
        bad.add(middle)
        labeled = {sample for sample, _, _ in run.ledger.label_rows()}
        assert {left, right} <= labeled
        assert middle not in labeled
        states = {r.sample: r.state for r in run.ledger.requests()}
        if any(what in ("value", "annotator", "cost") for what, _ in wrong):
            assert states[middle] is RequestState.QUARANTINED
        elif middle in states and states[middle] is not RequestState.QUARANTINED:
            # Nobody can say to which request it belongs: settled here, as a person would.
            key = next(r.key for r in run.ledger.requests() if r.sample == middle)
            run.ledger.record_state([key], RequestState.LOST, "no answer to it")
        survived(11)

    check()
    flat = [sample for asked in puppet.asked for sample in asked]
    assert len(flat) == len(set(flat)), "something was asked for twice"
    again = drive.reopened(run)
    trained = again.labeled(iteration)
    assert good <= set(trained.indices.tolist())
    assert not bad & set(trained.indices.tolist())
    assert set(trained.targets.tolist()) == {0, 1}


NO_TARGET = st.one_of(
    NO_NUMBER,
    st.just(10**400),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=1),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=4),
    st.sampled_from([[1.0, math.nan], [math.inf, 1.0], [1.0, "2"], [[1.0, 2.0]], [1.0, True]]),
    st.sampled_from([[1.0, None], [1.0, 10**400], 0.5, 3, (1.0, 2.0)]),
    fresh(lambda: torch.ones(2)),
    fresh(lambda: np.ones(2)),
)


def test_a_vector_of_another_shape_is_never_trained_on(
    asked_run: Any, tries: Any, tried: Any, survived: Any
) -> None:
    run, puppet = asked_run(
        lambda: pool(classes=None, shape=(2,)),
        learner={"name": "sklearn", "options": {"estimator": "Ridge"}},
        data={"initial": {"stratify": False}},
        strategies={"query": {"name": "random", "n": 5}, "metrology": "r2"},
    )
    free = [s for s in range(SAMPLES) if s not in set(run.ledger.subset("initial").tolist())]
    iteration = 0

    @settings(
        max_examples=tries(11, 20, 100),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(value=NO_TARGET)
    def check(value: Any) -> None:
        nonlocal iteration
        tried(11)
        left, middle = free.pop(), free.pop()
        request(run, iteration, [left, middle])
        puppet.answers = lambda request: iter([Label(middle, value), Label(left, [0.5, 1])])
        try:
            assert phases.label(run, iteration) == 1
        finally:
            iteration += 1
        labeled = {sample for sample, _, _ in run.ledger.label_rows()}
        assert left in labeled
        assert middle not in labeled
        survived(11)

    check()
    assert run.labeled(iteration).targets.shape == (10 + iteration, 2)


def test_a_source_that_gives_nothing_but_nonsense_is_said_in_words(asked_run: Any) -> None:
    run, puppet = asked_run(lambda: pool(classes=2, n=100))
    request(run, 0, [50, 51])
    puppet.answers = lambda request: iter([Label(50, 7), Label(51, 8)])
    with pytest.raises(
        LabelError, match="not one answer was a label, 2 are in quarantine: a label"
    ):
        phases.label(run, 0)
    assert [r.state for r in run.ledger.requests()] == [RequestState.QUARANTINED] * 2


# Row 12 ------------------------------------------------------------------------------------------


def machine(make: Callable[[], tuple[Run, Puppet]], drive: Any) -> type[RuleBasedStateMachine]:
    """Labels that come late, twice, in any order, and contradict each other."""

    class Arrivals(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            self.run, self.puppet = make()
            taken = set(self.run.ledger.subset("initial").tolist())
            self.free = [s for s in range(400) if s not in taken]
            self.initial = self.run.ledger.label_rows()
            self.iteration = 0
            self.chosen: list[int] = []
            self.first: dict[int, tuple[int, int]] = {}
            """What was said first of a sample, and in which iteration."""
            self.decided: dict[int, int] = {}
            self.doubts: dict[int, list[int]] = {}
            self.said: dict[int, set[int]] = {}
            self.trained_on: list[list[tuple[int, str, Any]]] = [self.initial]

        @rule(data=st.data(), more=st.integers(0, 4))
        def an_iteration(self, data: st.DataObject, more: int) -> None:
            new = [self.free.pop() for _ in range(min(more, len(self.free)))]
            request(self.run, self.iteration, new)
            self.chosen += new
            asked = [r.sample for r in self.run.ledger.open_requests()]
            assert asked == [s for s in self.chosen if s not in self.first]
            some = (
                st.lists(st.sampled_from(self.chosen), max_size=8) if self.chosen else st.just([])
            )
            answers = [
                (sample, data.draw(st.integers(0, 2), label="value"))
                for sample in data.draw(some, label="answers")
            ]
            before = len(self.puppet.asked)
            self.puppet.answers = lambda request: iter(
                [Label(sample, value, cost=0.0) for sample, value in answers]
            )
            phases.label(self.run, self.iteration)
            assert self.puppet.asked[before:] == ([asked] if asked else [])
            for sample, value in answers if asked else []:
                self.hear(sample, value)
            self.run.ledger.commit_iteration(self.iteration, 0, {}, None)
            self.iteration += 1
            self.trained_on.append(self.run.ledger.label_rows(before_iteration=self.iteration))

        def hear(self, sample: int, value: int) -> None:
            said = self.said.setdefault(sample, set())
            if sample not in self.first:
                self.first[sample] = (value, self.iteration)
            elif value not in said:
                self.doubts.setdefault(sample, []).append(value)
            said.add(value)

        @rule()
        def the_process_ends(self) -> None:
            self.run = drive.reopened(self.run)
            self.run.label_source.strategy.__dict__.update(self.puppet.__dict__)

        @precondition(lambda self: self.doubts)
        @rule(data=st.data())
        def a_person_decides(self, data: st.DataObject) -> None:
            waiting = self.run.ledger.revisions_for_review()
            revision = data.draw(st.sampled_from(waiting))
            value = data.draw(st.sampled_from([revision.used, revision.value]))
            self.run.ledger.decide_revision(revision, value)
            self.decided[revision.sample] = value
            del self.doubts[revision.sample]

        @invariant()
        def the_first_label_stays_in_use(self) -> None:
            found = {sample: value for sample, _, value in self.run.ledger.label_rows()}
            used = {s: self.decided.get(s, value) for s, (value, _) in self.first.items()}
            assert found == {s: v for s, _, v in self.initial} | used

        @invariant()
        def what_was_trained_on_does_not_change(self) -> None:
            self.compare_with_training(max(0, self.iteration - 1))

        def compare_with_training(self, iteration: int) -> None:
            rows = self.run.ledger.label_rows(before_iteration=iteration)
            assert rows == self.trained_on[iteration]
            there = {sample for sample, (_, when) in self.first.items() if when < iteration}
            assert {s for s, _, _ in rows} == there | {s for s, _, _ in self.initial}

        @invariant()
        def order_is_that_of_the_selection(self) -> None:
            labeled = [sample for sample, _, _ in self.run.ledger.label_rows()]
            assert labeled[len(self.initial) :] == [s for s in self.chosen if s in self.first]

        @invariant()
        def contradictions_wait_for_a_person(self) -> None:
            waiting: dict[int, list[Any]] = {}
            for revision in self.run.ledger.revisions_for_review():
                waiting.setdefault(revision.sample, []).append(revision.value)
            assert waiting == self.doubts

        @invariant()
        def nothing_is_counted_twice(self) -> None:
            assert self.run.ledger.labels_spent()[0] == len(self.first)
            assert self.run.ledger.labels_committed_to() == len(self.initial) + len(self.chosen)

        def teardown(self) -> None:
            if hasattr(self, "run"):
                for iteration in range(len(self.trained_on)):
                    self.compare_with_training(iteration)
                self.run.ledger.verify()
                drive.close(self.run)

    return Arrivals


def test_whatever_comes_in_whatever_order(
    asked_run: Any, drive: Any, tries: Any, tried: Any, survived: Any
) -> None:
    number, steps = tries(12, 50, 500), tries(12, 30, 50)

    class Closing(drive):  # type: ignore[misc]
        @staticmethod
        def close(run: Run) -> None:
            close_run(run.reference)
            survived(12)

    def make() -> tuple[Run, Puppet]:
        tried(12)
        made: tuple[Run, Puppet] = asked_run(
            lambda: pool(classes=3, n=400),
            learner={"name": "sklearn", "options": {"estimator": "LogisticRegression"}},
        )
        return made

    run_state_machine_as_test(
        machine(make, Closing),
        settings=settings(
            max_examples=number,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_label_of_a_silent_source_joins_the_next_iteration(
    asked_run: Any, drive: Any, tried: Any, survived: Any
) -> None:
    tried(12)
    run, puppet = asked_run(
        lambda: pool(classes=2, n=100), strategies={"label_timeout_seconds": 0.2}
    )
    awake = threading.Event()

    def slowly(request: LabelRequest) -> Iterator[Label]:
        first, *others = request.indices.tolist()
        yield Label(first, 1)
        awake.wait(60)
        for sample in reversed(others):
            yield Label(sample, sample % 2)

    puppet.answers = slowly
    drive.iterate(run, 0)
    late = puppet.asked[0][1:]
    assert {r.sample for r in run.ledger.requests()} == set(late)
    assert all(r.state is RequestState.IN_DOUBT for r in run.ledger.requests())
    awake.set()
    (line,) = run.label_source.late
    line.said.put(line.said.get(timeout=60))
    puppet.answers = lambda request: iter([Label(s, 0) for s in request.indices.tolist()])
    runs.PHASES[Phase.TRAIN](run, 1)
    assert not set(late) & set(run.labeled(1).indices.tolist())
    drive.iterate(run, 1)
    assert set(late) <= set(run.labeled(2).indices.tolist())
    assert not set(late) & {s for asked in puppet.asked[1:] for s in asked}
    assert run.ledger.requests() == []
    survived(12)
