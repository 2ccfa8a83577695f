"""Row 10: label sources that raise, fall silent, answer in part, or end in the middle.

What came is kept; what failed is asked for again, with the same key; nothing is billed twice; and
the run ends with every label, or says which ones are pending or in doubt.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest

from querist.errors import InDoubtError
from querist.ledger import OPEN
from querist.requests import LabelRequest
from querist.runs import Run
from querist.runs.status import read_status
from querist.values import Label
from tests.shared import runs

new_run, experiment, drive, component = (
    runs.new_run, runs.experiment, runs.drive, runs.component
)  # fmt: skip

TIMEOUT = 0.03
ITERATIONS = 4


class Kind(StrEnum):
    """What a source promises."""

    PLAIN = "it bills every question"
    KEYED = "it bills a key once, and answers again"
    RECALLING = "it bills every question, and knows what it has sold"


@dataclass
class Unreliable:
    """A label source that fails as its seed says. It keeps books, as whoever bills does.

    Attributes:
        bills: how often it billed a key.
        keys: under which keys it was asked for a sample.
        given: labels that were taken from its hands.
        doubtful: keys of which it did not say what became of them.
        asked_again: those of them that it was asked for again.
    """

    chance: random.Random
    kind: Kind
    trouble: float = 0.2
    bills: Counter[str] = field(default_factory=Counter)
    keys: dict[int, set[str]] = field(default_factory=dict)
    given: dict[int, int] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    asked_again: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.asks_by_key = self.kind is Kind.KEYED
        self.at_once = self.chance.choice([None, 1, 2])
        self.lock = threading.Lock()
        if self.kind is Kind.RECALLING:
            self.recall = self._recall

    def label(self, request: LabelRequest) -> Iterator[Label]:
        indices = request.indices.tolist()
        ends = self.chance.random() < self.trouble
        stop = self.chance.randrange(len(indices)) if ends else len(indices)
        how = self.chance.choice(["raise", "in doubt", "silent", "part", "exit"])
        with self.lock:
            for index, key in zip(indices, request.keys, strict=True):
                self.keys.setdefault(index, set()).add(key)
                if key in self.doubtful:
                    self.asked_again.add(key)
        truth = request.pool.targets(request.indices).tolist()  # type: ignore[attr-defined]
        for position, (index, key) in enumerate(zip(indices, request.keys, strict=True)):
            if position == stop:
                if how == "part":
                    return
                # Whoever may say afterwards what was sold may fail after the sale as well.
                if self.kind is Kind.KEYED or how != "raise":
                    self._bill(key)
                with self.lock:
                    if how != "raise":
                        self.doubtful |= set(request.keys[position:])
                if how == "raise":
                    raise ConnectionError("the labeling tool is away")
                if how == "in doubt":
                    raise InDoubtError("the line broke after the order")
                if how == "exit":
                    raise SystemExit(0)
                time.sleep(2 * TIMEOUT)
            else:
                self._bill(key)
            yield Label(index, truth[position])
            self.given[index] = truth[position]

    def _recall(self, request: LabelRequest) -> Iterator[Label]:
        if self.chance.random() < self.trouble:
            raise ConnectionError("the labeling tool is away")
        truth = request.pool.targets(request.indices).tolist()  # type: ignore[attr-defined]
        for index, key, value in zip(request.indices.tolist(), request.keys, truth, strict=True):
            if self.bills[key]:
                yield Label(index, value)
            else:
                self.doubtful.discard(key)

    def _bill(self, key: str) -> None:
        with self.lock:
            if not (self.kind is Kind.KEYED and self.bills[key]):
                self.bills[key] += 1


def _to_the_end(run: Run, drive: Any, chance: random.Random) -> Run:
    """All iterations; what stops the run is followed by a resume, in this process or another."""
    for _ in range(20):
        try:
            drive.finish(run)
        except (ConnectionError, InDoubtError):
            if chance.random() < 0.5:
                run = drive.reopened(run)
        else:
            return run
    raise AssertionError("it never ends")


@pytest.mark.parametrize("kind", list(Kind))
def test_an_unreliable_source(
    kind: Kind, new_run: Any, drive: Any, component: Any, tries: Any, tried: Any, survived: Any
) -> None:
    for seed in range(tries(10, 34, 34)):
        tried(10)
        chance = random.Random(f"{kind} {seed}")
        source = Unreliable(chance, kind)
        strategies = {
            "label": {"name": component("label", lambda made=source: made)},
            "label_timeout_seconds": TIMEOUT,
            "query": {"name": "random", "n": 5},
        }
        steps = {"max_active_learning_steps": ITERATIONS}
        run = _to_the_end(new_run(strategies=strategies, driver=steps), drive, chance)
        check(run, source)
        survived(10)


def check(run: Run, source: Unreliable) -> None:
    ledger = run.ledger
    labeled = {sample: value for sample, _, value in ledger.label_rows()}
    for sample, value in source.given.items():
        # What a thread hands over after it was given up on may come too late for the last phase.
        if sample not in labeled:
            assert run.label_source is not None
            assert any(not said.empty() for said in run.label_source.late)
        else:
            assert labeled[sample] == value
    assert all(len(keys) == 1 for keys in source.keys.values()), "another key for the same label"
    assert max(source.bills.values()) == 1, "billed twice"
    if source.kind is Kind.PLAIN:
        assert not source.asked_again, "a machine has asked again for what is in doubt"
    wanted = set(ledger.selected().tolist())
    left = ledger.requests()
    assert wanted == (set(labeled) & wanted) | {request.sample for request in left}
    status = read_status(run.reference)
    pending = sum(request.state in OPEN for request in left)
    assert (status.pending_requests, len(status.in_doubt)) == (pending, len(left) - pending)
    assert all(status.in_doubt.values()), "without a reason"
    assert status.labels_bought == len(set(labeled) & wanted)
