"""Row 1 with the ledger in a PostgreSQL database that runs share."""

from __future__ import annotations

import hashlib
import json
import signal
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from querist.errors import RunError
from querist.ledger import Ledger
from querist.runs import RunReference, open_run
from querist.runs.open import LEDGER_VARIABLE
from querist.runs.status import read_status
from querist.values import Label, Phase
from tests.shared import postgres as database
from tests.shared import runs
from tests.shared.killed import ITERATIONS, LABELS, Lab

postgres, postgres_url = database.postgres, database.postgres_url
new_run, experiment, drive, component = (
    runs.new_run, runs.experiment, runs.drive, runs.component
)  # fmt: skip

KILLS = (
    "create.recorded",
    "folder.renamed:2",
    "query.transaction:2",
    "label.bought:14",
    "label.transaction:20",
    "commit.transaction:3",
    "conclude.summed",
)


@dataclass(frozen=True)
class Content:
    """What a ledger says of a run, wherever it is, and the files beside it."""

    labels: Any
    selected: Any
    metrology: Any
    verdicts: Any
    commits: Any
    facts: dict[str, str]
    checkpoints: dict[str, str]


def content(run: Path, where: Path | str) -> Content:
    ledger = Ledger(where, run.name)
    try:
        ledger.verify()
        rows = ledger.commit_rows()
        files = sorted(f for f in (run / "checkpoints").rglob("*") if f.is_file())
        return Content(
            labels=ledger.label_rows(),
            selected=[ledger.selected(i).tolist() for i in range(len(rows))],
            metrology=ledger.metrology(),
            verdicts=ledger.verdicts(),
            commits=[(r.iteration, r.labels, r.checkpoint, json.loads(r.digests)) for r in rows],
            facts=ledger.facts(),
            checkpoints={
                str(f.relative_to(run)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files
            },
        )
    finally:
        ledger.close()


@pytest.fixture(scope="module")
def on_sqlite(own_process: Any, tmp_path_factory: pytest.TempPathFactory) -> Content:
    """How the run ends when its ledger is a file, and nothing happens to it."""
    lab = Lab(tmp_path_factory.mktemp("sqlite"), own_process)
    assert lab() == 0
    return content(lab.run, lab.run / "ledger.db")


def password_of(url: str) -> str:
    return url.partition("://")[2].partition("@")[0].partition(":")[2]


def files_with(words: str, folder: Path) -> list[Path]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return [file for file in files if words.encode() in file.read_bytes()]


@dataclass(frozen=True)
class SharedLab(Lab):
    """A lab whose runs have their ledgers in a database.

    Attributes:
        url: the database.
    """

    url: str

    def __call__(self, crash: str = "", die_after: float | None = None) -> int:
        """Do what is left of the run in a process of its own; returns its exit code."""
        self.write()
        process: Any = self.context.Process(
            target=import_module("interrupted").work,
            args=(str(self.folder / "experiment.yaml"), "run", crash),
            kwargs={
                "asked": str(self.folder / "asked"),
                "die_after": die_after,
                "variables": {LEDGER_VARIABLE: self.url},
            },
        )
        process.start()
        process.join(120)
        assert process.exitcode is not None, "it hangs"
        return int(process.exitcode)


@pytest.fixture
def lab(
    own_process: Any, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> SharedLab:
    monkeypatch.setenv(LEDGER_VARIABLE, postgres_url)
    return SharedLab(tmp_path, own_process, postgres_url)


@pytest.mark.parametrize("kill", KILLS)
def test_a_run_with_a_shared_ledger_is_killed(
    kill: str, lab: SharedLab, on_sqlite: Content, tried: Any, survived: Any
) -> None:
    tried(1)
    assert lab(kill) == -signal.SIGKILL
    assert lab() == 0
    assert not (lab.run / "ledger.db").exists()
    assert content(lab.run, lab.url) == on_sqlite
    assert len(lab.asked) == len(set(lab.asked)) == ITERATIONS * LABELS
    assert files_with(password_of(lab.url), lab.folder) == []
    survived(1)


def test_status_and_what_to_set(lab: SharedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lab("label.stored:14") == -signal.SIGKILL
    reference = RunReference(run_id="run", root=lab.run.parent)
    status = read_status(reference)
    assert (status.state, status.iterations, status.labels_bought) == ("stopped", 1, 14)
    assert password_of(lab.url) not in repr(status)
    monkeypatch.delenv(LEDGER_VARIABLE)
    for ask in (read_status, open_run):
        with pytest.raises(RunError, match=f"set {LEDGER_VARIABLE} to the database"):
            ask(reference)


def test_a_database_that_is_away_is_said_without_its_password(
    lab: SharedLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lab("query.recorded") == -signal.SIGKILL
    monkeypatch.setenv(LEDGER_VARIABLE, lab.url + "_gone")
    reference = RunReference(run_id="run", root=lab.run.parent)
    for ask in (read_status, open_run):
        with pytest.raises(RunError) as error:
            ask(reference)
        assert password_of(lab.url) not in str(error.value)
        assert "\n" not in str(error.value)


def test_runs_over_the_same_data_share_their_labels(
    new_run: Any, drive: Any, component: Any, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LEDGER_VARIABLE, postgres_url)
    billed: list[str] = []

    class Shop:
        asks_by_key = True

        def label(self, request: Any) -> Any:
            truth = request.pool.targets(request.indices).tolist()
            for index, key, value in zip(
                request.indices.tolist(), request.keys, truth, strict=True
            ):
                billed.append(key)
                yield Label(index, value)

    source = {"label": {"name": component("label", Shop)}}
    first, second = (new_run(name, strategies=source) for name in ("first", "second"))
    drive.finish(first)
    once = list(billed)
    drive.finish(second)
    assert billed == once, "the second run has bought what the first had"
    assert first.ledger.labels_spent()[1] == len(billed)
    assert second.ledger.labels_spent() == (len(billed), 0.0)
    assert first.ledger.label_rows() == second.ledger.label_rows()
    assert [row.checkpoint for row in first.ledger.commit_rows()] == [
        row.checkpoint for row in second.ledger.commit_rows()
    ]


def test_a_label_that_another_run_is_buying_is_waited_for(
    new_run: Any, drive: Any, component: Any, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LEDGER_VARIABLE, postgres_url)
    later = {"open": False}
    billed: list[str] = []

    class Slow:
        """It takes orders, and answers when it is open."""

        asks_by_key = True

        def label(self, request: Any) -> Any:
            billed.extend(set(request.keys) - set(billed))
            truth = request.pool.targets(request.indices).tolist()
            for index, value in zip(request.indices.tolist(), truth, strict=True):
                if later["open"]:
                    yield Label(index, value)

    source = {"label": {"name": component("label", Slow)}}
    first, second = (new_run(name, strategies=source) for name in ("first", "second"))
    drive.iterate(first, 0)
    for phase in (Phase.TRAIN, Phase.METROLOGY, Phase.QUERY):
        runs.PHASES[phase](second, 0)
    later["open"] = True
    assert runs.PHASES[Phase.LABEL](second, 0) == 0, "they are the first one's to buy"
    assert len(second.ledger.open_requests()) == 5
    drive.iterate(first, 1)
    drive.iterate(second, 0)
    drive.iterate(second, 1)
    wanted = set(second.ledger.selected(0).tolist())
    assert wanted <= {sample for sample, _, _ in second.ledger.label_rows()}
    assert len(billed) == first.ledger.labels_spent()[1] + second.ledger.labels_spent()[1]
