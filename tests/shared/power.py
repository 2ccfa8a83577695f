"""A disk that forgets what was not synced, to cut the power at every step of a run."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from querist.ledger.database import copy_of
from querist.storage.store import Store


class Loss(StrEnum):
    """What a disk may do with what was not synced."""

    EVERYTHING = "everything"
    """Content and names are gone."""
    CONTENT = "content"
    """A rename reached the disk before the content of the file did."""
    NOTHING = "nothing"
    """All of it had reached the disk."""


@dataclass
class File:
    """A file as programs see it, and as the disk has it."""

    now: bytes = b""
    synced: bytes = b""


@dataclass
class Folder:
    """A folder as programs see it, and as the disk has it."""

    now: dict[str, File | Folder] = field(default_factory=dict)
    synced: dict[str, File | Folder] = field(default_factory=dict)


Step = tuple[Any, ...]


class RecordingStore(Store):
    """The real store, which keeps a list of everything that it was asked for below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.steps: list[Step] = []

    def note(self, *step: Any) -> None:
        """Put something else on the list, between the steps."""
        self.steps.append(step)

    def _path(self, path: Any) -> tuple[str, ...]:
        return Path(path).absolute().relative_to(self.root).parts

    def open(self, path: Path, mode: str = "wb") -> BinaryIO:
        if "w" in mode:
            self.note("create", self._path(path))
        return super().open(path, mode)

    def write(self, file: BinaryIO, content: bytes) -> None:
        super().write(file, content)
        self.note("write", self._path(file.name), file.tell() - len(content), bytes(content))

    def sync(self, file: BinaryIO) -> None:
        super().sync(file)
        self.note("sync", self._path(file.name))

    def truncate(self, file: BinaryIO, size: int) -> None:
        super().truncate(file, size)
        self.note("truncate", self._path(file.name), size)

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        self.note("replace", self._path(source), self._path(target))

    def make_folder(self, folder: Path) -> None:
        super().make_folder(folder)
        self.note("make_folder", self._path(folder))

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self.note("sync_folder", self._path(folder))

    def remove(self, path: Path) -> None:
        super().remove(path)
        self.note("remove", self._path(path))

    def committed(self, ledger: str, connection: Any) -> None:
        # What SQLite promises: with FULL a commit is on the disk when it returns, else it may not.
        full = connection.execute("PRAGMA synchronous").fetchone()[0] >= 2
        path = self._path(ledger.removeprefix("sqlite:///"))
        self.note("commit", path, copy_of(connection), full)


class Disk:
    """The disk after a number of steps."""

    def __init__(self) -> None:
        self.root = Folder()
        self.ledgers: dict[tuple[str, ...], tuple[bytes, bytes]] = {}

    def after(self, step: Step) -> None:
        """Do one recorded step."""
        kind, *rest = step
        action = getattr(self, f"_{kind}", None)
        if action is not None:
            action(*rest)

    def _folder(self, path: tuple[str, ...]) -> Folder:
        here = self.root
        for name in path:
            found = here.now.setdefault(name, Folder())
            assert isinstance(found, Folder)
            here = found
        return here

    def _file(self, path: tuple[str, ...]) -> File:
        found = self._folder(path[:-1]).now.setdefault(path[-1], File())
        assert isinstance(found, File)
        return found

    def _create(self, path: tuple[str, ...]) -> None:
        self._file(path).now = b""

    def _write(self, path: tuple[str, ...], start: int, content: bytes) -> None:
        file = self._file(path)
        file.now = file.now[:start].ljust(start, b"\0") + content + file.now[start + len(content) :]

    def _sync(self, path: tuple[str, ...]) -> None:
        file = self._file(path)
        file.synced = file.now

    def _truncate(self, path: tuple[str, ...], size: int) -> None:
        self._file(path).now = self._file(path).now[:size]

    def _replace(self, source: tuple[str, ...], target: tuple[str, ...]) -> None:
        moved = self._folder(source[:-1]).now.pop(source[-1])
        self._folder(target[:-1]).now[target[-1]] = moved

    def _make_folder(self, path: tuple[str, ...]) -> None:
        self._folder(path)

    def _sync_folder(self, path: tuple[str, ...]) -> None:
        folder = self._folder(path)
        folder.synced = dict(folder.now)

    def _remove(self, path: tuple[str, ...]) -> None:
        self._folder(path[:-1]).now.pop(path[-1], None)

    def _commit(self, path: tuple[str, ...], content: bytes, full: bool) -> None:
        _, on_disk = self.ledgers.get(path, (b"", b""))
        self.ledgers[path] = (content, content if full else on_disk)

    def lay_out(self, target: Path, loss: Loss) -> None:
        """Write what a power cut leaves into an empty folder."""
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        _lay_out(self.root, target, loss)
        for path, (seen, on_disk) in self.ledgers.items():
            content = seen if loss is Loss.NOTHING else on_disk
            place = target.joinpath(*path)
            if content and place.parent.exists():
                place.write_bytes(content)


def _lay_out(folder: Folder, target: Path, loss: Loss) -> None:
    names = folder.synced if loss is Loss.EVERYTHING else folder.now
    for name, entry in names.items():
        if isinstance(entry, Folder):
            (target / name).mkdir()
            _lay_out(entry, target / name, loss)
        else:
            (target / name).write_bytes(entry.now if loss is Loss.NOTHING else entry.synced)
