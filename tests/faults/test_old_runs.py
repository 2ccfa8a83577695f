"""Row 26: a run folder that an older version left in the middle of a label phase."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from sqlalchemy import event

from querist.config.load import load_experiment
from querist.errors import RunError
from querist.ledger import OPEN, Ledger
from querist.ledger.tables import SCHEMA_VERSION
from querist.runs import Run, RunReference, close_run, open_run
from querist.runs.open import LEDGER_FILE
from querist.runs.status import read_status
from querist.training.weights import WEIGHTS
from tests.shared import runs

new_run, experiment = runs.new_run, runs.experiment
drive = runs.drive

FIXTURES = Path(__file__).parents[1] / "fixtures" / "runs"
RELEASES = sorted(folder.name for folder in FIXTURES.iterdir())
"""One folder for each released version."""
LABELED_IN_ITERATION_1 = 2
"""Of five labels, before its process was killed."""


@pytest.fixture(params=RELEASES)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunReference]:
    """A run of an older version, as it was found."""
    root = tmp_path / "old"
    shutil.copytree(FIXTURES / request.param, root)
    reference = RunReference(run_id="stopped", root=root)
    yield reference
    close_run(reference)


def old_rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{folder / LEDGER_FILE}?mode=ro", uri=True) as ledger:
        return ledger.execute(query).fetchall()


def content(run: Run) -> dict[str, Any]:
    """What does not depend on the version that began the run."""
    ledger = run.ledger
    iterations = range(ledger.next_iteration())
    return {
        "labels": ledger.label_rows(),
        "selected": [ledger.selected(i).tolist() for i in iterations],
        "metrology": ledger.metrology(),
        "committed": [(row.iteration, row.labels) for row in ledger.commit_rows()],
        "spent": ledger.labels_spent(),
    }


def weights(run: Run) -> dict[str, torch.Tensor]:
    """Those that it ended with."""
    files, _ = run.checkpoints.load(run.ledger.next_iteration() - 1)
    return load(files[WEIGHTS])


def test_an_old_run_goes_on_and_ends_as_a_new_one(
    old: RunReference, new_run: Any, drive: Any, caplog: Any, tried: Any, survived: Any
) -> None:
    tried(26)
    labels = old_rows(old.folder, "SELECT sample, value, cost, iteration FROM labels")
    keys = old_rows(old.folder, "SELECT sample, key FROM requests ORDER BY key")
    with caplog.at_level(logging.INFO):
        run = open_run(old)
    assert "was brought up from version 1" in caplog.text
    assert run.ledger.db.fence == 1
    assert old_rows(old.folder, "SELECT sample, value, cost, iteration FROM labels") == labels
    assert old_rows(old.folder, "SELECT sample, key FROM requests ORDER BY key") == keys
    assert "schema" not in run.ledger.facts()
    unanswered = run.ledger.requests()
    assert len(unanswered) == 5 - LABELED_IN_ITERATION_1
    # It was not written down then whether they were asked for: no machine asks by itself.
    assert not any(request.state in OPEN for request in unanswered)
    drive.finish(run)
    again = drive.reopened(run)
    found, ended = content(again), weights(again)
    experiment = again.experiment.model_dump(mode="json")
    whole = new_run("new", **{key: experiment[key] for key in experiment if key != "driver"})
    drive.finish(whole)
    assert found == content(whole)
    new = weights(whole)
    assert ended.keys() == new.keys()
    # Its first iterations were trained by that version: the optimizer's steps of today, one kernel
    # for all weights, round otherwise.
    assert all(torch.allclose(ended[k], new[k], rtol=1e-4, atol=1e-6) for k in new)
    survived(26)


def test_a_label_that_an_old_run_has_is_not_bought_again(old: RunReference, drive: Any) -> None:
    run = open_run(old)
    stored = {row[0] for row in run.ledger.label_rows()}
    asked: list[int] = []
    assert run.label_source is not None
    real = run.label_source.strategy.label

    def label(request: Any) -> Any:
        asked.extend(request.indices.tolist())
        return real(request)

    run.label_source.strategy.label = label  # type: ignore[method-assign]
    drive.finish(run)
    assert len(asked) == len(set(asked))
    assert not stored & set(asked)


def test_the_status_of_an_old_run_says_what_to_do(old: RunReference) -> None:
    with pytest.raises(RunError, match="`querist resume stopped` brings it up to date"):
        read_status(old)
    assert "runs" not in dict(old_rows(old.folder, "SELECT name, type FROM sqlite_master"))


def migrate_and_die(folder: Path, statements: int) -> None:
    """Be killed after so many statements of the migration."""
    ledger = Ledger(folder / LEDGER_FILE, folder.name)
    left = statements

    @event.listens_for(ledger.db.engine, "after_cursor_execute")
    def _count(*args: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    ledger.open()


def test_a_kill_in_the_migration_changes_nothing(
    old: RunReference, own_process: Any, tries: Any, tried: Any, survived: Any
) -> None:
    def dump() -> list[tuple[Any, ...]]:
        rows = old_rows(old.folder, "SELECT type, name, sql FROM sqlite_master")
        return rows + [
            row
            for kind, name, _ in rows
            if kind == "table"
            for row in old_rows(old.folder, f"SELECT '{name}', * FROM {name}")
        ]

    before = dump()
    for statements in itertools.count(1, tries(26, 30, 3)):
        process = own_process.Process(target=migrate_and_die, args=(old.folder, statements))
        process.start()
        process.join(60)
        if process.exitcode == 0:
            assert statements > 60
            break
        tried(26)
        assert process.exitcode == -signal.SIGKILL, statements
        assert dump() == before
        survived(26)
    run = open_run(old)
    assert run.ledger.next_iteration() == 1
    assert len(run.ledger.label_rows()) == 15 + LABELED_IN_ITERATION_1


def test_a_run_of_a_newer_version_is_refused(old: RunReference, tried: Any, survived: Any) -> None:
    tried(26)
    open_run(old)
    close_run(old)
    with sqlite3.connect(old.folder / LEDGER_FILE) as ledger:
        ledger.execute("UPDATE alembic_version SET version_num = '0099'")
    words = f"has ledger schema 0099, this Querist reads {SCHEMA_VERSION}: use the version of Quer"
    for look in (open_run, read_status):
        with pytest.raises(RunError, match=words):
            look(old)
    survived(26)


def test_every_fixture_is_as_it_was_released() -> None:
    for release in RELEASES:
        folder = FIXTURES / release / "stopped"
        assert load_experiment(folder / "experiment.yaml").name == "old moons"
        assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) < 200_000
        assert not (folder / f"{LEDGER_FILE}-wal").exists()
