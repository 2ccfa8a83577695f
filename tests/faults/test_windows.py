"""Row 24: a schedule that fires twice, or during a run, makes one version a window."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from querist.ledger.models import ModelLedger
from tests.shared.lineages import PATIENCE, Shelf, check_history

from ..conftest import REPOSITORY, Cli

Said = tuple[int | None, str]
LEARNED = ("has learned this in this window", "nothing to learn: no new label", "skipped: ")
"""What who comes too late says."""
EVERY = {"when": {"new_labels": 0}}


@pytest.fixture
def shelf(own_process: Any, tmp_path: Path) -> Shelf:
    return Shelf(tmp_path, own_process)


@pytest.fixture
def grow(shelf: Shelf, own_process: Any) -> Callable[[int], None]:
    def to(count: int) -> None:
        import_module("retrained").grow(shelf.folder, count)

    return to


def fire(shelf: Shelf, windows: Sequence[str], crash: str = "", **changes: Any) -> list[Said]:
    """Fire for each of the windows at once; returns what each said."""
    meet = shelf.context.Barrier(len(windows))
    both = []
    for window in windows:
        ours, theirs = shelf.context.Pipe()
        arguments = (str(shelf.folder), window, changes, meet, theirs, crash)
        process: Any = shelf.context.Process(
            target=import_module("retrained").fire, args=arguments
        )
        process.start()
        theirs.close()
        both.append((process, ours))
    said = []
    for process, ours in both:
        process.join(PATIENCE)
        if crash:
            assert process.exitcode == -signal.SIGKILL
        else:
            assert process.exitcode == 0
            said.append(ours.recv())
    return said


def retrained_in(shelf: Shelf) -> dict[str, int]:
    """How many retrainings each window has; each of them has made a version, and ended."""
    with sqlite3.connect(shelf.model / "ledger.db") as ledger:
        windows = ledger.execute("select retraining, window from retrainings").fetchall()
    model = ModelLedger(shelf.model / "ledger.db", shelf.model.name)
    try:
        check_history(model)
        events = [event.version for event in model.promotions()]
        assert events == list(model.versions()) == [number for number, _ in windows]
        assert model.last_finished() == len(windows)
    finally:
        model.close()
    return {w: sum(1 for _, other in windows if other == w) for _, w in windows}


@pytest.mark.parametrize("busy", ["wait", "skip"])
@pytest.mark.parametrize("new_labels", [1, 0])
def test_it_fires_twice(
    busy: str, new_labels: int, shelf: Shelf, grow: Any, tries: Any, tried: Any, survived: Any
) -> None:
    for i in range(tries(24, 3, 10)):
        tried(24)
        grow(60 + 12 * i)
        window = f"window {i}"
        said = fire(shelf, [window, window], busy=busy, when={"new_labels": new_labels})
        made = [version for version, _ in said if version is not None]
        assert made == [i + 1], said
        (words,) = [words for version, words in said if version is None]
        assert any(late in words for late in LEARNED), words
        assert busy == "skip" or "skipped" not in words
        assert retrained_in(shelf) == {f"window {n}": 1 for n in range(i + 1)}
        # and once more, when it is over
        ((version, words),) = fire(shelf, [window], busy=busy, when={"new_labels": new_labels})
        assert version is None
        assert f"retraining {i + 1} has learned this in this window" in words
        survived(24)


def test_it_fires_again_during_a_run(
    shelf: Shelf, grow: Any, tries: Any, tried: Any, survived: Any
) -> None:
    total = 0
    for i in range(tries(24, 2, 10)):
        tried(24, 3)
        # Who waits finds that everything was learned,
        grow(60 + 12 * i)
        said = fire(shelf, [f"{i} first", f"{i} second"])
        total += 1
        assert [version for version, _ in said if version is not None] == [total], said
        assert any(words.startswith("nothing to learn: no new label") for _, words in said), said
        survived(24)
        # or makes the version of its own window,
        said = fire(shelf, [f"{i} third", f"{i} fourth"], **EVERY)
        assert sorted(version or 0 for version, _ in said) == [total + 1, total + 2], said
        total += 2
        survived(24)
        # or does not wait.
        said = fire(shelf, [f"{i} fifth", f"{i} sixth"], busy="skip", **EVERY)
        made = sorted(version for version, _ in said if version is not None)
        assert made in ([total + 1], [total + 1, total + 2]), said
        assert all("skipped: " in words for version, words in said if version is None), said
        total += len(made)
        assert set(retrained_in(shelf).values()) == {1}
        assert sum(retrained_in(shelf).values()) == total
        survived(24)


CRASHES = ("pull.recorded", "train.epoch:3", "version.recorded", "compare.recorded", "promote.told")


@pytest.mark.parametrize("crash", CRASHES)
def test_the_next_slot_goes_on_with_what_was_killed(
    crash: str, shelf: Shelf, grow: Any, tried: Any, survived: Any
) -> None:
    tried(24)
    grow(60)
    assert fire(shelf, ["monday"], crash) == []
    said = fire(shelf, ["tuesday", "tuesday"])
    assert (1, "retraining 1 goes on") in said, said
    assert [version for version, _ in said if version is None] == [None]
    assert retrained_in(shelf) == {"monday": 1}
    survived(24)


@pytest.mark.parametrize("busy", ["wait", "skip"])
def test_two_make_the_model_at_once(
    busy: str, own_process: Any, tmp_path: Path, tries: Any, tried: Any, survived: Any
) -> None:
    for i in range(tries(24, 3, 20)):
        tried(24)
        shelf = Shelf(tmp_path / str(i), own_process)
        import_module("retrained").grow(shelf.folder, 60)
        said = fire(shelf, ["monday", "monday", "monday"], busy=busy)
        assert [v for v, _ in said if v is not None] == [1], said
        assert retrained_in(shelf) == {"monday": 1}
        survived(24)


@pytest.mark.parametrize("busy", ["wait", "skip"])
def test_the_flow_is_started_twice(
    busy: str, shelf: Shelf, cli: Cli, grow: Any, tried: Any, survived: Any
) -> None:
    tried(24)
    grow(60)
    module = import_module("retrained")
    settings = module.settings_of(shelf.folder, busy=busy).model_dump(mode="json")
    file = shelf.folder / "moons.yaml"
    file.write_text(yaml.safe_dump({**settings, "tracking": {"enabled": False}}))
    path = os.pathsep.join(map(str, (REPOSITORY / "src", REPOSITORY)))
    own = {"PYTHONPATH": path, "QUERIST_ALLOWED_PACKAGES": "examples"}
    both = [cli.start("retrain", file, "--window", "monday", "--json", **own) for _ in range(2)]
    said = []
    for process in both:
        out, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
        said.append(json.loads(out))
    said.sort(key=lambda summary: summary["version"] or 0)
    assert said[1]["outcome"] == "promoted"
    assert (said[1]["version"], said[0]["version"]) == (1, None)
    assert any(late in said[0]["reason"] for late in LEARNED) or said[0]["outcome"] == "skipped"
    assert busy == "skip" or said[0]["outcome"] == "nothing new"
    assert retrained_in(shelf) == {"monday": 1}
    survived(24)
