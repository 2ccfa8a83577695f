"""Row 8: the disk is full, read-only, or refuses one operation: our error, and nothing is lost."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from querist.errors import QueristError, StorageError
from querist.ledger import Ledger
from querist.runs.lock import RunLock
from querist.runs.records import ConsoleLog, DriverLog
from querist.storage.store import Store, stored_by
from tests.shared.driven import STEPS, Place
from tests.shared.killed import HERE, ITERATIONS, LABELS, Outcome

End = tuple[Outcome, list[str]]
SECONDS = 5.0
TRACKED = {"tracking": {"enabled": True}}


@pytest.fixture(autouse=True)
def shop(tmp_path: Path) -> Iterator[Path]:
    """The label source's own books: they are not on the disk that refuses."""
    books = tmp_path / "asked"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUERIST_ALLOWED_PACKAGES", "interrupted,examples")
        patch.syspath_prepend(str(HERE))
        patch.setenv("ASKED", str(books))
        yield books


class Refusing(Store):
    """The real disk, which refuses an operation: this once, or from then on.

    Args:
        at: which operation, counted from 1; 0 = none.
        reason: why. A disk without space takes nothing more from then on, a read-only one no
            change of any kind; one that is broken refuses this once.
    """

    def __init__(self, at: int = 0, reason: int = errno.EIO) -> None:
        self.at, self.reason = at, reason
        self.count = 0

    def _asked(self, operation: str, *, takes_space: bool = False) -> None:
        self.count += 1
        lasts = {errno.ENOSPC: takes_space, errno.EROFS: operation != "sync"}
        if self.count == self.at or (0 < self.at < self.count and lasts.get(self.reason, False)):
            raise OSError(self.reason, os.strerror(self.reason))

    def open(self, path: Path, mode: str = "wb") -> BinaryIO:
        self._asked("open", takes_space="w" in mode)
        return super().open(path, mode)

    def write(self, file: BinaryIO, content: bytes) -> None:
        if self.count + 1 == self.at:  # part of it may be there
            super().write(file, content[: len(content) // 2])
        self._asked("write", takes_space=True)
        super().write(file, content)

    def sync(self, file: BinaryIO) -> None:
        self._asked("sync")
        super().sync(file)

    def truncate(self, file: BinaryIO, size: int) -> None:
        self._asked("truncate")
        super().truncate(file, size)

    def replace(self, source: Path, target: Path) -> None:
        self._asked("replace")
        super().replace(source, target)

    def make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self._asked("make_folder", takes_space=True)
        super().make_folder(folder)

    def sync_folder(self, folder: Path) -> None:
        self._asked("sync")
        super().sync_folder(folder)

    def remove(self, path: Path) -> None:
        if path.exists():
            self._asked("remove")
        super().remove(path)


def place(folder: Path, books: Path) -> Place:
    made = Place(folder, books)
    made.write(**TRACKED)
    books.unlink(missing_ok=True)
    return made


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[End, int]:
    """How the run ends when nothing is refused, and how many operations that takes."""
    folder = tmp_path_factory.mktemp("clean")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUERIST_ALLOWED_PACKAGES", "interrupted,examples")
        patch.syspath_prepend(str(HERE))
        patch.setenv("ASKED", str(folder / "asked"))
        undisturbed = place(folder, folder / "asked")
        disk = Refusing()
        with stored_by(disk):
            undisturbed.drive()
    assert len(undisturbed.billed) == ITERATIONS * LABELS
    return undisturbed.end(), disk.count


def one_line(error: BaseException) -> None:
    assert isinstance(error, QueristError), repr(error)
    assert str(error)
    assert "\n" not in str(error)


def intact(where: Place, commits: int) -> None:
    """The last commit is as it was, and every label that was billed and acknowledged is there."""
    if not (where.run / "experiment.yaml").exists():
        assert commits == 0
        return
    ledger = Ledger(where.run / "ledger.db")
    try:
        ledger.verify()
        assert len(ledger.commit_rows()) >= commits
        labels = len(ledger.label_rows()) - len(ledger.subset("initial"))
        assert labels >= len(where.billed) - 1, "one label at most was bought and not stored"
    finally:
        ledger.close()


def resumes(where: Place, end: End) -> None:
    where.drive()
    assert where.end() == end
    assert len(where.billed) == len(set(where.billed)) == ITERATIONS * LABELS


def test_every_operation_is_refused(
    clean: tuple[End, int], tmp_path: Path, shop: Path, tries: Any, tried: Any, survived: Any
) -> None:
    end, operations = clean
    reasons = (errno.ENOSPC, errno.EROFS, errno.EIO)
    every = tries(8, 5, 1)
    for number, at in enumerate(range(1, operations + 1, every)):
        tried(8)
        where = place(tmp_path / str(at), shop)
        commits = 0

        def committed(step: str, iteration: int) -> None:
            nonlocal commits
            commits = max(commits, iteration)

        disk = Refusing(at, reasons[number % len(reasons)])
        with stored_by(disk), pytest.raises(Exception) as error:
            where.drive(committed)
        one_line(error.value)
        intact(where, commits)
        resumes(where, end)
        survived(8)


# Real disks ---------------------------------------------------------------------------------------


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode == 0:
        return
    reason = f"mounting is not permitted here: {done.stderr.strip()}"
    if os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Not a page is free inside."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    yield
    filler.unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """Every name below leads to a disk that takes no change; open files can still be written."""
    _mount("--bind", str(disk), str(disk))
    try:
        _mount("-o", "remount,bind,ro", str(disk))
        yield
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("refusing", [full, read_only])
@pytest.mark.parametrize("step", STEPS)
def test_a_real_disk_refuses_in_each_phase(
    step: str,
    refusing: Callable[[Path], Any],
    small_disk: Path,
    shop: Path,
    clean: tuple[End, int],
    tried: Any,
    survived: Any,
) -> None:
    tried(8)
    where = place(small_disk, shop)
    commits, began, trouble = 0, 0.0, None

    def before(name: str, iteration: int) -> None:
        nonlocal commits, began, trouble
        commits = max(commits, iteration)
        if trouble is None and name == step and iteration in (-1, 1, ITERATIONS):
            trouble = refusing(small_disk)
            trouble.__enter__()
            began = time.monotonic()

    with pytest.raises(Exception) as error:
        where.drive(before)
    seconds = time.monotonic() - began
    assert trouble is not None
    one_line(error.value)
    assert isinstance(error.value, StorageError)
    assert seconds < SECONDS
    with pytest.raises(StorageError):
        where.drive()  # still no space: said again, nothing is lost by trying
    trouble.__exit__(None, None, None)
    intact(where, commits)
    resumes(where, clean[0])
    survived(8)


def test_a_log_for_people_that_cannot_be_written_is_heard_about_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    console = ConsoleLog(tmp_path / "gone")
    try:
        with caplog.at_level(logging.INFO, "querist"):
            for _ in range(3):
                logging.getLogger("querist.phases.train").info("trained")
    finally:
        console.close()
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "console.log cannot be written, No such file" in warning.getMessage()
    assert capsys.readouterr().err == ""


def test_half_a_line_of_the_driver_log_is_taken_back(tmp_path: Path) -> None:
    log = DriverLog(tmp_path)
    with stored_by(Refusing(at=2)), pytest.raises(StorageError, match="make room"):
        log.write(0, "train", "start")
    log.write(0, "train", "start")
    assert len([json.loads(line) for line in (tmp_path / "driver_log.json").open()]) == 1


def test_a_lock_that_cannot_be_written_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StorageError, match="No space left"):
            RunLock(tmp_path)
    RunLock(tmp_path).release()
