"""Settings of the loop itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from querist.config.group import Group

RUN_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def check_run_id(run_id: str) -> str:
    """A run id that is safe as a folder name.

    Raises:
        ValueError: it has other characters, is too long, or has two dots in a row.
    """
    import re

    if not re.fullmatch(RUN_ID_PATTERN, run_id, re.ASCII) or ".." in run_id:
        raise ValueError(
            f"a run id has 1 to 64 letters, digits, '.', '_' or '-', starts with a letter or "
            f"digit and has no '..', unlike {run_id[:80]!r}: choose another"
        )
    return run_id


LONGEST_PART = 255
LONGEST_PATH = 3000
"""Bytes that file systems take, less what a run's own files need."""


def check_folder(folder: Path) -> Path:
    """A folder's path that every file system and every configuration file can hold.

    Raises:
        ValueError: it is too long, has control characters, or is not UTF-8.
    """
    try:
        longest = max((len(part.encode()) for part in folder.parts), default=0)
        fits = longest <= LONGEST_PART and len(str(folder).encode()) <= LONGEST_PATH
    except UnicodeEncodeError:
        fits = False
    if not fits or any(ord(c) < 32 or ord(c) == 127 for c in str(folder)):
        raise ValueError(
            f"a folder's path is UTF-8 without control characters, with at most {LONGEST_PART} "
            f"bytes between slashes and {LONGEST_PATH:,} in all, unlike {str(folder)[:80]!r}: "
            "choose another"
        )
    return folder


RunId = Annotated[str, AfterValidator(check_run_id)]


class DriverConfig(Group):
    """How long the loop goes on, and where it writes."""

    max_active_learning_steps: int = Field(default=10, ge=1, le=10**6)
    """Iterations at most; stop criteria may end the run earlier."""

    checkpoint_interval: int = Field(default=1, ge=0, le=10**6)
    """Keep the checkpoint of every so many iterations; 0 keeps only the one that resume needs."""

    root_log_dir: Annotated[Path, AfterValidator(check_folder)] = Path("active_learning_logs")
    """Folder that holds the run folders."""

    run_id: RunId | None = None
    """Name of the run's folder. Default: 8 random hex characters."""

    parent: RunId | None = None
    """The parallel run that this run is a learner of; a parallel run sets it for its learners."""

    share_labels: bool = True
    """Keep the ledger with the parent's other learners: a label that one of them has bought from
    the same source costs the others nothing."""

    skip_training: bool = False
    """Query with the model as it is, without training it."""

    skip_metrology: bool = False
    """Measure nothing."""

    skip_labeling: bool = False
    """Choose samples, but ask nobody; the labeled set stays as it is."""
