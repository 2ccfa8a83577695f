from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from querist.errors import StorageError
from querist.storage.atomic import sha256, write_file, write_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(after: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """`real`, which the disk refuses from the call after `after` on."""
    calls = iter(range(10**6))

    def call(*args: Any, **more: Any) -> Any:
        if next(calls) >= after:
            raise OSError(28, "No space left on device")
        return real(*args, **more)

    return call


def test_a_file_appears_and_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_file(path, b"1")
    assert path.read_bytes() == b"1"
    write_file(path, b"22")
    assert path.read_bytes() == b"22"
    assert names(tmp_path) == ["a.json"]


def test_a_folder_appears_and_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "step"
    write_folder(folder, {"a": b"1", "b": b"2"})
    assert names(folder) == ["a", "b"]
    write_folder(folder, {"c": b"3"})
    assert names(folder) == ["c"]
    assert (folder / "c").read_bytes() == b"3"
    assert names(tmp_path / "deep") == ["step"]


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    path = tmp_path / "a.json"
    write_file(path, b"old")
    monkeypatch.setattr(os, function, failing(0, getattr(os, function)))
    with pytest.raises(StorageError, match=r"a\.json could not be written, No space.*make room"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("function", "after"),
    [("replace", 0), ("replace", 1), ("fsync", 0), ("fsync", 1), ("fsync", 2)],
)
def test_a_folder_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, after: int
) -> None:
    folder = tmp_path / "step"
    write_folder(folder, {"a": b"old", "b": b"old"})
    real = getattr(os, function)
    calls = iter(range(100))

    def once(*args: Any) -> Any:  # the disk refuses one call only, so that clearing up can work
        if next(calls) == after:
            raise OSError(28, "No space left on device")
        return real(*args)

    monkeypatch.setattr(os, function, once)
    with pytest.raises(StorageError, match="step could not be written, No space"):
        write_folder(folder, {"a": b"new", "b": b"new"})
    assert names(tmp_path) == ["step"]
    assert {(folder / n).read_bytes() for n in names(folder)} == {b"old"}


def test_a_new_folder_that_cannot_be_written_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, failing(0, getattr(os, function)))
            with pytest.raises(StorageError):
                write_folder(tmp_path / "step", {"a": b"new"})
        assert names(tmp_path) == []


def test_an_interrupt_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    write_file(tmp_path / "a", b"old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "a", b"new")
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "f", {"a": b"new"})
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_rubbish_of_a_killed_process_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".tmp-step").mkdir()
    (tmp_path / ".tmp-step" / "rubbish").write_bytes(b"x")
    (tmp_path / ".tmp-a").write_bytes(b"x" * 100)
    write_folder(tmp_path / "step", {"a": b"1"})
    write_file(tmp_path / "a", b"1")
    assert names(tmp_path / "step") == ["a"]
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_folder_that_nobody_may_write_to() -> None:
    with pytest.raises(StorageError, match="could not be written"):
        write_file(Path("/proc/querist/a"), b"1")
    with pytest.raises(StorageError, match="could not be written"):
        write_folder(Path("/proc/querist/a"), {"a": b"1"})


def test_a_full_disk(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from querist.errors import StorageError
from querist.storage.atomic import write_file, write_folder
folder = Path(sys.argv[1])
write_file(folder / "a", b"old")
write_folder(folder / "f", {"a": b"old"})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for write in (
    lambda: write_file(folder / "a", b"n" * 1_000_000),
    lambda: write_folder(folder / "f", {"a": b"new", "b": b"n" * 1_000_000}),
):
    try:
        write()
    except StorageError as error:
        assert "File too large" in str(error) and "make room" in str(error), error
    else:
        raise SystemExit("it was written")
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert (tmp_path / "f" / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a", "f"]


def test_sha256() -> None:
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
