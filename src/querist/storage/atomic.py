"""Write beside, fsync, rename, fsync the folder: a file or folder appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from querist.errors import StorageError

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


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes) -> None:
    """Put `content` at `path`, replacing what was there.

    Raises:
        StorageError: the disk refused; the old content is intact.
    """
    beside = path.with_name(f"{TEMPORARY}{path.name}")
    with storage_errors(path):
        try:
            _write(beside, content)
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make `folder` with `files` in it, replacing one that was there.

    Raises:
        StorageError: the disk refused; the old folder is intact.
    """
    beside = folder.with_name(f"{TEMPORARY}{folder.name}")
    with storage_errors(folder):
        try:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
            for name, content in files.items():
                _write(beside / name, content)
            _sync_folder(beside)
            _put(beside, folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        _sync_folder(folder.parent)


def _put(new: Path, folder: Path) -> None:
    """Rename `new` to `folder`; the one that was there comes back if that fails."""
    if not folder.exists():
        os.replace(new, folder)
        return
    old = folder.with_name(f"{TEMPORARY}old-{folder.name}")
    shutil.rmtree(old, ignore_errors=True)
    os.replace(folder, old)
    try:
        os.replace(new, folder)
    except BaseException:
        os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def sha256(content: bytes) -> str:
    """The SHA-256 of some bytes, in hex."""
    return hashlib.sha256(content).hexdigest()
