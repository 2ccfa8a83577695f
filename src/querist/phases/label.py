"""The label phase: labels are asked for, and each is durable before the next one is drawn.

That a source is asked is written down before it is asked. So after a crash it is known which labels
may have been bought and not stored: a source that can is asked for them by key, and for others they
are in doubt until a person settles them. No machine asks again by itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

import torch

from querist.errors import (
    ConfigurationError,
    DataError,
    InDoubtError,
    LabelError,
    RunError,
    StrategyError,
)
from querist.faults import crash_point
from querist.ledger import OPEN, OpenRequest, Recorded, RequestState
from querist.requests import LabelRequest
from querist.runs.answers import refusal
from querist.runs.run import Run
from querist.values import Label, Phase

STRAY = "the source gave an answer that belongs to no request: it may be this one's"
MAX_WAIT_SECONDS = 60.0
FIRST_LOOK_SECONDS = 0.02
LOOK_SECONDS = 0.5
"""How often another run's labels are looked for."""
BROKEN = (ConfigurationError, DataError, RunError, StrategyError)
"""What no further attempt mends."""
DOUBTFUL = (RequestState.ASKED, RequestState.IN_DOUBT)
_log = logging.getLogger(__name__)


def label(run: Run, iteration: int) -> int:
    """Ask for the labels of everything that was selected and has none; returns how many came."""
    if Phase.LABEL in run.ledger.done_phases(iteration):
        return 0
    started = time.time()
    run.log.write(iteration, Phase.LABEL, "start")
    run.tell(iteration, Phase.LABEL, labels=len(run.labeled(iteration)))
    labeling = _Labeling(run, iteration)
    try:
        labeling.go()
    finally:
        labeling.put_back()
    run.ledger.record_phase(
        iteration, Phase.LABEL, started, {"labels": labeling.came, "pending": labeling.left}
    )
    crash_point("label.recorded")
    seconds = time.time() - started
    run.log.write(
        iteration, Phase.LABEL, "end", seconds, labels=labeling.came, pending=labeling.left
    )
    if labeling.left:
        _log.info("iteration %d: %d labels are pending", iteration, labeling.left)
    return labeling.came


class _Labeling:
    """One label phase.

    A label that is pending from an iteration with another source is asked of that source again:
    its key says so.

    Attributes:
        source: whose turn it is.
        came: labels that are new.
        left: requests that are still open or in doubt.
    """

    def __init__(self, run: Run, iteration: int) -> None:
        self.run = run
        self.iteration = iteration
        self.settings = run.settings(iteration).strategies
        self.came = 0
        self.refused: list[str] = []
        self.error: Exception | None = None
        self._strays = 0
        self._requests = {request.sample: request for request in run.ledger.requests()}
        self._key_of = {sample: request.key for sample, request in self._requests.items()}
        self._waiting: dict[int, OpenRequest] = {}
        asked = [r for r in self._requests.values() if r.state in (*OPEN, *DOUBTFUL)]
        self._sources = run.label_sources(sorted({iteration, *(r.iteration for r in asked)}))
        self.source = run.label_source_of(iteration)

    @property
    def left(self) -> int:
        """Requests that have no label and no refused answer."""
        return len(self._waiting)

    def go(self) -> None:
        """Ask, and ask again those that failed, as often as the experiment says.

        Raises:
            Exception: what the source raised, when nothing came at all.
        """
        self._take_over_the_queue()
        for source in self._sources:
            self.source = source
            self._ask_source()
        self._say_what_is_wrong()

    def _ask_source(self) -> None:
        """Hear and ask the source whose turn it is."""
        for answer in self.source.late_answers(self.settings.label_timeout_seconds):
            self._take(answer)
        self._collect_doubtful()
        for attempt in range(self.settings.label_attempts):
            ours = [r for r in self._waiting.values() if self._is_ours(r)]
            asking = [r for r in ours if self._may_ask(r, first=attempt == 0)]
            if not asking:
                break
            if attempt:
                wait = self.settings.label_backoff_seconds * 2 ** (attempt - 1)
                time.sleep(min(wait, MAX_WAIT_SECONDS))
            size = self.source.at_once or len(asking)
            for start in range(0, len(asking), size):
                self._ask(asking[start : start + size])

    def put_back(self) -> None:
        """What has no label yet is for the next iteration, after an error as in any other case."""
        self.run.queue.put(list(self._waiting.values()))

    def _is_ours(self, request: OpenRequest) -> bool:
        """Whether a request is for the source whose turn it is."""
        return self.run.label_source_of(request.iteration) is self.source

    def _take_over_the_queue(self) -> None:
        while not self.run.queue.empty():
            request = self.run.queue.get()
            known = self._requests.get(request.sample)
            if known is not None and known.state in OPEN:
                self._waiting[request.sample] = known

    def _collect_doubtful(self) -> None:
        """Take what an earlier process has left in the open."""
        doubtful = [
            request
            for request in self._requests.values()
            if request.state in DOUBTFUL
            and self._is_ours(request)
            and request.key not in self.source.busy_with()
        ]
        if not doubtful:
            return
        if self.source.recall is not None:
            self._recall(doubtful)
        elif self.source.by_key:
            self._waiting |= {request.sample: request for request in doubtful}
        else:
            self._leave_in_doubt(
                [request for request in doubtful if request.state is RequestState.ASKED],
                "the process that asked ended before an answer was stored",
            )

    def _recall(self, doubtful: list[OpenRequest]) -> None:
        """Let the source say by key what it has sold; it was never asked for the rest."""
        answers = self.source.recalled(
            self._question(doubtful), self.settings.label_timeout_seconds
        )
        self._strays = 0
        try:
            for answer in answers:
                self._take(answer)
        except BROKEN:
            raise
        except Exception as error:
            # What it did not come to say stays in doubt, and is asked for by the next iteration.
            self.error = error
            _log.warning(
                "iteration %d: the label source cannot say what it has sold, %s",
                self.iteration, _words(error),
            )  # fmt: skip
            return
        unknown = [r for r in doubtful if r.sample in self._requests]
        if self._strays:
            self._leave_in_doubt(unknown, STRAY)
            return
        reason = "the source knows nothing of this key"
        self._set_state(unknown, RequestState.WANTED, reason)
        self._waiting |= {request.sample: self._requests[request.sample] for request in unknown}

    def _may_ask(self, request: OpenRequest, *, first: bool) -> bool:
        state = self._requests[request.sample].state
        if first:
            return True
        return state is RequestState.FAILED or (
            state is RequestState.IN_DOUBT and self.source.by_key
        )

    def _ask(self, asked: list[OpenRequest]) -> None:
        """One call of the source."""
        ours = self._claim(asked)
        mine = [request for request in asked if request.key in ours]
        self._ask_for(mine)
        theirs = [request for request in asked if request.key not in ours]
        if theirs and self._wait_for(theirs):
            keys = [request.key for request in theirs]
            free = self.run.ledger.record_asked(keys, by_key=True, anew=True)
            self._ask_for([r for r in theirs if r.key in free and r.sample in self._waiting])

    def _ask_for(self, mine: list[OpenRequest]) -> None:
        """Ask for what this run has claimed."""
        if not mine:
            return
        crash_point("label.claimed")
        self._strays = 0
        answers = self.source.answers(self._question(mine), self.settings.label_timeout_seconds)
        try:
            while True:
                try:
                    answer = next(answers)
                except StopIteration:
                    break
                except BROKEN as error:
                    self._broke(mine, error)
                    raise
                except InDoubtError as error:
                    self._failed(mine, RequestState.IN_DOUBT, error)
                    return
                except Exception as error:
                    self._failed(mine, RequestState.FAILED, error)
                    return
                self._take(answer)
        finally:
            close = getattr(answers, "close", None)
            if close is not None:
                close()
        if self._strays and not self.source.by_key:
            self._leave_in_doubt(self._unanswered(mine), STRAY)
        else:
            self._still(mine, RequestState.PENDING, "the source will answer later")

    def _claim(self, asked: list[OpenRequest]) -> frozenset[str]:
        """Write down that the source is asked, and for which keys this run may ask it.

        Nobody needs to know it of a source that may be asked again, in a ledger of the run's own:
        the requests are there.
        """
        keys = [request.key for request in asked]
        if self.source.by_key and not self.run.ledger.db.shared:
            return frozenset(keys)
        return self.run.ledger.record_asked(keys, by_key=self.source.by_key)

    def _broke(self, asked: list[OpenRequest], error: Exception) -> None:
        """A source that does not do what it should may have bought all the same."""
        if self.source.by_key:
            self._still(asked, RequestState.FAILED, _words(error))
        else:
            self._leave_in_doubt(self._unanswered(asked), _words(error))

    def _failed(self, asked: list[OpenRequest], state: RequestState, error: Exception) -> None:
        self.error = error
        words = _words(error)
        if state is RequestState.IN_DOUBT and not self.source.by_key:
            self._leave_in_doubt(self._unanswered(asked), words)
            return
        _log.warning("iteration %d: the label source failed, %s", self.iteration, words)
        self._still(asked, state, words)

    def _unanswered(self, asked: Iterable[OpenRequest]) -> list[OpenRequest]:
        return [request for request in asked if request.sample in self._waiting]

    def _still(self, asked: Iterable[OpenRequest], state: RequestState, reason: str) -> None:
        """Write down how it stands with those of `asked` that have no answer."""
        self._set_state(self._unanswered(asked), state, reason)

    def _set_state(self, requests: list[OpenRequest], state: RequestState, reason: str) -> None:
        self.run.ledger.record_state([request.key for request in requests], state, reason)
        for request in requests:
            changed = OpenRequest(
                request.sample, request.iteration, request.position, request.key, state, reason
            )
            self._requests[request.sample] = changed
            if request.sample in self._waiting:
                self._waiting[request.sample] = changed

    def _leave_in_doubt(self, requests: list[OpenRequest], reason: str) -> None:
        if not requests:
            return
        self._set_state(requests, RequestState.IN_DOUBT, reason)
        for request in requests:
            self._waiting.pop(request.sample, None)
        _log.warning(
            "%d labels are in doubt, %s: `querist labels settle %s` says what became of them",
            len(requests), reason, self.run.reference.run_id,
        )  # fmt: skip

    def _wait_for(self, theirs: list[OpenRequest]) -> bool:
        """Wait while another run of a shared ledger buys these.

        Returns whether they may be asked for all the same: that run seems to be gone, and the
        source bills a key once.
        """
        until = time.monotonic() + self.settings.label_sharing_seconds
        pause = FIRST_LOOK_SECONDS
        waiting = theirs
        while True:
            self._take_over(waiting)
            waiting = self._unanswered(waiting)
            asked = self.run.ledger.being_asked([request.key for request in waiting])
            if not asked:
                break
            if time.monotonic() >= until:
                return self.source.by_key
            time.sleep(pause)
            pause = min(2 * pause, LOOK_SECONDS)
        if waiting:
            _log.info("%d labels are for another run to get", len(waiting))
        return False

    def _take_over(self, theirs: list[OpenRequest]) -> None:
        """What another run of a shared ledger has bought of these is ours as well."""
        copies = self.run.ledger.copy_labels(
            [request.key for request in theirs],
            iteration=self.iteration,
            accept=lambda label: refusal(self.run, label) is None,
        )
        for copy in copies:
            self.run.data.learned(copy)
            self._answered(copy.index)
        self.came += len(copies)

    def _question(self, requests: list[OpenRequest]) -> LabelRequest:
        return LabelRequest(
            iteration=self.iteration,
            indices=torch.tensor([r.sample for r in requests], dtype=torch.int64),
            keys=tuple(r.key for r in requests),
            pool=self.run.data.pool,
        )

    def _take(self, answer: object) -> None:
        """Make an answer durable: as a label, or in quarantine."""
        run, source = self.run, self.source.identity
        reason = refusal(run, answer)
        if reason is not None:
            request = self._asked_for(answer)
            key = None if request is None else request.key
            run.ledger.record_quarantine(
                answer, reason, source=source, iteration=self.iteration, key=key
            )
            self.refused.append(reason)
            _log.info("an answer is in quarantine: %s", reason)
            if request is None:
                self._strays += 1
            else:
                self._answered(request.sample)
            return
        assert isinstance(answer, Label)
        crash_point("label.bought")
        key = self._key_of.get(answer.index)
        recorded = run.ledger.record_label(answer, source=source, iteration=self.iteration, key=key)
        crash_point("label.stored")
        if recorded is Recorded.NEW:
            run.data.learned(answer)
            self.came += 1
        elif recorded is Recorded.REVISION:
            _log.warning(
                "%s now says %s of sample %d, which is labeled: kept for review",
                source.name, answer.value, answer.index,
            )  # fmt: skip
        self._answered(answer.index)

    def _asked_for(self, answer: object) -> OpenRequest | None:
        """The request that a refused answer belongs to, if that can be told."""
        try:
            index = answer.index  # type: ignore[attr-defined]
        except Exception:  # an object of the source's that raises when it is looked at
            return None
        return self._requests.get(index) if type(index) is int else None

    def _answered(self, sample: int) -> None:
        self._requests.pop(sample, None)
        request = self._waiting.pop(sample, None)
        if request is not None:  # another annotator may have answered before
            self.run.queue.acknowledge(request)

    def _say_what_is_wrong(self) -> None:
        """A source that gives nothing but errors is no source."""
        if self.run.ledger.labels_that_came(self.iteration):
            if self.refused:
                _log.warning(
                    "iteration %d: %d answers are in quarantine, the first one because %s",
                    self.iteration, len(self.refused), self.refused[0],
                )  # fmt: skip
            return
        if self.error is not None:
            raise self.error
        if self.refused:
            raise LabelError(
                f"not one answer was a label, {len(self.refused)} are in quarantine: "
                f"{self.refused[0]}; correct the label source, say `querist labels settle "
                f"{self.run.reference.run_id} --all --not-bought`, then resume"
            )


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
