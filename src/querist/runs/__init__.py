"""Runs: durable things with an id."""

from querist.runs.open import close_run, create_run, list_runs, open_run, run_folder
from querist.runs.reference import RunReference
from querist.runs.run import Run

__all__ = [
    "Run",
    "RunReference",
    "close_run",
    "create_run",
    "list_runs",
    "open_run",
    "run_folder",
]
