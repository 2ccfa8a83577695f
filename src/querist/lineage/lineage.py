"""A registered model on disk: its ledger, and a folder for each of its versions.

```
<root>/<model>/lineage.yaml            what it is made of, as it was made
              /ledger.db               items, retrainings, versions, verdicts, champions
              /items.jsonl             every item with the tag of its subset
              /versions/0007/settings.yaml  step_0007/  verdict.json  tracking.jsonl ...
```
"""

from __future__ import annotations

import os
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from querist.config.learner import VersionSettings
from querist.config.load import dump_yaml
from querist.config.retraining import Retraining
from querist.errors import RunExistsError, RunLockedError, RunNotFoundError, StorageError
from querist.faults import crash_point
from querist.ledger.leased import MADE
from querist.ledger.models import ModelLedger
from querist.lineage.reference import LineageReference
from querist.runs.checkpoints import Checkpoints
from querist.runs.lock import LOCK_FILE, RunLock
from querist.runs.open import LEDGER_FILE, LEDGER_VARIABLE, checked_run_id
from querist.storage.atomic import TEMPORARY, create_folder, remove, write_file

LINEAGE_FILE = "lineage.yaml"
SETTINGS_FILE = "settings.yaml"
VERSIONS = "versions"
IDENTITY = "identity"
"""The fact that tells this model from others of its name, in a tracker that they share."""
_LEFT_BY_A_KILL = {
    LOCK_FILE, f"{TEMPORARY}{LINEAGE_FILE}",
    *(f"{LEDGER_FILE}{ending}" for ending in ("", "-wal", "-shm", "-journal")),
}  # fmt: skip
_open: dict[tuple[Path, bool], Lineage] = {}
_opening = threading.RLock()


@dataclass
class Lineage:
    """An open registered model.

    Attributes:
        reference: where it is.
        ledger: its ledger.
        lock: that of who retrains; None for whoever only compares, rolls back, or looks.
        kept: what a step has worked out and a later one may use instead of doing it again.
        holder: who has locked it in this process; only they let go of it.
    """

    reference: LineageReference
    ledger: ModelLedger
    lock: RunLock | None
    kept: dict[str, Any] = field(default_factory=dict)
    holder: str = ""

    def settings(self, retraining: int) -> Retraining:
        """The settings that a retraining was begun with."""
        content = self.ledger.retraining(retraining).settings
        return Retraining.model_validate_json(content)

    def identity(self) -> str:
        """What tells it from others of its name."""
        return str(self.ledger.fact(IDENTITY))

    def version_folder(self, version: int) -> Path:
        """Where a version's files are."""
        return version_folder(self.reference, version)

    def version_settings(self, version: int) -> VersionSettings:
        """What a version is."""
        return VersionSettings.model_validate(self.ledger.version(version).settings)

    def checkpoints(self, version: int) -> Checkpoints:
        """The one checkpoint of a version is that of the "iteration" of the same number."""
        return Checkpoints(self.version_folder(version))

    def weights(self, version: int) -> tuple[dict[str, bytes], dict[str, Any]]:
        """The files of a version's checkpoint, and its manifest.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        stored = self.ledger.version(version)
        return self.checkpoints(version).load(version, stored.checkpoint)

    def close(self) -> None:
        """Let go of it."""
        self.ledger.close()
        if self.lock is not None:
            self.lock.release()


def version_folder(reference: LineageReference, version: int) -> Path:
    """Where a version's files are."""
    return reference.folder / VERSIONS / f"{version:04d}"


def lineage_folder(model: str, root: Path) -> Path:
    """The folder of a registered model that exists.

    Raises:
        RunNotFoundError: there is none of this name.
        ConfigurationError: the name is malformed.
    """
    folder = root / checked_run_id(model)
    if not (folder / LINEAGE_FILE).is_file():
        known = ", ".join(list_lineages(root)[-5:]) or "none"
        raise RunNotFoundError(f"there is no model {model!r} in {root}: the newest are {known}")
    return folder


def is_lineage(folder: Path) -> bool:
    """Whether a folder is that of a registered model."""
    return (folder / LINEAGE_FILE).is_file()


def list_lineages(root: Path) -> list[str]:
    """The registered models in a folder, oldest first."""
    files = sorted(root.glob(f"*/{LINEAGE_FILE}"), key=lambda file: file.stat().st_mtime)
    return [file.parent.name for file in files]


def open_lineage(reference: LineageReference, *, to_retrain: bool) -> Lineage:
    """The registered model behind a reference; the same object as long as it is open here.

    Args:
        reference: where it is.
        to_retrain: whether to lock it. One process retrains a model at a time; verdicts and
            promotions need no lock.

    Raises:
        RunNotFoundError: there is no such model.
        RunLockedError: another process retrains it.
    """
    with _opening:
        folder = lineage_folder(reference.model, reference.root.absolute())
        for locked in (True,) if to_retrain else (True, False):
            if (folder, locked) in _open:
                return _open[folder, locked]
        lock = RunLock(folder) if to_retrain else None
        ledger = _ledger_at(folder)
        try:
            if to_retrain:
                ledger.open()
                ledger.set_fact(MADE, "1")  # a kill may have come between the file and the fact
            else:
                ledger.check_schema()
        except BaseException:
            ledger.close()
            if lock is not None:
                lock.release()
            raise
        reference = LineageReference(model=reference.model, root=folder.parent)
        _open[folder, to_retrain] = lineage = Lineage(reference, ledger, lock)
        return lineage


def create_or_open(settings: Retraining, holder: str = "") -> Lineage:
    """The registered model that `settings` names, locked; made unless it is there.

    Args:
        settings: the registered model.
        holder: a name of one's own, by which one lets go of it.

    Raises:
        RunLockedError: another process retrains it.
        RunExistsError: its folder is something else.
    """
    root = settings.root_log_dir.absolute()
    reference = LineageReference(model=checked_run_id(settings.model), root=root)
    with _opening:
        if (reference.folder, True) in _open:
            raise RunLockedError(settings.model, "another flow of this process")
        if not is_lineage(reference.folder):
            _create(reference, settings)
        lineage = open_lineage(reference, to_retrain=True)
        lineage.holder = holder
        return lineage


def _create(reference: LineageReference, settings: Retraining) -> None:
    folder = reference.folder
    if folder.exists():
        foreign = sorted({path.name for path in folder.iterdir()} - _LEFT_BY_A_KILL)
        if is_lineage(folder):  # another process was faster, and what it has made is not foreign
            return
        if foreign:
            raise RunExistsError(
                f"{folder} is there and is no registered model (it holds {foreign[0]!r}): choose "
                "another name for the model, or another root_log_dir"
            )
    create_folder(folder)
    lock = RunLock(folder)
    ledger = None
    try:
        if is_lineage(folder):  # another process was faster
            return
        ledger = _ledger_at(folder)
        ledger.create()  # refused where anything was done; what a kill left is made whole
        ledger.set_fact(IDENTITY, secrets.token_hex(16))
        crash_point("lineage.ledger")
        text = f"# querist {version_of('querist')}\n{dump_yaml(settings.model_dump(mode='json'))}"
        write_file(folder / LINEAGE_FILE, text.encode())
        ledger.set_fact(MADE, "1")
    except BaseException:
        with suppress(StorageError):
            remove(folder / LINEAGE_FILE)
        raise
    finally:
        if ledger is not None:
            ledger.close()
        lock.release()


def _ledger_at(folder: Path) -> ModelLedger:
    url = os.environ.get(LEDGER_VARIABLE)
    if url and not (folder / LEDGER_FILE).exists():
        return ModelLedger(url, folder.name)
    return ModelLedger(folder / LEDGER_FILE, folder.name)


def close_lineage(
    reference: LineageReference, *, to_retrain: bool, holder: str | None = None
) -> None:
    """Let go of a registered model that was opened so; does nothing where it was not.

    Args:
        reference: where it is.
        to_retrain: whether it was opened to retrain it.
        holder: only where it is theirs; None = whoever has opened it.
    """
    with _opening:
        place = (reference.folder.absolute(), to_retrain)
        lineage = _open.get(place)
        if lineage is None or holder not in (None, lineage.holder):
            return
        del _open[place]
        lineage.close()
