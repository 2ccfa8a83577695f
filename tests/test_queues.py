from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from querist.ledger import Ledger, OpenRequest, Source
from querist.queues import LedgerQueue, MemoryQueue
from querist.values import Label


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    made = Ledger(tmp_path / "ledger.db")
    made.create()
    yield made
    made.close()


def ask(ledger: Ledger, samples: list[int], iteration: int = 0) -> list[OpenRequest]:
    chosen = [(s, 0.5, "margin") for s in samples]
    keys = [f"key{s}" for s in samples]
    ledger.record_selection(iteration, chosen, keys=keys, made={}, started=0.0)
    return [
        OpenRequest(s, iteration, i, k) for i, (s, k) in enumerate(zip(samples, keys, strict=True))
    ]


def bound(ledger: Ledger) -> LedgerQueue:
    queue = LedgerQueue()
    queue.bind(ledger)
    return queue


def drained(queue: Any) -> list[OpenRequest]:
    found = []
    while not queue.empty():
        found.append(queue.get())
    return found


def test_ledger_queue_hands_out_what_is_open_in_order(ledger: Ledger) -> None:
    first = ask(ledger, [5, 3])
    second = ask(ledger, [9], iteration=1)
    queue = bound(ledger)
    queue.put(second)
    assert drained(queue) == [*first, *second]
    assert queue.empty()


def test_ledger_queue_brings_unanswered_requests_again(ledger: Ledger) -> None:
    requests = ask(ledger, [5, 3, 1])
    queue = bound(ledger)
    got = drained(queue)
    ledger.record_label(Label(3, 1), source=Source("oracle"), iteration=0)
    queue.acknowledge(got[1])
    assert queue.empty()
    assert drained(bound(ledger)) == [requests[0], requests[2]]
    queue.put([])  # the same queue looks again
    assert drained(queue) == [requests[0], requests[2]]


def test_ledger_queue_outside_a_run() -> None:
    with pytest.raises(RuntimeError, match="inside a run"):
        LedgerQueue().empty()


def test_memory_queue_is_first_in_first_out() -> None:
    queue = MemoryQueue()
    requests = [OpenRequest(s, 0, i, str(s)) for i, s in enumerate([4, 2, 8])]
    assert queue.empty()
    queue.put(requests)
    assert not queue.durable
    got = drained(queue)
    assert got == requests
    for request in got:
        queue.acknowledge(request)
    assert queue.empty()
