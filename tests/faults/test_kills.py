"""Rows 1 and 2: SIGKILL anywhere, and of the recovery, changes nothing about how a run ends."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from querist.faults import POINTS
from tests.shared.killed import ITERATIONS, LABELS, Lab, Outcome, outcome

PASSES = {
    "train.step": (3, 30),
    "train.epoch": (2, 9),
    "file.beside": (1, 3, 5),
    "folder.half": (1, 3, 5),
    "folder.beside": (1, 2, 3),
    "folder.renamed": (1, 2, 3),
    "label.claimed": (1, 3),
    "label.bought": (1, 14, 30),
    "label.transaction": (1, 14, 30),
    "label.stored": (1, 20, 30),
    **dict.fromkeys(("create.ledger", "create.recorded"), (1,)),
    **dict.fromkeys(("conclude.tracked", "conclude.summed"), (1,)),
}
"""At which passes of a point to die; by default in the first and in the last iteration."""

OF_MODELS = ("lineage", "pull", "split", "version", "compare", "promote")
"""What a registered model passes, and no run: see test_retraining.py."""

KILLS = [
    f"{point}:{count}"
    for point in POINTS
    if point.partition(".")[0] not in OF_MODELS
    for count in PASSES.get(point, (1, 3))
]


def never_billed_twice(lab: Lab) -> bool:
    return len(lab.asked) == len(set(lab.asked)) == ITERATIONS * LABELS


@pytest.mark.parametrize("kill", KILLS)
def test_a_kill_at_a_named_point(
    kill: str, lab: Lab, uninterrupted: Outcome, tried: Any, survived: Any
) -> None:
    tried(1)
    assert lab(kill) == -signal.SIGKILL
    assert lab() == 0
    assert outcome(lab.run) == uninterrupted
    assert never_billed_twice(lab)
    survived(1)


def test_every_point_is_on_the_list() -> None:
    killed = {kill.partition(":")[0] for kill in KILLS}
    assert killed == {point for point in POINTS if point.partition(".")[0] not in OF_MODELS}


@pytest.fixture(scope="module")
def duration(own_process: Any, tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds that a run takes here and now."""
    started = time.monotonic()
    assert Lab(tmp_path_factory.mktemp("timed"), own_process)() == 0
    return time.monotonic() - started


@pytest.fixture
def labs(own_process: Any, tmp_path: Path) -> Callable[[int], Iterator[Lab]]:
    def make(number: int) -> Iterator[Lab]:
        for i in range(number):
            folder = tmp_path / str(i)
            folder.mkdir()
            yield Lab(folder, own_process)

    return make


def test_a_kill_at_any_time(
    labs: Any, duration: float, uninterrupted: Outcome, tries: Any, tried: Any, survived: Any
) -> None:
    chance = random.Random(20261123)
    for lab in labs(tries(1, 8, 300 - len(KILLS))):
        tried(1)
        assert lab(die_after=chance.uniform(0.02, duration)) in (0, -signal.SIGKILL)
        assert lab() == 0
        assert outcome(lab.run) == uninterrupted
        assert never_billed_twice(lab)
        survived(1)


def test_the_recovery_is_killed_three_times(
    labs: Any, uninterrupted: Outcome, tries: Any, tried: Any, survived: Any
) -> None:
    chance = random.Random(7)
    for lab in labs(tries(2, 20, 20)):
        tried(2)
        for _ in range(4):
            assert lab(chance.choice(KILLS)) in (0, -signal.SIGKILL)
        assert lab() == 0
        assert outcome(lab.run) == uninterrupted
        assert never_billed_twice(lab)
        survived(2)
