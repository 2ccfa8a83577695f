"""The hand-over between query and label.

Every request is in the ledger before it is handed over. `ledger` reads it from there; `memory`
hands it over inside the process, and after a crash is filled again from the ledger. Another queue
can hand requests to label workers elsewhere.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Protocol

from querist.ledger import Ledger, OpenRequest
from querist.registry import register


class RequestQueue(Protocol):
    """Requests on their way from the query phase to the label phase.

    `get` hands out what is not acknowledged; an item that was got and never acknowledged comes
    again from a new queue on the same run, if the queue is durable.
    """

    @property
    def durable(self) -> bool:
        """Whether the requests survive the process."""
        ...

    def put(self, requests: Sequence[OpenRequest]) -> None:
        """Hand over requests whose selection is in the ledger."""
        ...

    def empty(self) -> bool:
        """Whether nothing waits."""
        ...

    def get(self) -> OpenRequest:
        """The oldest request that was not got yet."""
        ...

    def acknowledge(self, request: OpenRequest) -> None:
        """Its label is durable."""
        ...


@register("queue", "ledger")
class LedgerQueue:
    """Requests in the run's ledger: durable, and answered by their labels."""

    durable = True

    def __init__(self) -> None:
        self._ledger: Ledger | None = None
        self._waiting: list[OpenRequest] | None = None

    def bind(self, ledger: Ledger) -> None:
        """Read from this run's ledger."""
        self._ledger, self._waiting = ledger, None

    def put(self, requests: Sequence[OpenRequest]) -> None:
        """Nothing to do but to look again: the selection's transaction wrote the requests."""
        self._waiting = None

    def _items(self) -> list[OpenRequest]:
        if self._ledger is None:
            raise RuntimeError("a ledger queue works inside a run")
        if self._waiting is None:
            self._waiting = self._ledger.open_requests()
        return self._waiting

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._items()

    def get(self) -> OpenRequest:
        """The oldest request that was not got yet."""
        return self._items().pop(0)

    def acknowledge(self, request: OpenRequest) -> None:
        """Nothing to do: the label itself closes the request."""


@register("queue", "memory")
class MemoryQueue:
    """Requests in this process only; what the ledger says of them is the truth."""

    durable = False

    def __init__(self) -> None:
        self._queue: queue.Queue[OpenRequest] = queue.Queue()

    def put(self, requests: Sequence[OpenRequest]) -> None:
        """Hand over requests."""
        for request in requests:
            self._queue.put(request)

    def empty(self) -> bool:
        """Whether nothing waits."""
        return self._queue.empty()

    def get(self) -> OpenRequest:
        """The oldest request that was not got yet."""
        return self._queue.get_nowait()

    def acknowledge(self, request: OpenRequest) -> None:
        """Tell the queue that the item is done with."""
        self._queue.task_done()
