"""Steps in a process of their own: what travels between it and us, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from querist.commands.environment import NOT_FOR_STEPS
from querist.config import Experiment
from querist.errors import ConfigurationError, RunLockedError, StorageError
from querist.phases.begin import begin
from querist.progress import Progress, tell, watched_by
from querist.runs import Run, host, open_run
from querist.runs.host import (
    Host,
    HostDiedError,
    LocalHost,
    RunError,
    current_host,
    hosted_by,
)
from querist.runs.process_host import SpawnedHost

from ..conftest import environment

# Steps, which the child finds by their names ------------------------------------------------------


def add(one: int, other: int) -> int:
    return one + other


def whereabouts() -> tuple[int, int]:
    return os.getpid(), os.getsid(0)


def variables() -> dict[str, str]:
    return dict(os.environ)


def seed_of(run: Run, more: int) -> int:
    return run.experiment.seed + more


def say() -> None:
    tell(Progress("said", "moons", 3, 9, None, 40, metrics={"f1": 0.5}))
    logger = logging.getLogger("querist.somewhere")
    logger.warning("%d of %s", 3, {4}, extra={"cannot_travel": threading.Lock()})
    try:
        raise ValueError("in words")
    except ValueError:
        logger.exception("it failed")


class UnlikeOthersError(Exception):
    """Cannot be made again from its words."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


def fail(kind: str) -> Any:
    if kind == "lambda":
        return lambda: None
    raise {
        "error of ours": RunLockedError("run", "somebody"),
        "StorageError": StorageError("the disk is full"),
        "ConnectionError": ConnectionError("the shop is closed"),
        "EOFError": EOFError("the shop said half a word"),
        "unlike others": UnlikeOthersError(1, 2),
        "StopIteration": StopIteration(),
        "SystemExit": SystemExit(4),
        "CancelledError": asyncio.CancelledError(),
    }[kind]


def end(code: int) -> None:
    os._exit(code)


def leave_a_process(file: str, *, fork: bool, code: int | None) -> None:
    """Start a process that would live on, write its id into `file`, then end or wait."""
    if fork:  # has all that we have open
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    else:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid
    beside = Path(f"{file}.tmp")
    beside.write_text(str(child))
    beside.replace(file)
    if code is not None:
        os._exit(code)
    time.sleep(60)


# --------------------------------------------------------------------------------------------------


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], Any], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture(scope="module")
def lasting() -> Iterator[SpawnedHost]:
    """A host for tests that leave it as it is."""
    made = SpawnedHost()
    yield made
    made.stop()


@pytest.fixture
def spawned() -> Iterator[SpawnedHost]:
    """A host for tests that end it."""
    made = SpawnedHost()
    yield made
    made.stop()


def made(by: Host, step: Any, *args: Any) -> Any:
    async def make() -> Any:
        return await asyncio.wait_for(by.make(step, *args), 60)

    return asyncio.run(make())


def test_a_step_is_carried_out_elsewhere(lasting: SpawnedHost) -> None:
    assert made(lasting, add, 20, 22) == 42
    process, session = made(lasting, whereabouts)
    assert process == session, "a signal to our group would reach it"
    assert process != os.getpid()
    assert made(lasting, whereabouts) == (process, session), "one process, step after step"


def test_its_environment_has_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NOT_FOR_STEPS:
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("QUERIST_LEDGER_URL", "its own")
    spawned = SpawnedHost()
    try:
        found = made(spawned, variables)
    finally:
        spawned.stop()
    assert found["QUERIST_LEDGER_URL"] == "its own"
    assert "canary" not in found.values()


def test_a_run_is_open_there_until_it_is_released(
    lasting: SpawnedHost, experiment: Callable[..., Experiment]
) -> None:
    async def life() -> int:
        start = await lasting.make(begin, experiment(seed=5), "there")
        with pytest.raises(RunLockedError):
            open_run(start.run)
        found: int = await lasting.call(start.run, seed_of, 2)
        await lasting.release(start.run)
        open_run(start.run)
        await LocalHost().release(start.run)
        return found

    assert asyncio.run(life()) == 7


def test_progress_and_logs_travel(lasting: SpawnedHost) -> None:
    progress: list[Progress] = []
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger("querist").addHandler(handler)
    try:
        with watched_by(progress.append):
            made(lasting, say)
    finally:
        logging.getLogger("querist").removeHandler(handler)
    assert [(p.run_id, p.labels, dict(p.metrics)) for p in progress] == [("said", 40, {"f1": 0.5})]
    first, second = records
    assert (first.name, first.levelname) == ("querist.somewhere", "WARNING")
    assert first.getMessage() == "3 of {4}"
    assert "ValueError: in words" in logging.Formatter().format(second)


@pytest.mark.parametrize("by", ["thread", "process"])
@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("error of ours", RunLockedError, "being worked on by somebody"),
        ("StorageError", StorageError, "the disk is full"),
        ("ConnectionError", ConnectionError, "the shop is closed"),
        ("EOFError", EOFError, "half a word"),
        ("unlike others", (UnlikeOthersError, RunError), "1 and 2"),
        ("StopIteration", RunError, "StopIteration: without a message"),
        ("SystemExit", RunError, "SystemExit: 4"),
        ("CancelledError", RunError, "CancelledError: without a message"),
    ],
)
def test_an_error_is_what_it_was(
    by: str, kind: str, error: Any, words: str, lasting: SpawnedHost
) -> None:
    """The host goes on, and nobody waits for ever: Python 3.11 does, for a StopIteration."""
    chosen: Host = lasting if by == "process" else LocalHost()
    with pytest.raises(error, match=words) as raised:
        made(chosen, fail, kind)
    assert not isinstance(raised.value, HostDiedError)
    if kind == "error of ours":
        assert raised.value.holder == "somebody"
    if by == "process":
        assert getattr(raised.value, "in_the_log", False)
    assert made(chosen, add, 1, 1) == 2


def test_a_result_that_cannot_travel(lasting: SpawnedHost) -> None:
    with pytest.raises(Exception, match="pickle"):
        made(lasting, fail, "lambda")
    assert made(lasting, add, 1, 1) == 2


def test_a_step_that_cannot_travel(lasting: SpawnedHost) -> None:
    with pytest.raises(Exception, match="pickle"):
        made(lasting, lambda: None)
    assert made(lasting, add, 1, 1) == 2


def test_it_dies_in_a_step(spawned: SpawnedHost, experiment: Callable[..., Experiment]) -> None:
    start = made(spawned, begin, experiment(), "dies")
    with pytest.raises(HostDiedError, match="exit code 3: `querist resume` goes on"):
        made(spawned, end, 3)
    assert not spawned.alive()
    with pytest.raises(HostDiedError, match="exit code 3"):
        made(spawned, add, 1, 1)
    asyncio.run(spawned.release(start.run))  # its lock went with it
    open_run(start.run)
    asyncio.run(LocalHost().release(start.run))


def test_it_is_killed_between_steps(spawned: SpawnedHost) -> None:
    process, _ = made(spawned, whereabouts)
    os.kill(process, signal.SIGKILL)
    with pytest.raises(HostDiedError, match="ended by SIGKILL"):
        made(spawned, add, 1, 1)


@pytest.mark.parametrize("fork", [True, False], ids=["forked", "executed"])
def test_what_it_had_started_ends_with_it(fork: bool, spawned: SpawnedHost, tmp_path: Path) -> None:
    """A fork holds the child's end of the pipe: its death must be noticed all the same."""
    file = tmp_path / "id"
    with pytest.raises(HostDiedError, match="exit code 3"):
        made(spawned, leave_once(fork, 3), str(file))
    wait_for(lambda: not alive(int(file.read_text())), 5)


def leave_once(fork: bool, code: int | None) -> Any:
    from functools import partial

    return partial(leave_a_process, fork=fork, code=code)


def test_a_step_is_cancelled_in_the_middle(spawned: SpawnedHost, tmp_path: Path) -> None:
    """At once, with all that it had started; the next one to ask is told."""
    file = tmp_path / "id"

    async def cancel() -> float:
        step = asyncio.ensure_future(spawned.make(leave_once(False, None), str(file)))
        await asyncio.to_thread(wait_for, file.exists, 60)
        started = time.monotonic()
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        return time.monotonic() - started

    assert asyncio.run(cancel()) < 5
    assert not spawned.alive()
    wait_for(lambda: not alive(int(file.read_text())), 5)
    with pytest.raises(HostDiedError, match="ended by SIGKILL"):
        made(spawned, add, 1, 1)
    spawned.stop()  # twice is as good as once


def test_it_ends_with_a_parent_that_is_killed() -> None:
    script = (
        "import asyncio, time\n"
        "from querist.runs.process_host import SpawnedHost\n"
        "from tests.runs.test_spawned import whereabouts\n"
        "print(asyncio.run(SpawnedHost().make(whereabouts))[0], flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    wait_for(lambda: not alive(child), 10)


# Which host flows use -----------------------------------------------------------------------------


@pytest.fixture
def unhosted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(host, "_spawned", None)
    yield
    if host._spawned is not None:
        host._spawned.stop()


def test_the_environment_chooses(unhosted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUERIST_HOST", raising=False)
    assert isinstance(current_host(), LocalHost)
    monkeypatch.setenv("QUERIST_HOST", "fork")
    with pytest.raises(ConfigurationError, match="is 'thread' or 'process', not 'fork'"):
        current_host()
    given = LocalHost()
    with hosted_by(given):
        assert current_host() is given


def test_a_new_process_follows_one_that_was_cut_off(
    unhosted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUERIST_HOST", "process")
    first = current_host()
    assert isinstance(first, SpawnedHost)
    assert current_host() is first
    first.stop()
    second = current_host()
    assert second is not first
    assert made(second, add, 1, 1) == 2
