"""Row 14: processes that train together are killed, and what started them."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from querist.training.weights import WEIGHTS
from tests.shared.killed import REPOSITORY
from tests.shared.memory import Memory
from tests.shared.ranked import ALLOWED, INTERRUPTED, trained
from tests.shared.waiting import wait_for

SECONDS = 60.0
STEPS, EPOCHS = 4, 10
"""Steps of an epoch, and epochs."""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="descendants are found in /proc")


@pytest.fixture(scope="module")
def whole() -> bytes:
    """The weights of a training that nobody disturbs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUERIST_ALLOWED_PACKAGES", ALLOWED)
        return trained("Slow", **INTERRUPTED, partial=Memory())[0].state_files()[WEIGHTS]


@pytest.mark.timeout(1200)
def test_a_rank_is_killed(
    whole: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tries: Any,
    tried: Any,
    survived: Any,
) -> None:
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", ALLOWED)
    chance = random.Random(14)
    for number in range(tries(14, 2, 10)):
        tried(14)
        step = chance.randrange(1, STEPS * EPOCHS + 1)
        monkeypatch.setenv("QUERIST_CRASH_AT", f"train.step:{step}:rank{number % 2}")
        memory, reports = Memory(), []
        caplog.clear()
        started = time.monotonic()
        with caplog.at_level(logging.WARNING, "querist"):
            fitted, _ = trained("Slow", **INTERRUPTED, partial=memory, on_epoch=reports.append)
        assert time.monotonic() - started < SECONDS
        again = [r.getMessage() for r in caplog.records if "started again" in r.getMessage()]
        kept = (step - 1) // STEPS // 2 * 2
        assert len(again) == 1
        assert again[0].endswith(f"(1 of at most 3 times), from epoch {kept}")
        assert [r.epoch for r in reports] == list(range(1, EPOCHS + 1))
        assert memory.epochs[-1] == 8
        assert set(memory.epochs) <= {2, 4, 6, 8}
        assert fitted.state_files()[WEIGHTS] == whole
        survived(14)


def start(folder: Path, **more: str) -> subprocess.Popen[bytes]:
    """Train in a process of its own."""
    path = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "src")))
    told = {"QUERIST_ALLOWED_PACKAGES": ALLOWED, "PYTHONPATH": path, **more}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.shared.ranked", str(folder)],
        cwd=folder,
        env={**os.environ, **told},
        start_new_session=True,
    )


def left_of(folder: Path) -> list[str]:
    """What still works for a training in the folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in line:
            found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGINT])
def test_the_process_that_started_them_is_ended(
    way: signal.Signals, whole: bytes, tmp_path: Path, tried: Any, survived: Any
) -> None:
    tried(14)
    told = tmp_path / "epochs"
    process = start(tmp_path, SLOW="0.1")
    wait_for(lambda: told.exists() and "3" in told.read_text().split(), 90, "it never began")
    assert len(left_of(tmp_path)) >= 4  # itself, the guard, torchrun, two ranks
    process.send_signal(way)
    assert process.wait(10) != 0
    wait_for(lambda: not left_of(tmp_path), 10, f"{left_of(tmp_path)} still live")
    assert not (tmp_path / WEIGHTS).exists()
    before = len(told.read_text().split())

    assert start(tmp_path).wait(90) == 0
    assert (tmp_path / WEIGHTS).read_bytes() == whole
    gone_on = [int(epoch) for epoch in told.read_text().split()[before:]]
    assert gone_on == list(range(gone_on[0], EPOCHS + 1))
    assert gone_on[0] in (3, 5, 7)
    assert [p.name for p in (tmp_path / "ranks").iterdir() if p.is_dir()] == []
    survived(14)
