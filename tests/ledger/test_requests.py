"""Selections, requests and their states, claims, and the budget."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from querist.errors import BudgetError
from querist.ledger import OPEN, UNSETTLED, Ledger, OpenRequest, RequestState, requests
from querist.values import Phase

from .conftest import Place, answer, keys, select, start

Opened = Callable[[Place], Ledger]


def state_of(ledger: Ledger, sample: int) -> tuple[RequestState, str]:
    (found,) = [r for r in ledger.requests() if r.sample == sample]
    return found.state, found.reason


def test_selection_and_requests(place: Place, ledger: Ledger) -> None:
    select(ledger, 0, [5, 3, 8])
    select(ledger, 1, [1])
    assert ledger.selected().tolist() == [5, 3, 8, 1]
    assert ledger.selected(0).tolist() == [5, 3, 8]
    assert ledger.done_phases(0) == {Phase.QUERY}
    answer(ledger, 3)
    five, eight, one = keys([5, 8, 1], place.run_id)
    assert (
        ledger.open_requests()
        == ledger.requests()
        == [OpenRequest(5, 0, 0, five), OpenRequest(8, 0, 2, eight), OpenRequest(1, 1, 0, one)]
    )


@pytest.mark.parametrize("sample", [-1, 9, 2**31, 2**63, -(2**64)])
def test_what_was_never_selected(ledger: Ledger, sample: int) -> None:
    select(ledger, 0, [5])
    assert ledger.was_selected(5)
    assert not ledger.was_selected(sample)


def test_selection_without_requests(ledger: Ledger) -> None:
    select(ledger, 0, [5, 3], keys=None)
    assert ledger.open_requests() == []
    assert ledger.selected().tolist() == [5, 3]


def test_an_empty_selection_still_ends_the_phase(ledger: Ledger) -> None:
    select(ledger, 0, [])
    assert ledger.done_phases(0) == {Phase.QUERY}
    assert ledger.selected(0).tolist() == []


def test_a_selection_is_recorded_once(ledger: Ledger) -> None:
    select(ledger, 0, [5, 3])
    select(ledger, 0, [5, 3])
    select(ledger, 0, [7])  # a phase that is done is done
    assert ledger.selected().tolist() == [5, 3]
    assert [r.sample for r in ledger.requests()] == [5, 3]


def test_fewer_keys_than_samples(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="shorter"):
        select(ledger, 0, [5, 3], keys=["one"])
    assert ledger.selected().tolist() == []


# States ------------------------------------------------------------------------------------------


def test_open_unsettled_and_lost_are_all_there_is() -> None:
    assert not OPEN & UNSETTLED
    assert set(RequestState) - OPEN - UNSETTLED == {RequestState.LOST}


def test_nobody_was_asked(ledger: Ledger) -> None:
    select(ledger, 0, [5])
    assert state_of(ledger, 5) == (RequestState.WANTED, "")


@pytest.mark.parametrize(
    ("by_key", "state"), [(True, RequestState.ASKED_BY_KEY), (False, RequestState.ASKED)]
)
def test_that_a_source_is_asked_is_written_down(
    place: Place, ledger: Ledger, by_key: bool, state: RequestState
) -> None:
    select(ledger, 0, [5, 3])
    key = keys([5], place.run_id)
    assert ledger.record_asked(key, by_key=by_key) == frozenset(key)
    assert ledger.record_asked(key, by_key=by_key) == frozenset(key)  # still ours
    assert state_of(ledger, 5) == (state, "")
    assert state_of(ledger, 3) == (RequestState.WANTED, "")
    assert [r.sample for r in ledger.open_requests()] == ([5, 3] if by_key else [3])


@pytest.mark.parametrize("state", RequestState)
def test_the_newest_state_counts(
    place: Place, ledger: Ledger, opened: Opened, state: RequestState
) -> None:
    select(ledger, 0, [5, 3])
    key = keys([5], place.run_id)
    for before in RequestState:
        ledger.record_state(key, before, f"was {before}")
    ledger.record_state(key, state, "a reason\0\ud800" + "x" * 2000)
    found, reason = state_of(opened(place), 5)
    assert found is state
    assert reason.startswith("a reason\\0\\ud800x")
    assert len(reason) <= 1000
    assert (5 in [r.sample for r in ledger.open_requests()]) == (state in OPEN)
    assert state_of(ledger, 3) == (RequestState.WANTED, "")
    answer(ledger, 5)  # a label closes the request, whatever its state
    assert [r.sample for r in ledger.requests()] == [3]


def test_no_state_of_nothing(place: Place, ledger: Ledger) -> None:
    before = place.raw("SELECT count(*) FROM request_events")
    ledger.record_state([], RequestState.FAILED, "x")
    assert ledger.record_asked([], by_key=True) == frozenset()
    assert place.raw("SELECT count(*) FROM request_events") == before


def test_a_statement_names_a_part_of_many_keys(
    place: Place, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert requests._AT_ONCE < 32_766, "SQLite's limit"
    monkeypatch.setattr(requests, "_AT_ONCE", 7)
    wanted = keys(range(20), place.run_id)
    assert ledger.record_asked(wanted, by_key=True) == frozenset(wanted)


# Claims ------------------------------------------------------------------------------------------


def test_a_key_is_claimed_by_one_run(own_place: Place, own_ledger: Ledger, opened: Opened) -> None:
    other = opened(Place(own_place.where, "other"))
    other.create()
    shared = keys([1, 2, 3])
    select(own_ledger, 0, [1, 2, 3], keys=shared)
    select(other, 0, [3, 2, 9], keys=[shared[2], shared[1], "key of its own"])
    assert own_ledger.record_asked(shared[:2], by_key=False) == frozenset(shared[:2])
    assert other.record_asked([shared[2], shared[1]], by_key=False) == {shared[2]}
    assert own_ledger.record_asked(shared, by_key=False) == frozenset(shared[:2])
    assert state_of(other, 2) == (RequestState.WANTED, "")  # it did not ask
    assert own_place.raw("SELECT key, run FROM claims ORDER BY key") == [
        (shared[0], own_ledger.db.run),
        (shared[1], own_ledger.db.run),
        (shared[2], other.db.run),
    ]


def test_a_key_is_free_again_when_its_run_was_told_that_nothing_was_bought(
    own_place: Place, own_ledger: Ledger, opened: Opened
) -> None:
    other = opened(Place(own_place.where, "other"))
    other.create()
    (key,) = keys([1])
    select(own_ledger, 0, [1], keys=[key])
    select(other, 0, [1], keys=[key])
    own_ledger.record_asked([key], by_key=False)
    for kept in (RequestState.PENDING, RequestState.IN_DOUBT, RequestState.LOST):
        own_ledger.record_state([key], kept)
        assert other.record_asked([key], by_key=False) == frozenset()
    own_ledger.record_state([key], RequestState.FAILED)
    assert other.record_asked([key], by_key=False) == {key}
    assert own_ledger.record_asked([key], by_key=False) == frozenset(), "it is the other's now"


def claim(where: Path | str, run_id: str, together: Any, results: Connection) -> None:
    """Claim what others claim at the same time, each in an order of its own."""
    ledger = Ledger(where, run_id)
    ledger.create()
    order = random.Random(run_id)
    claimed: list[str] = []
    together.wait()
    for part in range(20):
        wanted = [f"{part}-{i}" for i in range(50)]
        order.shuffle(wanted)
        claimed += ledger.record_asked(wanted, by_key=False)
    results.send(claimed)


def test_processes_that_claim_together_claim_each_key_once(
    own_place: Place, own_process: Any
) -> None:
    together = own_process.Barrier(3)
    pipes = [own_process.Pipe() for _ in range(3)]
    for number, (_, theirs) in enumerate(pipes):
        arguments = (own_place.where, f"run{number}", together, theirs)
        own_process.Process(target=claim, args=arguments).start()
    claimed = [key for ours, _ in pipes for key in ours.recv()]
    assert len(claimed) == len(set(claimed)) == 20 * 50


# The budget --------------------------------------------------------------------------------------


def test_the_budget_counts_what_was_asked_for(place: Place, ledger: Ledger) -> None:
    start(ledger, [1, 2])
    select(ledger, 0, [5, 6], budget=5)
    ledger.record_state(keys([5], place.run_id), RequestState.LOST, "paid for, and lost")
    with pytest.raises(
        BudgetError,
        match="a label budget of 5 covers 1 more labels, not 2: 4 are there, asked for or in doubt",
    ):
        select(ledger, 1, [7, 8], budget=5)
    assert ledger.selected(1).tolist() == []
    assert ledger.done_phases(1) == set()
    assert len(ledger.requests()) == 2
    select(ledger, 1, [7], budget=5)
    assert ledger.labels_committed_to() == 5
    select(ledger, 2, [], budget=5)
    select(ledger, 3, [9], keys=None, budget=5)  # nobody is asked
    select(ledger, 1, [7, 8], budget=5)  # done before: nothing to check


def test_threads_do_not_overspend(ledger: Ledger) -> None:
    start(ledger, [1])
    refused = []

    def ask(iteration: int) -> None:
        try:
            select(ledger, iteration, [10 * iteration + i for i in range(3)], budget=10)
        except BudgetError:
            refused.append(iteration)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    assert ledger.labels_committed_to() == 10
