from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from querist.commands import Command
from querist.commands.process import Ended, run_process
from querist.errors import CommandError
from querist.runs.host import LocalHost

FAMILY = """
import os, subprocess, sys, time
detached = subprocess.Popen(["sleep", "1000"], start_new_session=True)
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"])
print(os.getpid(), detached.pid, child.pid)
open("pids.part", "w").write(f"{os.getpid()} {detached.pid} {child.pid}")
os.rename("pids.part", "pids")
"""


def family(work: Path) -> list[int]:
    deadline = time.monotonic() + 30
    while not (work / "pids").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return [int(pid) for pid in (work / "pids").read_text().split()]


def all_gone(pids: list[int], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.02)
    return False


linux = pytest.mark.skipif(sys.platform != "linux", reason="descendants are found in /proc")


def ended(work: Path, script: str, meanwhile: Callable[[], None]) -> Ended:
    work.mkdir(parents=True, exist_ok=True)
    return run_process(
        [sys.executable, "-c", script], name="script", folder=work, lock=work / "lock",
        environment=dict(os.environ), meanwhile=meanwhile,
    )  # fmt: skip


def test_something_is_done_meanwhile(work: Path) -> None:
    calls: list[float] = []
    closes = "import os, time; os.close(1); os.close(2); time.sleep(0.5)"
    for script in ("import time; time.sleep(0.5)", closes):
        calls.clear()
        found = ended(work, script, lambda: calls.append(time.monotonic()))
        assert (found.how, found.detail) == ("exit", "0")
        assert len(calls) > 2


@linux
def test_what_is_raised_meanwhile_ends_the_whole_family(work: Path) -> None:
    def look() -> None:
        if (work / "pids").exists():
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        ended(work, FAMILY + "time.sleep(1000)", look)
    assert all_gone(family(work))


@linux
def test_a_timeout_kills_the_whole_family(work: Path) -> None:
    command = Command(["python", "-c", FAMILY + "time.sleep(1000)"], timeout_seconds=2)
    started = time.monotonic()
    with pytest.raises(CommandError, match="took longer than its timeout_seconds, 2,") as caught:
        command.run(work, iteration=0)
    assert not caught.value.refused
    assert time.monotonic() - started < 20
    assert all_gone(family(work))


@linux
def test_what_it_leaves_behind_is_killed_when_it_ends(work: Path) -> None:
    assert Command(["python", "-c", FAMILY]).run(work, iteration=0)
    assert all_gone(family(work), 0.5), "gone when `run` returns"


@linux
def test_a_timeout_of_one_that_has_closed_its_output(work: Path) -> None:
    code = "import os, time; os.close(1); os.close(2); time.sleep(1000)"
    with pytest.raises(CommandError, match="took longer"):
        Command(["python", "-c", code], timeout_seconds=0.5).run(work, iteration=0)


PARENT = """
import sys
from pathlib import Path
from querist.commands import Command
from querist.commands.process import Ended, run_process
Command(["python", "-c", sys.argv[2]]).run(Path(sys.argv[1]), iteration=0)
"""


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_us(work: Path, number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(work), FAMILY + "time.sleep(1000)"],
        stderr=subprocess.DEVNULL,
    )
    pids = family(work)
    parent.send_signal(number)
    parent.wait(20)
    assert all_gone(pids)


@linux
def test_the_next_one_waits_until_they_are_gone(work: Path) -> None:
    """The process that was killed may be followed at once: never two in one folder."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(work), FAMILY + "time.sleep(1000)"],
        stderr=subprocess.DEVNULL,
    )
    pids = family(work)
    parent.kill()
    code = f"import os; print(sum(os.path.exists('/proc/%d' % p) for p in {pids}))"
    assert Command(["python", "-c", code]).ask(work, iteration=0) == 0
    parent.wait()


def test_big_output_on_both_pipes(work: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = """
import sys
for i in range(20_000):
    print('x' * 50); print('y' * 50, file=sys.stderr)
print('z' * 5_000_000)
print(7)
"""
    with caplog.at_level(logging.INFO, "querist.commands"):
        assert Command(["python", "-c", code]).ask(work, iteration=0) == 7
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) < 11_000
    assert max(map(len, lines)) < 2_100
    assert any("more lines are not shown" in line for line in lines)


def test_lines_come_as_they_are_printed(work: Path) -> None:
    seen: list[tuple[float, str]] = []

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((time.monotonic(), record.getMessage()))

    logger, handler = logging.getLogger("querist.commands"), Note()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    code = "import time; print('first'); time.sleep(1); print('\\r10%\\r99%'); print('last')"
    try:
        Command(["python", "-c", code]).run(work, iteration=0)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert [line for _, line in seen] == ["python: first", "python: 99%", "python: last"]
    assert seen[1][0] - seen[0][0] > 0.5


def test_it_reads_nothing_of_ours(work: Path) -> None:
    code = (
        "import sys, os, json; "
        "print(json.dumps([sys.stdin.read(), len(os.listdir('/proc/self/fd'))]))"
    )
    read, write = os.pipe()
    os.set_inheritable(read, True)
    try:
        text, descriptors = Command(["python", "-c", code]).ask(work, iteration=0)
    finally:
        os.close(read)
        os.close(write)
    assert text == ""
    assert descriptors <= 4, "stdin, stdout, stderr, and the listing itself"


def test_from_a_thread(work: Path) -> None:
    found: list[object] = []
    ask: Callable[[], None] = lambda: found.append(  # noqa: E731
        Command(["python", "-c", "print(5)"]).ask(work, iteration=0)
    )
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(30)
    assert found == [5]


@linux
def test_who_cancels_a_step_in_a_thread_kills_its_command(work: Path) -> None:
    async def cancelled() -> None:
        command = Command(["python", "-c", FAMILY + "time.sleep(1000)"])
        step = asyncio.ensure_future(LocalHost().make(lambda: command.run(work, iteration=0)))
        await asyncio.to_thread(family, work)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step

    started = time.monotonic()
    asyncio.run(cancelled())
    assert all_gone(family(work))
    assert time.monotonic() - started < 60
