"""A label source as a run sees it: what it says of itself, and its answers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from querist.errors import InDoubtError
from querist.ledger import Source
from querist.protocols import LabelStrategy
from querist.requests import LabelRequest
from querist.storage.plain import digest_of

_END = object()

_Ask = Callable[[LabelRequest], Iterable[Any]]

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
            InDoubtError: it was silent for longer, and what it says later is in `late`; or it asked
                for the end of the process.
            Exception: whatever the source raises.
        """
        yield from self._answers(self.strategy.label, request, seconds)

    def recalled(self, request: LabelRequest, seconds: float | None) -> Iterator[Any]:
        """What the source says that it has sold; as `answers`, but that nothing is bought."""
        yield from self._answers(self.recall, request, seconds)

    def _answers(self, ask: _Ask, request: LabelRequest, seconds: float | None) -> Iterator[Any]:
        if seconds is None:
            try:
                yield from ask(request)
            except SystemExit as error:
                raise _gone(error) from error
            return
        said: Late = queue.SimpleQueue()
        threading.Thread(
            target=_listen, args=(ask, request, said), name="label-source", daemon=True
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
                if isinstance(answer.error, Exception):
                    raise answer.error
                raise _gone(answer.error) from answer.error
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
    error: BaseException


def _gone(error: BaseException) -> InDoubtError:
    """A source that ends the process would end the run as if all were well."""
    return InDoubtError(
        f"the label source raised {type(error).__name__}: whether it was bought is not known"
    )


def _listen(ask: _Ask, request: LabelRequest, said: Late) -> None:
    try:
        for answer in ask(request):
            said.put(answer)
    except BaseException as error:  # a thread would end without a word, and be waited for
        said.put(_Raised(error))
    else:
        said.put(_END)
