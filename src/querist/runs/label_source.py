"""A label source as a run sees it: what it says of itself, and its answers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from querist.errors import InDoubtError
from querist.ledger import Source
from querist.protocols import LabelStrategy
from querist.requests import LabelRequest
from querist.storage.plain import digest_of

_END = object()

Late = queue.SimpleQueue[Any]
"""Answers of a source that was given up on: they may still come."""


@dataclass(frozen=True)
class LabelSource:
    """A label strategy, and what it says of itself.

    Attributes:
        strategy: the strategy.
        identity: its name and version, as the ledger knows it.
        by_key: whether it may be asked again with the same key and bills it once.
        recall: its method that answers for keys without buying; None where it has none.
        at_once: how many samples are handed over per call; None = all.
        late: sources that fell silent, with what they say afterwards.
    """

    strategy: LabelStrategy
    identity: Source
    by_key: bool
    recall: Any
    at_once: int | None
    late: list[Late] = field(default_factory=list)

    @classmethod
    def of(cls, strategy: LabelStrategy, name: str, options: Any) -> LabelSource:
        """What `strategy`, built from a component of the configuration, says of itself."""
        version = digest_of([options, str(getattr(strategy, "version", ""))])[:16]
        recall = getattr(strategy, "recall", None)
        return cls(
            strategy=strategy,
            identity=Source(name, version),
            by_key=bool(getattr(strategy, "asks_by_key", False)),
            recall=recall if callable(recall) else None,
            at_once=getattr(strategy, "at_once", None),
        )

    def answers(self, request: LabelRequest, seconds: float | None) -> Iterator[Any]:
        """What the source answers.

        Args:
            request: the samples.
            seconds: how long it may be silent; None = for ever.

        Raises:
            InDoubtError: it was silent for longer; what it says later is in `late`.
            Exception: whatever the source raises.
        """
        if seconds is None:
            yield from self.strategy.label(request)
            return
        said: Late = queue.SimpleQueue()
        threading.Thread(
            target=_listen, args=(self.strategy, request, said), name="label-source", daemon=True
        ).start()
        while True:
            try:
                answer = said.get(timeout=seconds)
            except queue.Empty:
                self.late.append(said)
                raise InDoubtError(
                    f"the label source was silent for {seconds:g} s: whether it was bought is not "
                    "known"
                ) from None
            if answer is _END:
                return
            if isinstance(answer, _Raised):
                raise answer.error
            yield answer

    def late_answers(self) -> Iterator[Any]:
        """What sources that were given up on have said since."""
        for said in list(self.late):
            while not said.empty():
                answer = said.get()
                if answer is _END or isinstance(answer, _Raised):
                    self.late.remove(said)
                    break
                yield answer


@dataclass(frozen=True)
class _Raised:
    error: Exception


def _listen(strategy: LabelStrategy, request: LabelRequest, said: Late) -> None:
    try:
        for answer in strategy.label(request):
            said.put(answer)
    except Exception as error:
        said.put(_Raised(error))
    else:
        said.put(_END)
