"""The one way to the disk: every write, fsync and rename of a run goes through the store.

The real one calls the operating system. A test puts another in its place, which records what was
asked of the disk, forgets what was not synced, or refuses.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


class Store:
    """The operating system's disk. Errors are the system's own (`OSError`)."""

    def open(self, path: Path, mode: str = "wb") -> BinaryIO:
        """An unbuffered file for `write`, `sync` and `truncate`; `mode` as for `open`."""
        file: BinaryIO = open(path, mode, buffering=0)  # type: ignore[assignment]  # noqa: SIM115
        return file

    def write(self, file: BinaryIO, content: bytes) -> None:
        """Write all of `content` where the file stands; nothing is durable yet."""
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]

    def sync(self, file: BinaryIO) -> None:
        """Have the file's content on the disk."""
        os.fsync(file.fileno())

    def truncate(self, file: BinaryIO, size: int) -> None:
        """Cut the file off, and stand at its end."""
        file.truncate(size)
        file.seek(size)

    def replace(self, source: Path, target: Path) -> None:
        """Rename `source` to `target`, in the place of a file that is there."""
        os.replace(source, target)

    def make_folder(self, folder: Path) -> None:
        """Make a folder, and those above it."""
        folder.mkdir(parents=True, exist_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Have the names in `folder` on the disk: without it a rename may be undone."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder with all that is in it; nothing to do when it is not there."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def committed(self, ledger: str, connection: Any) -> None:
        """The ledger at this URL has committed a transaction on this database connection."""


_store = Store()


def store() -> Store:
    """The store in use."""
    return _store


@contextmanager
def stored_by(other: Store) -> Iterator[None]:
    """Inside, `other` is the store of this process."""
    global _store
    before, _store = _store, other
    try:
        yield
    finally:
        _store = before
