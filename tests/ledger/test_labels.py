"""Labels: durable at once, none overwritten, none twice; revisions; quarantine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.ledger import Ledger, Recorded, RequestState, Source
from querist.ledger.labels import Quarantined, Revision
from querist.values import Label, Phase

from .conftest import ORACLE, Place, answer, keys, select, start

Opened = Callable[[Place], Ledger]


def test_a_label_is_kept_once(ledger: Ledger) -> None:
    assert answer(ledger, 4) is Recorded.NEW
    assert answer(ledger, 4, iteration=3) is Recorded.KNOWN
    assert ledger.label_rows() == [(4, "", 1)]
    assert ledger.label_rows(before_iteration=1) == [(4, "", 1)]
    assert ledger.labels_spent() == (1, 1.0)


def test_the_same_number_is_the_same_label(ledger: Ledger) -> None:
    assert answer(ledger, 4, 1) is Recorded.NEW
    assert answer(ledger, 4, 1.0) is Recorded.KNOWN
    assert answer(ledger, 5, [1, 2.0]) is Recorded.NEW
    assert answer(ledger, 5, [1.0, 2]) is Recorded.KNOWN


def test_a_contradiction_is_kept_for_review_and_the_first_stays(ledger: Ledger) -> None:
    assert answer(ledger, 4, 1) is Recorded.NEW
    assert answer(ledger, 4, 0) is Recorded.REVISION
    assert answer(ledger, 4, 0) is Recorded.KNOWN
    assert answer(ledger, 4, 1) is Recorded.KNOWN
    assert ledger.label_rows() == [(4, "", 1)]
    assert ledger.revisions_for_review() == [Revision(4, ORACLE, "", 1, 0)]
    assert ledger.labels_spent() == (1, 2.0)  # it was billed


def test_what_was_spent_through_each_iteration(ledger: Ledger) -> None:
    assert ledger.labels_spent_by_iteration() == {}
    for sample in range(10):
        ledger.record_label(Label(sample, 1, cost=0.1), source=ORACLE, iteration=0)
    ledger.record_label(Label(0, 0, cost=0.5), source=ORACLE, iteration=2)  # a revision
    ledger.record_label(Label(20, 0, cost=0.25), source=ORACLE, iteration=2)
    assert sum([0.1] * 10) < 1, "in floats"
    assert ledger.labels_spent_by_iteration() == {0: (10, 1.0), 2: (11, 1.75)}
    assert ledger.labels_spent(through=2) == (11, pytest.approx(1.75))


def test_a_decision_is_in_use_from_the_next_training_on(ledger: Ledger) -> None:
    select(ledger, 0, [4])
    answer(ledger, 4, 1)
    for value in (0, 2):
        answer(ledger, 4, value)
    ledger.record_phase(0, Phase.LABEL, 1.0, {})
    ledger.commit_iteration(0, 1, {}, None)
    (first, second) = ledger.revisions_for_review()
    assert (first.value, second.value) == (0, 2)
    ledger.decide_revision(second, 2)
    assert ledger.revisions_for_review() == []
    assert ledger.label_rows() == [(4, "", 2)]
    assert ledger.label_rows(before_iteration=1) == [(4, "", 1)]  # what iteration 1 trained on
    assert ledger.label_rows(before_iteration=2) == [(4, "", 2)]
    assert ledger.labels_spent() == (1, 3.0)
    assert answer(ledger, 4, 0, iteration=1) is Recorded.KNOWN
    assert answer(ledger, 4, 3, iteration=1) is Recorded.REVISION
    assert ledger.revisions_for_review() == [Revision(4, ORACLE, "", 2, 3)]
    ledger.verify()


def test_when_a_late_label_is_there(ledger: Ledger) -> None:
    assert ledger.arrival_iteration() == 0
    ledger.record_phase(0, Phase.TRAIN, 1.0, {})
    assert ledger.arrival_iteration() == 0
    ledger.record_phase(0, Phase.LABEL, 1.0, {})
    assert ledger.arrival_iteration() == 1  # what iteration 0 is committed with does not change
    ledger.commit_iteration(0, 0, {}, None)
    assert ledger.arrival_iteration() == 1


def test_one_label_per_annotator_and_source(ledger: Ledger) -> None:
    for annotator, value in (("ben", 1), ("ann", 0)):
        assert answer(ledger, 4, value, annotator=annotator, cost=2.5) is Recorded.NEW
    for source in (Source("oracle", "2"), Source("crowd", "1")):
        label = Label(4, 1, "ann", 0.5)
        assert ledger.record_label(label, source=source, iteration=0) is Recorded.NEW
    assert ledger.label_rows() == [(4, "ann", 1), (4, "ann", 0), (4, "ann", 1), (4, "ben", 1)]
    assert ledger.labels_spent() == (4, 6.0)
    assert ledger.revisions_for_review() == []


def test_order_of_labels(ledger: Ledger) -> None:
    start(ledger, [9, 1])
    select(ledger, 0, [7, 3])
    select(ledger, 1, [2, 8])
    for sample, iteration in ((8, 1), (3, 1), (2, 1), (7, 0)):  # 3 was pending for an iteration
        answer(ledger, sample, iteration=iteration)
    assert [row[0] for row in ledger.label_rows()] == [9, 1, 7, 3, 2, 8]
    assert [row[0] for row in ledger.label_rows(before_iteration=1)] == [9, 1, 7]
    assert [row[0] for row in ledger.label_rows(before_iteration=0)] == [9, 1]
    assert ledger.labels_spent() == (4, 4.0)


def test_the_order_is_the_same_whatever_the_database_thinks_of_letters(
    postgres: Any, tmp_path: Path
) -> None:
    url = postgres.new_database("TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
    found = []
    for where in (url, tmp_path / "ledger.db"):
        ledger = Ledger(where, "run")
        ledger.create()
        for annotator in ("b", "a", "B", "A", "ä", "_", "Z"):
            answer(ledger, 1, annotator=annotator)
        found.append([annotator for _, annotator, _ in ledger.label_rows()])
        ledger.close()
    assert found[0] == found[1] == ["A", "B", "Z", "_", "a", "b", "ä"]
    postgres.drop_database(url)


@pytest.mark.parametrize("value", [3, 0.1, 1e-300, [0.1, 2.0], -5.5, 2**60])
def test_label_values_come_back_exactly(ledger: Ledger, value: Any) -> None:
    answer(ledger, 0, value, annotator="Zoë 🌙 'x\"")
    assert ledger.label_rows() == [(0, "Zoë 🌙 'x\"", value)]


# Two runs of a shared database -------------------------------------------------------------------


@pytest.fixture
def two(postgres_url: str, opened: Opened) -> tuple[Ledger, Ledger]:
    """Two runs that want labels of the same samples from the same source."""
    pair = opened(Place(postgres_url, "a")), opened(Place(postgres_url, "b"))
    for ledger in pair:
        ledger.create()
    return pair


def test_a_label_that_another_run_has_bought_costs_nothing(two: tuple[Ledger, Ledger]) -> None:
    first, second = two
    shared = keys([4, 5, 6])
    select(first, 0, [4, 5, 6], keys=shared)
    select(second, 0, [40, 50, 7], keys=[shared[0], shared[1], "its own"])  # other numbers
    assert first.record_asked(shared, by_key=False) == frozenset(shared)
    for annotator, value in (("ann", 1), ("ben", 0)):
        label = Label(4, value, annotator, 2.0)
        first.record_label(label, source=ORACLE, iteration=0, key=shared[0])
    assert second.record_asked([*shared[:2], "its own"], by_key=False) == {"its own"}
    copied = second.copy_labels(shared[:2], iteration=0, accept=bool)
    assert copied == [Label(40, 1, "ann", 0.0), Label(40, 0, "ben", 0.0)]
    assert second.label_rows() == [(40, "ann", 1), (40, "ben", 0)]
    assert second.labels_spent() == (2, 0.0)
    assert first.labels_spent() == (2, 4.0)
    assert [r.sample for r in second.requests()] == [50, 7]
    assert second.copy_labels(shared[1:2], iteration=1, accept=bool) == []
    assert first.copy_labels(shared, iteration=1, accept=bool) == []


def test_what_is_taken_over_is_what_is_in_use(two: tuple[Ledger, Ledger]) -> None:
    first, second = two
    shared = keys([4])
    for ledger in two:
        select(ledger, 0, [4], keys=shared)
    first.record_asked(shared, by_key=False)
    first.record_label(Label(4, 1), source=ORACLE, iteration=0, key=shared[0])
    first.record_label(Label(4, 0), source=ORACLE, iteration=0)
    first.decide_revision(first.revisions_for_review()[0], 0)
    second.copy_labels(shared, iteration=0, accept=bool)
    assert second.label_rows() == [(4, "", 0)]


def test_labels_that_come_one_after_the_other_are_taken_over_as_they_come(tmp_path: Path) -> None:
    """Asked for both again when only the first had come, it did not know the first one any more."""
    pair = [Ledger(tmp_path / "ledger.db", run, shared=True) for run in "ab"]
    shared = keys([4, 5])
    for ledger in pair:
        ledger.create()
        select(ledger, 0, [4, 5], keys=shared)
    first, second = pair
    first.record_asked(shared, by_key=False)
    for sample in (4, 5):
        label = Label(sample, 1)
        first.record_label(label, source=ORACLE, iteration=0, key=shared[sample - 4])
        copied = second.copy_labels(shared, iteration=0, accept=bool)
        assert copied == [Label(sample, 1, "", 0.0)]
    for ledger in pair:
        ledger.close()


def test_a_file_of_its_own_has_nothing_to_take_over(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.create()
    select(ledger, 0, [4])
    assert ledger.copy_labels(keys([4], ledger.db.run_id), iteration=0, accept=bool) == []
    ledger.close()


# Quarantine --------------------------------------------------------------------------------------


class Rude:
    """An answer that breaks whoever looks at it."""

    annotator = "\ud800\0"

    @property
    def index(self) -> int:
        raise RuntimeError("do not look")

    @property
    def value(self) -> Any:
        class Shy:
            def __repr__(self) -> str:
                raise RecursionError

        return Shy()


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (Label(4, float("nan"), "ann"), Quarantined("4", "nan", "'ann'", "why")),
        (Label("4", "yes"), Quarantined("'4'", "'yes'", "''", "why")),  # type: ignore[arg-type]
        (None, Quarantined("None", "None", "''", "why")),
        (Label(2**80, "a\0b", "\ud800"), Quarantined(str(2**80), r"'a\x00b'", r"'\ud800'", "why")),
        (Rude(), Quarantined("None", "a Shy that cannot be shown", r"'\ud800\x00'", "why")),
    ],
)
def test_an_answer_that_is_no_label_is_kept_as_text(
    place: Place, ledger: Ledger, said: Any, kept: Quarantined
) -> None:
    select(ledger, 0, [4])
    key = keys([4], place.run_id)[0]
    ledger.record_quarantine(said, "why", source=ORACLE, iteration=0, key=key)
    assert ledger.quarantined() == [kept]
    (request,) = ledger.requests()
    assert (request.state, request.reason) == (RequestState.QUARANTINED, "why")
    assert ledger.label_rows() == []


def test_a_huge_answer_is_cut(ledger: Ledger) -> None:
    for reason in ("r" * 5000, "\ud800\0"):
        ledger.record_quarantine(
            Label(4, "x" * 10**6), reason, source=ORACLE, iteration=0, key=None
        )
    long, strange = ledger.quarantined()
    assert len(long.value) == len(long.reason) == 1000
    assert strange.reason == r"\ud800\0"


@pytest.mark.parametrize(
    ("cost", "stored"),
    [(2, 2.0), (0.5, 0.5), (10**400, 0.0), (float("nan"), 0.0), (-1, 0.0), ("much", 0.0)],
)
def test_what_a_refused_answer_cost(place: Place, ledger: Ledger, cost: Any, stored: float) -> None:
    ledger.record_quarantine(Label(4, "?", "", cost), "why", source=ORACLE, iteration=0, key=None)
    query = f"SELECT cost FROM quarantine WHERE run = {ledger.db.run}"
    assert place.raw(query) == [(stored,)]


# Whatever comes ----------------------------------------------------------------------------------


def record(where: Path | str, run_id: str, told: Connection) -> None:
    """Record labels, and say of each that it is stored."""
    ledger = Ledger(where, run_id)
    ledger.create()
    for sample in range(10_000):
        answer(ledger, sample, sample % 2)
        told.send(sample)


def test_labels_survive_a_kill(place: Place, opened: Opened, own_process: Any) -> None:
    ours, theirs = own_process.Pipe()
    process = own_process.Process(target=record, args=(place.where, place.run_id, theirs))
    process.start()
    theirs.close()
    acknowledged = [ours.recv() for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    while ours.poll():
        try:
            acknowledged.append(ours.recv())
        except EOFError:
            break
    found = [sample for sample, _, _ in opened(place).label_rows()]
    assert set(acknowledged) <= set(found)
    assert len(found) == len(set(found)) <= len(acknowledged) + 1


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 2), st.sampled_from(["", "ann", "ben"])),
        max_size=15,
    )
)
def test_whatever_comes_the_first_label_of_each_annotator_stands(
    tmp_path_factory: pytest.TempPathFactory, answers: list[tuple[int, int, str]]
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "ledger.db")
    ledger.create()
    first: dict[tuple[int, str], int] = {}
    others: set[tuple[int, str, int]] = set()
    for sample, value, annotator in answers:
        used = first.setdefault((sample, annotator), value)
        answer(ledger, sample, value, annotator=annotator)
        if value != used:
            others.add((sample, annotator, value))
    assert {(s, a): v for s, a, v in ledger.label_rows()} == first
    assert ledger.labels_spent()[0] == len(first)
    waiting = ledger.revisions_for_review()
    assert {(r.sample, r.annotator, r.value) for r in waiting} == others
    assert len(waiting) == len(others)
    ledger.close()
