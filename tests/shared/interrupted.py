"""A run in a process of its own, for tests that kill it. On the tests' import path."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from examples.two_moons.model import MoonClassifier
from querist.faults import crash_at
from querist.requests import LabelRequest
from querist.values import Label


class Model(MoonClassifier):
    """A model of the user's own package."""


def _write_down(what: Any) -> None:
    """Keep a list of what was asked, as whoever bills for it does."""
    with open(os.environ["ASKED"], "a") as file:
        file.write(f"{json.dumps(what)}\n")
        file.flush()
        os.fsync(file.fileno())


def label(point: Any) -> int:
    """Ask somebody who bills every question."""
    _write_down(point.tolist())
    return int(point[1] < 0.25)


class Shop:
    """A label source that sells by key: it bills a key once, and knows what it has sold."""

    def label(self, request: LabelRequest) -> Iterator[Label]:
        sold = self._sold()
        for index, key in zip(request.indices.tolist(), request.keys, strict=True):
            if key not in sold:
                _write_down(key)
            yield self._label(request, index)

    def recall(self, request: LabelRequest) -> Iterator[Label]:
        """What was sold under these keys before."""
        sold = self._sold()
        for index, key in zip(request.indices.tolist(), request.keys, strict=True):
            if key in sold:
                yield self._label(request, index)

    def _label(self, request: LabelRequest, index: int) -> Label:
        point = request.pool.features(request.indices[request.indices == index])[0]
        return Label(index, int(point[1] < 0.25))

    def _sold(self) -> set[str]:
        file = Path(os.environ["ASKED"])
        return (
            {json.loads(line) for line in file.read_text().splitlines()} if file.exists() else set()
        )


def work(
    experiment_file: str,
    run_id: str,
    crash: str = "",
    asked: str = "",
    die_after: float | None = None,
    variables: Mapping[str, str] | None = None,
) -> None:
    """All of a run without Prefect, killed at a named point, or some time after its start."""
    os.environ.update(variables or {})
    from querist import phases
    from querist.config.load import load_experiment
    from querist.phases import begin, conclude
    from querist.phases.finish import finish_iteration
    from querist.phases.plan import pending_phases
    from querist.runs import open_run

    os.environ["ASKED"] = asked
    os.chdir(Path(experiment_file).parent)
    crash_at(crash or None)
    if die_after is not None:
        _die_after(die_after)
    start = begin.begin(load_experiment(Path(experiment_file)), run_id)
    run = open_run(start.run)
    step, stopped = start.iteration, start.stopped
    while not stopped:
        for phase in pending_phases(run, step):
            getattr(phases, phase.value)(run, step)
        stopped = finish_iteration(run, step).stop
        step += 1
    conclude(run)
    sys.exit(0)


def _die_after(seconds: float) -> None:
    """SIGKILL by a process that watches, so that no Python lock decides when it comes."""
    victim = os.getpid()
    if os.fork() == 0:
        time.sleep(seconds)
        os.kill(victim, 9)
        os._exit(0)
