"""A label source as a run sees it: what it says of itself, and its answers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from querist.errors import InDoubtError, StrategyError
from querist.ledger import Source
from querist.protocols import LabelStrategy
from querist.requests import LabelRequest
from querist.storage.plain import digest_of

_END = object()

_Ask = Callable[[LabelRequest], Iterable[Any]]


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
    late: list[_Line] = field(default_factory=list)

    @classmethod
    def of(cls, strategy: LabelStrategy, name: str, options: Any) -> LabelSource:
        """What `strategy`, built from a component of the configuration, says of itself."""
        version = digest_of([options, str(getattr(strategy, "version", ""))])[:16]
        recall = getattr(strategy, "recall", None)
        at_once = getattr(strategy, "at_once", None)
        if at_once is not None and (type(at_once) is not int or at_once < 1):
            raise StrategyError(
                f"label {name!r} has at_once {at_once!r}: it is None or a whole number from 1"
            )
        return cls(
            strategy=strategy,
            identity=Source(name, version),
            by_key=bool(getattr(strategy, "asks_by_key", False)),
            recall=recall if callable(recall) else None,
            at_once=at_once,
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
        line = _Line(frozenset(request.keys), buys=ask is not self.recall)
        threading.Thread(
            target=_listen, args=(ask, request, line), name="label-source", daemon=True
        ).start()
        while True:
            line.wanted.release()
            try:
                answer = line.said.get(timeout=seconds)
            except queue.Empty:
                self.late.append(line)
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

    def late_answers(self, seconds: float | None) -> Iterator[Any]:
        """What sources that were given up on have said since, and what they say if asked on.

        Args:
            seconds: how long one that has spoken may be silent again.
        """
        for line in list(self.late):
            while not line.said.empty():
                answer = line.said.get()
                if answer is _END or isinstance(answer, _Raised):
                    self.late.remove(line)
                    break
                yield answer
                line.wanted.release()
                with suppress(queue.Empty):
                    line.said.put(line.said.get(timeout=seconds))

    def busy_with(self) -> frozenset[str]:
        """Keys that a source which was given up on may still be buying."""
        return frozenset(key for line in self.late if line.buys for key in line.keys)


@dataclass(frozen=True)
class _Line:
    """The line to a source in its thread: it says one thing whenever it is wanted."""

    keys: frozenset[str]
    buys: bool
    said: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    wanted: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


@dataclass(frozen=True)
class _Raised:
    error: BaseException


def _gone(error: BaseException) -> InDoubtError:
    """A source that ends the process would end the run as if all were well."""
    return InDoubtError(
        f"the label source raised {type(error).__name__}: whether it was bought is not known"
    )


def _listen(ask: _Ask, request: LabelRequest, line: _Line) -> None:
    """Draw a label when it is wanted, and not before: the one before it is stored by then."""
    try:
        line.wanted.acquire()
        for answer in ask(request):
            line.said.put(answer)
            line.wanted.acquire()
    except BaseException as error:  # a thread would end without a word, and be waited for
        line.said.put(_Raised(error))
    else:
        line.said.put(_END)
