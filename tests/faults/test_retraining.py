"""Rows 1 and 2 for registered models: SIGKILL anywhere changes nothing about what they become."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from querist.faults import POINTS
from querist.runs.open import LEDGER_VARIABLE
from tests.shared import postgres as servers
from tests.shared.lineages import End, Shelf

from .test_kills import OF_MODELS

postgres, postgres_url = servers.postgres, servers.postgres_url

PASSES = {
    "train.step": (20,),
    "train.epoch": (3, 12),
    "train.fitted": (1, 3),
    "file.beside": (1, 2, 7, 19),
    "folder.half": (1, 14, 27),
    "folder.beside": (3, 5),
    "folder.renamed": (3, 9),
    "lineage.ledger": (1,),
    **dict.fromkeys([p for p in POINTS if p.startswith("promote.")], (1, 2, 3)),
    **{p: (2, 3) for p in POINTS if p.partition(".")[0] in ("pull", "split", "version", "compare")},
}
"""At which passes of a point to die: the first version is the first champion, the second takes its
place, the third is discarded."""
KILLS = [f"{point}:{count}" for point, counts in PASSES.items() for count in counts]
ON_POSTGRES = (
    "lineage.ledger:1", "split.transaction:2", "promote.transaction:2", "compare.recorded:3",
)  # fmt: skip


@pytest.fixture
def shelves(own_process: Any, tmp_path: Path) -> Callable[[str], Shelf]:
    def make(name: str) -> Shelf:
        (tmp_path / name).mkdir()
        return Shelf(tmp_path / name, own_process)

    return make


@pytest.fixture(scope="module")
def undisturbed(own_process: Any, tmp_path_factory: pytest.TempPathFactory) -> End:
    """What becomes of the model when nothing happens."""
    shelf = Shelf(tmp_path_factory.mktemp("undisturbed"), own_process)
    assert shelf() == 0
    end = shelf.end()
    assert [event["event"] for event, _ in end.history] == ["promoted", "promoted", "discarded"]
    return end


@pytest.mark.parametrize("kill", KILLS)
def test_a_kill_at_a_named_point(
    kill: str, shelves: Any, undisturbed: End, tried: Any, survived: Any
) -> None:
    tried(1)
    shelf = shelves("killed")
    assert shelf(kill) == -signal.SIGKILL
    assert shelf() == 0
    assert shelf.end() == undisturbed
    assert shelf() == 0, "nothing is done twice"
    assert shelf.end() == undisturbed
    survived(1)


@pytest.mark.parametrize("kill", ON_POSTGRES)
def test_a_kill_with_the_ledger_on_a_server(
    kill: str, shelves: Any, undisturbed: End, postgres_url: str, tried: Any, survived: Any
) -> None:
    tried(1)
    shelf = shelves("killed")
    variables = {LEDGER_VARIABLE: postgres_url}
    assert shelf(kill, variables=variables) == -signal.SIGKILL
    assert shelf(variables=variables) == 0
    assert shelf.end(postgres_url) == undisturbed
    survived(1)


def test_every_point_of_a_model_is_on_the_list() -> None:
    wanted = {point for point in POINTS if point.partition(".")[0] in OF_MODELS}
    assert {kill.partition(":")[0] for kill in KILLS} >= wanted


def test_the_recovery_is_killed_three_times(
    shelves: Any, undisturbed: End, tries: Any, tried: Any, survived: Any
) -> None:
    chance = random.Random(20261125)
    for number in range(tries(2, 5, 20)):
        tried(2)
        shelf = shelves(str(number))
        for _ in range(4):
            assert shelf(chance.choice(KILLS)) in (0, -signal.SIGKILL)
        assert shelf() == 0
        assert shelf.end() == undisturbed
        survived(2)


def test_a_kill_at_any_time(
    shelves: Any, undisturbed: End, tries: Any, tried: Any, survived: Any
) -> None:
    chance = random.Random(20261126)
    for number in range(tries(1, 5, 60)):
        tried(1)
        shelf = shelves(str(number))
        assert shelf(die_after=chance.uniform(0.02, 3.0)) in (0, -signal.SIGKILL)
        assert shelf() == 0
        assert shelf.end() == undisturbed
        survived(1)
