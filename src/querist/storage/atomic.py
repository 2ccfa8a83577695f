"""Write beside, fsync, rename, fsync the folder: a file or folder appears whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from querist.errors import StorageError
from querist.faults import crash_point
from querist.storage.store import store

TEMPORARY = ".tmp-"


@contextmanager
def storage_errors(what: Path) -> Iterator[None]:
    """Turns a disk's refusal into one clear error."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"{what} could not be written, {error.strerror or error}: make room or give access, "
            "then resume; everything before is stored"
        ) from error


def _write(path: Path, content: bytes, *, durable: bool = True) -> None:
    disk = store()
    with disk.open(path) as file:
        disk.write(file, content)
        if durable:
            disk.sync(file)


def create_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, so that a power cut does not undo it.

    Raises:
        StorageError: the disk refused.
    """
    with storage_errors(folder):
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            store().make_folder(path)
            store().sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; nothing to do when it is not there.

    Raises:
        StorageError: the disk refused.
    """
    with storage_errors(path):
        store().remove(path)


def _clear(rubbish: Path) -> None:
    """Remove what is half done, as far as a disk that refused allows: the first error counts."""
    with suppress(OSError):
        store().remove(rubbish)


def write_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Put `content` at `path`, replacing what was there.

    Args:
        path: the file.
        content: what it shall hold.
        durable: whether a power cut must not take it; False for what can be made again.

    Raises:
        StorageError: the disk refused; the old content is intact.
    """
    beside = path.with_name(f"{TEMPORARY}{path.name}")
    with storage_errors(path):
        try:
            _write(beside, content, durable=durable)
            crash_point("file.beside")
            store().replace(beside, path)
        except BaseException:
            _clear(beside)
            raise
        if durable:
            store().sync_folder(path.parent)


@contextmanager
def taking_turns(folder: Path) -> Iterator[None]:
    """Inside, no other process is inside for the same folder: what is beside has one name.

    Raises:
        StorageError: the folder cannot be opened.
    """
    with storage_errors(folder):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make `folder` with `files` in it, replacing one that was there.

    Raises:
        StorageError: the disk refused; the old folder is intact.
    """
    disk = store()
    beside = folder.with_name(f"{TEMPORARY}{folder.name}")
    with storage_errors(folder):
        try:
            disk.remove(beside)
            disk.make_folder(beside)
            for name, content in files.items():
                _write(beside / name, content)
                crash_point("folder.half")
            disk.sync_folder(beside)
            crash_point("folder.beside")
            _put(beside, folder)
        except BaseException:
            _clear(beside)
            raise
        crash_point("folder.renamed")
        disk.sync_folder(folder.parent)


def _put(new: Path, folder: Path) -> None:
    """Rename `new` to `folder`; the one that was there comes back if that fails."""
    disk = store()
    if not folder.exists():
        disk.replace(new, folder)
        return
    old = folder.with_name(f"{TEMPORARY}old-{folder.name}")
    disk.remove(old)
    disk.replace(folder, old)
    try:
        disk.replace(new, folder)
    except BaseException:
        disk.replace(old, folder)
        raise
    disk.remove(old)


def sha256(content: bytes) -> str:
    """The SHA-256 of some bytes, in hex."""
    return hashlib.sha256(content).hexdigest()
