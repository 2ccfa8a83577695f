"""Checkpoints: a folder a step, whole or absent, every file with its SHA-256."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from querist.errors import CheckpointError
from querist.storage.atomic import (
    TEMPORARY,
    create_folder,
    remove,
    sha256,
    storage_errors,
    write_folder,
)

MANIFEST = "manifest.json"
_STEP = re.compile(r"step_(\d{4,})")


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        create_folder(folder)

    def path(self, iteration: int) -> Path:
        """The folder of an iteration's checkpoint."""
        return self._folder / f"step_{iteration:04d}"

    def save(self, iteration: int, files: Mapping[str, bytes], about: Mapping[str, Any]) -> str:
        """Write a checkpoint; returns the SHA-256 of its manifest."""
        manifest = json.dumps(
            {
                "iteration": iteration,
                **about,
                "files": {name: sha256(content) for name, content in files.items()},
            },
            indent=1,
        ).encode()
        write_folder(self.path(iteration), {**files, MANIFEST: manifest})
        return sha256(manifest)

    def load(
        self, iteration: int, digest: str | None = None
    ) -> tuple[dict[str, bytes], dict[str, Any]]:
        """A checkpoint's files and its manifest.

        Args:
            iteration: which one.
            digest: SHA-256 that its manifest must have; None = any.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        return read_checkpoint(self.path(iteration), digest)

    def digests(self, iteration: int, digest: str) -> dict[str, str]:
        """SHA-256 of a checkpoint's files by name, as its manifest says.

        Raises:
            CheckpointError: the manifest is missing or damaged.
        """
        return dict(_manifest(self.path(iteration), digest)["files"])

    def iterations(self) -> list[int]:
        """The iterations that have a checkpoint, ascending."""
        return list(checkpoints_in(self._folder))

    def prune(self, *, newest: int, interval: int, keep: frozenset[int]) -> None:
        """Remove the checkpoints that nobody asked to keep.

        Args:
            newest: the one that resume needs; older ones go unless the interval keeps them.
            interval: every so many iterations stay; 0 = none of them.
            keep: iterations that stay whatever the interval says.
        """
        for iteration in self.iterations():
            by_interval = interval > 0 and (iteration + 1) % interval == 0
            if iteration < newest and not by_interval and iteration not in keep:
                remove(self.path(iteration))

    def clear_rubbish(self, recorded: frozenset[int]) -> None:
        """Remove what a killed process left: half-written, or whole and never recorded.

        Args:
            recorded: the iterations whose training is in the ledger.
        """
        for path in self._folder.glob(f"{TEMPORARY}*"):
            remove(path)
        for iteration in self.iterations():
            if iteration not in recorded:
                remove(self.path(iteration))


def checkpoints_in(folder: Path) -> dict[int, Path]:
    """The checkpoints in a folder by iteration, ascending. It only looks."""
    with storage_errors(folder):
        found = [(_STEP.fullmatch(path.name), path) for path in folder.iterdir()]
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def read_checkpoint(
    folder: Path, digest: str | None = None
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """A checkpoint folder's files and manifest, every hash checked before anything is parsed.

    Args:
        folder: where it is.
        digest: SHA-256 that its manifest must have; None = any.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    manifest = _manifest(folder, digest)
    files = {}
    for name, expected in manifest["files"].items():
        try:
            files[name] = (folder / Path(name).name).read_bytes()
        except OSError as error:
            raise CheckpointError(f"checkpoint {folder} cannot be read: {error}") from error
        if sha256(files[name]) != expected:
            raise CheckpointError(
                f"checkpoint {folder} is damaged: {name} does not have the SHA-256 of its manifest"
            )
    return files, manifest


def _manifest(folder: Path, digest: str | None) -> dict[str, Any]:
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise CheckpointError(f"checkpoint {folder} cannot be read: {error}") from error
    if digest is not None and sha256(content) != digest:
        raise CheckpointError(
            f"checkpoint {folder} is damaged: its manifest does not have the SHA-256 of the ledger"
        )
    try:
        manifest = json.loads(content)
        files = {str(name): str(expected) for name, expected in manifest["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"checkpoint {folder} cannot be read: {error}") from error
    return {**manifest, "files": files}


class PartialCheckpoint:
    """The state of one training in the middle: implements `protocols.PartialCheckpoints`."""

    def __init__(self, checkpoints: Path, iteration: int) -> None:
        self._folder = checkpoints / f"partial_{iteration:04d}"

    def save(self, epoch: int, files: Mapping[str, bytes]) -> None:
        """Keep `files` as the state after `epoch` epochs; replaces the one before."""
        manifest = {"epoch": epoch, "files": {n: sha256(c) for n, c in files.items()}}
        write_folder(self._folder, {**files, MANIFEST: json.dumps(manifest).encode()})

    def latest(self) -> tuple[int, dict[str, bytes]] | None:
        """The newest state that is whole, with its epoch; None when there is none."""
        try:
            files, manifest = read_checkpoint(self._folder)
        except CheckpointError:
            return None
        return int(manifest["epoch"]), files

    def remove(self) -> None:
        """The training is done, and its real checkpoint is written."""
        remove(self._folder)
