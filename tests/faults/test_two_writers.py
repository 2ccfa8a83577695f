"""Row 16: one run, two processes: one goes on; who was taken over writes nothing."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from querist import phases
from querist.errors import RunLockedError
from querist.ledger import Ledger, Source
from querist.runs import RunReference, close_run, open_run
from querist.runs.model import save_checkpoint
from querist.runs.open import LEDGER_VARIABLE, take_over
from querist.values import Label, Phase, Verdict
from tests.shared import postgres as servers
from tests.shared import runs

new_run, experiment, drive = runs.new_run, runs.experiment, runs.drive
postgres, url = servers.postgres, servers.url

AT_MOST = 5.0
"""Seconds until the second process has ended."""
PATIENCE = 60.0


def configure(url: str) -> None:
    """A process of the fork server has the environment that the server was started with."""
    os.environ.pop(LEDGER_VARIABLE, None)
    if url:
        os.environ[LEDGER_VARIABLE] = url


def compete(reference: RunReference, url: str, start: Any, end: Any, told: Connection) -> None:
    """Open the run at the same time as another process; who gets it holds it for a while."""
    configure(url)
    start.wait(PATIENCE)
    began = time.monotonic()
    try:
        run = open_run(reference)
    except RunLockedError as error:
        told.send((time.monotonic() - began, str(error)))
        return
    told.send(None)
    end.wait(PATIENCE)
    run.ledger.set_fact("goes on", str(os.getpid()))
    close_run(reference)


def test_one_goes_on_and_the_other_ends(
    url: str, new_run: Any, own_process: Any, tmp_path: Path, tries: Any, tried: Any, survived: Any
) -> None:
    first = new_run("mine").reference
    close_run(first)
    second = first
    if url:  # on another host, where the file's lock is not seen
        second = RunReference(run_id="mine", root=tmp_path / "other host")
        shutil.copytree(first.folder, second.folder)
    for _ in range(tries(16, 5, 25)):  # with each of the two databases
        tried(16)
        start, end = own_process.Barrier(2), own_process.Event()
        both: dict[Any, Any] = {}
        for reference in (first, second):
            ours, theirs = own_process.Pipe()
            arguments = (reference, url, start, end, theirs)
            both[own_process.Process(target=compete, args=arguments)] = ours
        for process in both:
            process.start()
        said = {process: told.recv() for process, told in both.items()}
        (winner,) = [process for process, words in said.items() if words is None]
        (loser,) = [process for process, words in said.items() if words is not None]
        seconds, words = said[loser]
        loser.join(PATIENCE)
        assert seconds < AT_MOST
        assert loser.exitcode == 0
        assert "run mine is being worked on by " in words
        end.set()
        winner.join(PATIENCE)
        assert winner.exitcode == 0
        run = open_run(first)
        assert run.ledger.fact("goes on") == str(winner.pid)
        close_run(first)
        survived(16)


# Taken over --------------------------------------------------------------------------------------


def sleep_and_wake(reference: RunReference, url: str, told: Connection) -> None:
    """Train, be stopped, and on waking up go on as if nothing had happened."""
    configure(url)
    run = open_run(reference)
    phases.train(run, 0)
    told.send(run.ledger.db.fence)
    os.kill(os.getpid(), signal.SIGSTOP)
    source = Source("oracle", "x")
    attempts: dict[str, Callable[[], Any]] = {
        "a phase": lambda: phases.query(run, 0),
        "a checkpoint": lambda: save_checkpoint(run, 0),
        "a label": lambda: run.ledger.record_label(Label(5, 1), source=source, iteration=0),
        "a claim": lambda: run.ledger.record_asked(["key"], by_key=False),
        "a verdict": lambda: run.ledger.record_verdict(0, Verdict(True, "mine")),
        "a commit": lambda: run.ledger.commit_iteration(0, 99, {}, None),
    }
    refused = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except Exception as error:
            refused[name] = f"{type(error).__name__}: {error}"
        else:
            refused[name] = "it was done"
    close_run(reference)
    told.send(refused)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def files_of(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Checkpoints and metrology with their inodes: a file that was replaced has another one."""
    found = [*(folder / "checkpoints").rglob("*"), *folder.glob("*metrology*")]
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
        for path in found
        if path.is_file()
    }


def rows_of(ledger: Ledger) -> dict[str, Any]:
    return {
        "phases": ledger.phase_rows(),
        "labels": ledger.label_rows(),
        "requests": ledger.requests(),
        "metrology": ledger.metrology(),
        "verdicts": ledger.verdicts(),
        "facts": ledger.facts(),
        "commits": ledger.commit_rows(),
        "holder": ledger.holder(),
    }


def test_a_stale_owner_that_wakes_up_writes_nothing(
    url: str, new_run: Any, drive: Any, own_process: Any, tries: Any, tried: Any, survived: Any
) -> None:
    whole = new_run("whole")
    drive.finish(whole)
    for number in range(tries(16, 1, 5)):
        tried(16)
        run = new_run(f"run{number}")
        reference = run.reference
        close_run(reference)
        ours, theirs = own_process.Pipe()
        process = own_process.Process(target=sleep_and_wake, args=(reference, url, theirs))
        process.start()
        fence = ours.recv()
        until = time.monotonic() + PATIENCE
        while not is_stopped(process.pid):
            assert time.monotonic() < until
            time.sleep(0.01)
        with pytest.raises(RunLockedError, match=f"process {process.pid} on host"):
            open_run(reference)
        take_over(reference)
        run = open_run(reference)
        assert run.ledger.db.fence > fence
        runs.PHASES[Phase.METROLOGY](run, 0)
        rows, files = rows_of(run.ledger), files_of(reference.folder)
        os.kill(process.pid, signal.SIGCONT)
        refused = ours.recv()
        process.join(PATIENCE)
        assert all(words.startswith("LeaseLostError: ") for words in refused.values()), refused
        assert f"was taken over by process {os.getpid()} " in refused["a checkpoint"]
        assert rows_of(run.ledger) == rows
        assert files_of(reference.folder) == files
        drive.finish(run)
        assert drive.content(run) == drive.content(whole)
        survived(16)
