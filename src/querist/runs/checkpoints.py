"""Checkpoints: a folder a step, whole or absent, every file with its SHA-256."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from querist.errors import CheckpointError
from querist.storage.atomic import TEMPORARY, sha256, write_folder

MANIFEST = "manifest.json"
_STEP = re.compile(r"step_(\d{4,})")


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

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

    def load(self, iteration: int) -> tuple[dict[str, bytes], dict[str, Any]]:
        """A checkpoint's files and its manifest.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        return read_checkpoint(self.path(iteration))

    def iterations(self) -> list[int]:
        """The iterations that have a checkpoint, ascending."""
        found = (_STEP.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

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
                shutil.rmtree(self.path(iteration), ignore_errors=True)

    def clear_rubbish(self) -> None:
        """Remove what a killed process left half-written."""
        for path in self._folder.glob(f"{TEMPORARY}*"):
            shutil.rmtree(path, ignore_errors=True)


def read_checkpoint(folder: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """A checkpoint folder's files and manifest, every hash checked before anything is parsed.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        files = {name: (folder / Path(name).name).read_bytes() for name in manifest["files"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"checkpoint {folder} cannot be read: {error}") from error
    for name, content in files.items():
        if sha256(content) != manifest["files"][name]:
            raise CheckpointError(
                f"checkpoint {folder} is damaged: {name} does not have the SHA-256 of its manifest"
            )
    return files, manifest


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
        shutil.rmtree(self._folder, ignore_errors=True)
