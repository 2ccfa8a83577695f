"""MLflow's tables in a new SQLite file, made by one process and put in place as a whole."""

from __future__ import annotations

import fcntl
import glob
from collections.abc import Callable
from pathlib import Path

from querist.storage.store import store


def make_database(path: Path, make_tables: Callable[[Path], object]) -> None:
    """Have the file at `path` made beside by `make_tables`, unless it is there.

    MLflow makes its tables in 60 migrations, about a second. Two processes that begin at once, or
    one that is killed meanwhile, would leave a file that no version of MLflow opens again.
    """
    store().make_folder(path.parent)
    with store().open(path.with_name(path.name + ".lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists() and path.stat().st_size:
            return
        beside = path.with_name(path.name + ".new")
        for rubbish in path.parent.glob(f"{glob.escape(beside.name)}*"):
            store().remove(rubbish)
        make_tables(beside)
        with store().open(beside, "rb") as made:
            store().sync(made)
        store().replace(beside, path)
        store().sync_folder(path.parent)
