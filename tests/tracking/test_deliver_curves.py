"""Curves in a real MLflow store: every point once, whatever happens on the way."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow import MlflowClient

from querist.runs.curves import append_curve
from querist.tracking.deliver import deliver
from querist.tracking.progress import PROGRESS_FILE
from querist.tracking.spool import TrackingSpool

from .conftest import Start
from .test_deliver import only_run, points


def curve(spool: TrackingSpool, name: str, first: int, last: int, *, before: int = 0) -> None:
    rows = [(epoch, 1 / epoch, None, 0.1) for epoch in range(first, last + 1)]
    append_curve(spool, name, rows, before=before, at=1000.0)


def test_curves_of_several_trainings_are_one(
    spool: TrackingSpool, start: Start, client: MlflowClient
) -> None:
    spool.append("start", **start())
    curve(spool, "curve 0 through epoch 3", 1, 3)
    curve(spool, "curve 0", 4, 6)
    spool.append("metrics", once="iteration 0", step=0, values={"train.seconds.forward": 0.5})
    curve(spool, "curve 1", 1, 4, before=6)
    curve(spool, "curve 1", 1, 4, before=6)
    append_curve(spool, "curve 2", [], before=10)
    assert deliver(spool.folder).delivered == 6

    run = only_run(client)
    history = points(client, run)
    assert [step for step, *_ in history["train.loss"]] == list(range(1, 11))
    assert [step for step, *_ in history["train.lr"]] == [1, 3, 4, 6, 7, 10]
    assert {time for *_, time in history["train.loss"]} == {1_000_000}
    assert "train.validation_loss" not in history
    assert history["train.seconds.forward"][0][:2] == (0, 0.5)
    (spool.folder / PROGRESS_FILE).unlink()  # as if killed before anything was noted
    assert deliver(spool.folder).delivered == 6
    assert points(client, only_run(client)) == history


@pytest.mark.parametrize(
    "damage",
    [
        {"rows": [[1, 0.5]]},
        {"columns": ["a"], "rows": [["one", 0.5]]},
        {"columns": ["a"], "rows": [[1, "half"]]},
        {"columns": ["a"], "rows": [[1, 0.5, 0.25]]},
        {"columns": ["a"], "rows": [[]]},
        {"columns": ["a"], "rows": 3},
    ],
)
def test_a_curve_that_is_none_is_named_and_the_rest_arrives(
    spool: TrackingSpool, start: Start, client: MlflowClient, damage: dict[str, Any]
) -> None:
    spool.append("start", **start())
    spool.append("curve", **damage)
    curve(spool, "curve 0", 1, 2)
    report = deliver(spool.folder)
    assert report.error is None
    (problem,) = report.problems
    assert problem.startswith("event 2 (curve): its rows are no steps and numbers (")
    assert set(points(client, only_run(client))) == {"train.loss", "train.lr"}


def test_the_points_of_a_curve_are_not_metrics_of_a_model(
    spool: TrackingSpool, start: Start
) -> None:
    """A model's metrics are those of its iteration, whose number may be an epoch's as well."""
    from querist.tracking.courier import Courier

    spool.append("start", **start())
    spool.append("metrics", step=1, values={"f1": 0.5})
    curve(spool, "curve 0", 1, 2)
    courier = Courier(spool.folder)
    courier.drain()
    assert set(courier._points_of_step[1]) == {"f1"}


def test_names_of_events_by_their_beginning(spool: TrackingSpool) -> None:
    assert spool.names("curve") == []
    assert not (spool.folder / "tracking.jsonl").exists()
    for name in ("curve 1 through epoch 3", "curve 1 through epoch 7", "curve 11 through epoch 9"):
        spool.append("curve", once=name, columns=[], rows=[])
    assert sorted(spool.names("curve 1 through ")) == [
        "curve 1 through epoch 3", "curve 1 through epoch 7",
    ]  # fmt: skip
