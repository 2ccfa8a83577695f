"""Two moons by Querist's phases as plain functions, without Prefect.

`python benchmarks/moons_functions.py ROOT [--iterations N] [--tracking]` prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from querist.config.load import apply_overrides, build_experiment, read_yaml
from querist.phases import (
    commit_iteration,
    conclude,
    decide,
    label,
    metrology,
    pending_phases,
    query,
    train,
)
from querist.runs import close_run, create_run
from querist.runs.run import Run
from querist.runs.tracking import track_start
from querist.tracking.delivery import Delivery
from querist.values import Phase

EXPERIMENT = Path("examples/two_moons/experiment.yaml")
PHASES = {Phase.TRAIN: train, Phase.METROLOGY: metrology, Phase.QUERY: query, Phase.LABEL: label}


def overrides(root: Path, iterations: int) -> list[str]:
    """What the benchmark changes in the experiment."""
    return [f"driver.root_log_dir={root}", f"driver.max_active_learning_steps={iterations}"]


def iterate(run: Run) -> float:
    """The loop; returns the seconds spent on committing."""
    iteration, committing = 0, 0.0
    while True:
        for phase in pending_phases(run, iteration):
            PHASES[phase](run, iteration)
        started = time.time()
        commit_iteration(run, iteration)
        committing += time.time() - started
        if decide(run, iteration).stop:
            return committing
        iteration += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--iterations", type=int, default=70)
    parser.add_argument("--tracking", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    changes = overrides(options.root, options.iterations)
    changes.append(f"tracking.enabled={str(options.tracking).lower()}")
    content = apply_overrides(read_yaml(EXPERIMENT), changes)
    run = create_run(build_experiment(content, str(EXPERIMENT)))
    track_start(run)
    delivery = Delivery(run.reference.folder) if options.tracking else None
    if delivery is not None:
        delivery.start()
    first_iteration = time.time()
    committing = iterate(run)
    iterated = time.time()
    summary = conclude(run)
    steps = sum(outcome.get("steps", 0) for *_, outcome in run.ledger.phase_rows())
    concluded = time.time()
    if delivery is not None:
        state = delivery.wait(run.experiment.tracking.drain_seconds)
        assert state.delivered, state
    drained = time.time()
    close_run(run.reference)
    report = {
        "first_iteration": first_iteration,
        "steps": steps,
        "f1": summary.last,
        "commit": committing,
        "iterations": iterated - first_iteration,
        "conclude": concluded - iterated,
        "drain": drained - concluded,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
