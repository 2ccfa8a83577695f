"""A schedule fires three times: what is new is learned once, and twice there is nothing to do.

Every 40 seconds here; tests/faults/test_schedule.py has the minutes of cron.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import yaml
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from querist.ledger.models import Promotion

from ..conftest import Cli
from ..shared.models import SETTINGS, Place, blob
from .test_serve import api, ask, deployment, here, serving

__all__ = ["api", "here"]
LEARNED = "Promoted"
AHEAD = timedelta(seconds=10)
"""A runner takes flow runs so long before their time."""
NOTHING = ("Nothing new", "nothing to learn: no new label")


def served_place(cli: Cli) -> tuple[Place, str]:
    """A folder with items and the file that retrains on them; the place, and the file's name."""
    place = Place(cli.cwd)
    place.add(blob(number) for number in range(60))
    data = {**SETTINGS["data"], "source": {
        "name": "files", "options": {"classes": 2, "folder": str(place.folder / "items")},
    }}  # fmt: skip
    content = {**SETTINGS, "data": data, "root_log_dir": str(place.root)}
    (cli.cwd / "blobs.yaml").write_text(yaml.safe_dump(content))
    return place, "blobs.yaml"


def first_fired(api: str, made: Any, count: int, seconds: float) -> list[FlowRun]:
    """The first flow runs of a schedule, once all of them have ended."""
    until = time.monotonic() + seconds
    wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[made.id]))
    first = FlowRunSort.EXPECTED_START_TIME_ASC
    while True:
        runs = ask(api, lambda client: client.read_flow_runs(
            flow_run_filter=wanted, sort=first, limit=count
        ))  # fmt: skip
        if len(runs) == count and all(run.state and run.state.is_final() for run in runs):
            return runs
        assert time.monotonic() < until, outcomes(runs)
        time.sleep(1)


def scheduled_for(run: FlowRun) -> datetime:
    """When a flow run was to start."""
    assert run.expected_start_time is not None
    return run.expected_start_time


def outcomes(runs: Iterable[FlowRun]) -> list[tuple[str, str]]:
    """Names and messages of the flow runs' states."""
    return [(run.state.name or "", run.state.message or "") for run in runs if run.state]


def check_fired(
    runs: list[FlowRun], made: Any, place: Place, interval: timedelta
) -> list[tuple[str, str]]:
    """One flow run learned, the others did nothing; each was to start at a time of its own."""
    found = outcomes(runs)
    assert [name for name, _ in found] == [LEARNED, "Nothing new", "Nothing new"], found
    assert found[1:] == [NOTHING, NOTHING]
    assert all(run.deployment_id == made.id and run.auto_scheduled for run in runs)
    times = [scheduled_for(run) for run in runs]
    assert [later - before for before, later in pairwise(times)] == [interval, interval]
    for run in runs:
        assert run.start_time is not None
        assert run.start_time >= scheduled_for(run) - AHEAD
    with place.look() as lineage:
        ledger = lineage.ledger
        assert list(ledger.versions()) == [1], "there was one thing to learn"
        assert ledger.champion() == 1
        assert [event_of(one) for one in ledger.promotions()] == [("promoted", 1, None, 1)]
        window = ledger.retraining(1).window
    assert datetime.fromisoformat(window) == times[0].replace(microsecond=0)
    return found


def event_of(one: Promotion) -> tuple[str, int, int | None, int | None]:
    """What an event of the history of champions changed."""
    return one.event, one.version, one.champion_before, one.champion


@pytest.mark.timeout(400)
def test_it_learns_once_and_then_does_nothing(api: str, here: Cli) -> None:
    place, file = served_place(here)
    with serving(here, file, "--every", 40):
        made = deployment(api, "retraining/blobs")
        runs = first_fired(api, made, 3, 300)
    check_fired(runs, made, place, timedelta(seconds=40))
