"""What `querist run` spent its time on, read from the run's folder and Prefect's database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median
from typing import Any

PHASES = ("train", "metrology", "query", "label")


def read_job(root: Path, home: Path, *, started: float, ended: float) -> dict[str, Any]:
    """What the one run in `root` did, and its stages in seconds; they add up to the wall time.

    Args:
        root: the folder of the run folders.
        home: `PREFECT_HOME`.
        started: Unix time of the command's start.
        ended: Unix time of its end.
    """
    (summary_file,) = root.glob("*/summary.json")
    folder = summary_file.parent
    events = [json.loads(line) for line in (folder / "driver_log.json").read_text().splitlines()]
    phases = [event for event in events if event["event"] == "end"]
    commits = [event["time"] for event in events if event["event"] == "commit"]
    first = phases[0]["time"] - phases[0]["seconds"]
    seconds = {
        phase: sum(event["seconds"] for event in phases if event["phase"] == phase)
        for phase in PHASES
    }
    between = list(_between_phases(phases, commits))
    flow_started, flow_ended = flow_times(home)
    drawn = max(path.stat().st_mtime for path in (folder / "figures").iterdir())
    concluded = summary_file.stat().st_mtime
    stages = {
        "start-up: imports, Prefect's server": flow_started - started,
        "start-up: the run is made": first - flow_started,
        **seconds,
        "between phases": commits[-1] - first - sum(seconds.values()),
        "conclusion: figures": drawn - commits[-1],
        "conclusion: model, summary": concluded - drawn,
        "conclusion: report, draining the tracker": flow_ended - concluded,
        "conclusion: server stop, exit": ended - flow_ended,
    }
    return {
        "first_iteration": first,
        "steps": optimizer_steps(folder),
        "f1": json.loads(summary_file.read_bytes())["last"],
        "stages": stages,
        "between": {
            "mean": mean(between),
            "median": median(between),
            "max": max(between),
        },
    }


def _between_phases(phases: list[dict[str, Any]], commits: list[float]) -> Iterator[float]:
    """For each iteration: the seconds from one commit to the next in which no phase ran."""
    before = phases[0]["time"] - phases[0]["seconds"]
    for iteration, commit in enumerate(commits):
        ran = sum(event["seconds"] for event in phases if event["iteration"] == iteration)
        yield commit - before - ran
        before = commit


def optimizer_steps(folder: Path) -> int:
    """All optimizer steps of a run, from its ledger."""
    rows = _rows(folder / "ledger.db", "SELECT outcome FROM phases WHERE phase = 'train'")
    return sum(json.loads(outcome)["steps"] for (outcome,) in rows)


def flow_times(home: Path) -> tuple[float, float]:
    """Unix time of start and end of the newest `active_learning` flow."""
    ((started, ended),) = _rows(
        home / "prefect.db",
        "SELECT start_time, end_time FROM flow_run JOIN flow ON flow.id = flow_run.flow_id "
        "WHERE flow.name = 'active_learning' ORDER BY start_time DESC LIMIT 1",
    )
    return _unix(started), _unix(ended)


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _rows(database: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()
