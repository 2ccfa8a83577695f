"""Runs an experiment by its phases alone: `python phases_alone.py EXPERIMENT.yaml RUN_ID`."""

from __future__ import annotations

import sys
from pathlib import Path

from querist import phases
from querist.config import load_experiment
from querist.phases.begin import begin
from querist.runs import close_run, open_run
from tests.shared.runs import finish


def main(file: str, run_id: str) -> None:
    start = begin(load_experiment(Path(file), ["tracking.enabled=false"]), run_id)
    run = open_run(start.run)
    if not start.stopped:
        finish(run)
    phases.conclude(run)
    close_run(start.run)


if __name__ == "__main__":
    main(*sys.argv[1:])
