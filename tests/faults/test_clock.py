"""Row 17: the clock jumps while a run is killed and resumed: nothing is lost, the order is kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.shared.killed import HERE, ITERATIONS, LABELS, REPOSITORY, Lab, Outcome, outcome

DAY = 86_400.0
SERVER = """
import json, os, sys, time
import interrupted, querist.phases.begin, torch._dynamo, sklearn.metrics, querist.figures.canvas
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ.update(FAKETIME=job["shift"], TZ=job["zone"])
        time.tzset()
        with open(job["seen"], "a") as seen:
            seen.write(f"{time.time()} {time.strftime('%H:%M')}\\n")
        interrupted.work(job["experiment"], "run", job["crash"], job["asked"])
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Forks a process for each job, and lies to it about the time."""


@dataclass(frozen=True)
class Jump:
    """What the clock says before the kill and after it."""

    crash: str
    before: datetime
    after: datetime


def at(text: str, zone: str = "UTC", *, again: bool = False) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=int(again))


NOON, NEXT, LAST = at("2026-06-10 12:00"), at("2026-06-11 12:00"), at("2026-06-09 12:00")
BERLIN = "Europe/Berlin"
JUMPS = {
    "a day on, in the training": Jump("train.step:30", NOON, NEXT),
    "a day on, a label on its way": Jump("label.bought:14", NOON, NEXT),
    "a day on, before the commit": Jump("commit.transaction:2", NOON, NEXT),
    "a day back, in the training": Jump("train.step:30", NOON, LAST),
    "a day back, a label on its way": Jump("label.bought:14", NOON, LAST),
    "a day back, a label is stored": Jump("label.stored:15", NOON, LAST),
    "a day back, before the commit": Jump("commit.transaction:2", NOON, LAST),
    "summer time begins": Jump(
        "label.stored:15", at("2026-03-29 01:59:59", BERLIN), at("2026-03-29 03:00:01", BERLIN)
    ),
    "summer time ends": Jump(
        "label.stored:15",
        at("2026-10-25 02:59:50", BERLIN),
        at("2026-10-25 02:00:01", BERLIN, again=True),
    ),
    "before there were computers": Jump("label.stored:15", NOON, at("1970-01-02 00:00")),
}


@pytest.fixture(scope="session")
def liar() -> Iterator[subprocess.Popen[str]]:
    """Starts processes for which the clock says something else."""
    faketime = shutil.which("faketime")
    if faketime is None:
        words = "faketime is not installed: on Debian, apt install faketime"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(REPOSITORY)]),
        "QUERIST_ALLOWED_PACKAGES": "interrupted,examples",
        "FAKETIME_NO_CACHE": "1",  # the shift is looked up again, after the fork
    }
    # The clock that waiting goes by is left alone, as it is when somebody sets the other one.
    process = subprocess.Popen(
        [faketime, "--exclude-monotonic", "-f", "+0s", sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    yield process
    process.communicate()


@pytest.fixture
def work(liar: subprocess.Popen[str], lab: Lab) -> Callable[..., int]:
    """Do what is left of the run at another time; returns the exit code."""
    lab.write()

    def go(now: datetime, crash: str = "") -> int:
        job = {
            "shift": f"{now.timestamp() - time.time():+.3f}s",
            "zone": str(now.tzinfo),
            "crash": crash,
            "experiment": str(lab.folder / "experiment.yaml"),
            "asked": str(lab.folder / "asked"),
            "seen": str(lab.folder / "seen"),
        }
        assert liar.stdin is not None
        assert liar.stdout is not None
        liar.stdin.write(f"{json.dumps(job)}\n")
        liar.stdin.flush()
        return int(liar.stdout.readline())

    return go


def rows(folder: Path, query: str) -> list[Any]:
    with sqlite3.connect(folder / "ledger.db") as ledger:
        return [row[0] for row in ledger.execute(query)]


@pytest.mark.parametrize("jump", JUMPS)
def test_the_clock_jumps(
    jump: str, work: Any, lab: Lab, uninterrupted: Outcome, tried: Any, survived: Any
) -> None:
    tried(17)
    how = JUMPS[jump]
    assert work(how.before, how.crash) == -signal.SIGKILL
    assert work(how.after) == 0
    # The clock did say so, and what was written down has its times.
    seen = [line.split() for line in (lab.folder / "seen").read_text().splitlines()]
    for (now, wall), expected in zip(seen, (how.before, how.after), strict=True):
        assert float(now) == pytest.approx(expected.timestamp(), abs=60)
        assert wall == datetime.fromtimestamp(float(now), expected.tzinfo).strftime("%H:%M")
    acquired = rows(lab.run, "SELECT acquired FROM leases ORDER BY fence")
    shift = how.after.timestamp() - how.before.timestamp()
    assert acquired[1] - acquired[0] == pytest.approx(shift, abs=60)
    # And yet:
    assert rows(lab.run, "SELECT fence FROM leases ORDER BY fence") == [1, 2]
    assert len(lab.asked) == len(set(lab.asked)) == ITERATIONS * LABELS
    assert outcome(lab.run) == uninterrupted
    survived(17)
