from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from querist.errors import CheckpointError, StorageError
from querist.runs.checkpoints import MANIFEST, Checkpoints, PartialCheckpoint
from querist.storage.atomic import sha256

FILES = {"weights.safetensors": b"weights", "training_state.pt": b"state"}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    digest = checkpoints.save(7, FILES, {"labels": 50})
    folder = checkpoints.path(7)
    assert folder.name == "step_0007"
    assert digest == sha256((folder / MANIFEST).read_bytes())
    files, manifest = checkpoints.load(7)
    assert files == FILES
    assert manifest["labels"] == 50
    assert manifest["iteration"] == 7
    assert manifest["files"]["training_state.pt"] == sha256(b"state")


def test_iterations_beyond_four_digits(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for iteration in (12345, 3, 10):
        checkpoints.save(iteration, FILES, {})
    (tmp_path / "step_x").mkdir()
    (tmp_path / "partial_0001").mkdir()
    assert checkpoints.iterations() == [3, 10, 12345]


@pytest.mark.parametrize(
    ("interval", "keep", "left"),
    [
        (0, (), [9]),
        (1, (), list(range(10))),
        (4, (), [3, 7, 9]),
        (10, (), [9]),
        (0, (2, 5), [2, 5, 9]),
    ],
)
def test_prune(tmp_path: Path, interval: int, keep: tuple[int, ...], left: list[int]) -> None:
    checkpoints = Checkpoints(tmp_path)
    for iteration in range(10):
        checkpoints.save(iteration, FILES, {})
    checkpoints.prune(newest=9, interval=interval, keep=frozenset(keep))
    assert checkpoints.iterations() == left


@pytest.mark.parametrize("damage", ["change", "cut", "remove", "manifest", "no manifest", "empty"])
def test_damage_is_found(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, FILES, {})
    folder = checkpoints.path(0)
    weights, manifest = folder / "weights.safetensors", folder / MANIFEST
    {
        "change": lambda: weights.write_bytes(b"Weights"),
        "cut": lambda: weights.write_bytes(b"weigh"),
        "remove": weights.unlink,
        "manifest": lambda: manifest.write_text(manifest.read_text()[:-5]),
        "no manifest": manifest.unlink,
        "empty": lambda: manifest.write_text("[]"),
    }[damage]()
    with pytest.raises(CheckpointError, match=r"step_0000 (is damaged|cannot be read)"):
        checkpoints.load(0)


def test_a_manifest_reaches_no_file_outside_its_folder(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(0, FILES, {})
    (tmp_path / "secret").write_bytes(b"x")
    manifest = checkpoints.path(0) / MANIFEST
    content = json.loads(manifest.read_text())
    content["files"] = {"../../secret": sha256(b"x")}
    manifest.write_text(json.dumps(content))
    with pytest.raises(CheckpointError):
        checkpoints.load(0)


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="step_0003 cannot be read"):
        Checkpoints(tmp_path).load(3)


def test_rubbish_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, FILES, {})
    for name in (".tmp-step_0001", ".tmp-old-step_0000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_bytes(b"x")
    checkpoints.save(1, FILES, {})
    checkpoints.clear_rubbish(recorded=frozenset({0}))
    assert [p.name for p in tmp_path.iterdir()] == ["step_0000"]


def test_a_full_disk_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, FILES, {})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device: make room"):
        checkpoints.save(0, {"weights.safetensors": b"new"}, {})
    with pytest.raises(StorageError):
        checkpoints.save(1, FILES, {})
    assert checkpoints.load(0)[0] == FILES
    assert checkpoints.iterations() == [0]


def test_partial_checkpoints(tmp_path: Path) -> None:
    partial = PartialCheckpoint(tmp_path, 3)
    assert partial.latest() is None
    partial.save(2, FILES)
    partial.save(4, {"a": b"1"})
    assert partial.latest() == (4, {"a": b"1"})
    (tmp_path / "partial_0003" / "a").write_bytes(b"2")
    assert partial.latest() is None
    partial.remove()
    partial.remove()
    assert list(tmp_path.iterdir()) == []
