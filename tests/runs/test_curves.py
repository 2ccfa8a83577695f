"""Curves in the tracker: of real trainings, few points, one after the other, each once."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from querist import phases
from querist.config.tracking import TrackingConfig
from querist.phases.conclude import conclude
from querist.progress import Progress, watched_by
from querist.runs import Run, curves
from querist.runs.model import bring_model_to
from querist.runs.status import read_status
from querist.runs.tracking import track_missing, track_start
from querist.tracking.spool import SPOOL_FILE, Event, TrackingSpool
from querist.training import watched
from querist.training.curve import TrainingCurve
from querist.training.job import EpochReport
from querist.values import Phase
from tests.shared.runs import BASE

Point = tuple[int, str, float]


@pytest.fixture
def tracked(new_run: Callable[..., Run]) -> Callable[..., Run]:
    def make(tracking: dict[str, Any] | None = None, **changes: Any) -> Run:
        where = {"enabled": True, "uri": "http://127.0.0.1:9", **(tracking or {})}
        run = new_run(tracking=where, **changes)
        track_start(run)
        return run

    return make


@pytest.fixture
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every training is a long one: each point is an event, and each epoch is told."""
    monkeypatch.setattr(curves, "LIVE_SECONDS", 0.0)
    monkeypatch.setattr(watched, "TOLD_SECONDS", 0.0)


def events(run: Run) -> list[Event]:
    return [e for e in TrackingSpool(run.reference.folder).events() if e.kind == "curve"]


def points(run: Run) -> list[Point]:
    return [
        (step, name, value)
        for event in events(run)
        for step, *values in event.payload["rows"]
        for name, value in zip(event.payload["columns"], values, strict=True)
        if value is not None
    ]


def steps(run: Run, name: str = "train.loss") -> list[int]:
    return [step for step, column, _ in points(run) if column == name]


def test_epochs_are_counted_over_all_iterations(tracked: Any, drive: Any) -> None:
    run = tracked(
        training={"max_training_epochs": 5, "max_fine_tuning_epochs": 3},
        data={"split": {"validation": 0.2}},
    )
    drive.finish(run)
    assert steps(run) == steps(run, "train.validation_loss") == list(range(1, 12))
    assert len(events(run)) == 3, "trainings that are over at once are one event each"
    for iteration, last in enumerate((5, 8, 11)):
        trained = run.ledger.phase_outcome(iteration, Phase.TRAIN)
        assert (last, "train.loss", trained["train_loss"]) in points(run)
        assert (last, "train.validation_loss", trained["validation_loss"]) in points(run)
        assert events(run)[iteration].time == run.ledger.phase_ended(iteration, Phase.TRAIN)
    assert steps(run, "train.lr") == [1, 5, 6, 8, 9, 11], "a straight line has two points"


def test_a_learning_rate_that_changes_has_all_its_points(tracked: Any, drive: Any) -> None:
    scheduler = {"name": "StepLR", "options": {"step_size": 4, "gamma": 0.1}}
    run = tracked(training={"max_training_epochs": 8, "scheduler": scheduler})
    drive.iterate(run, 0)
    found = [(step, round(value, 6)) for step, name, value in points(run) if name == "train.lr"]
    assert found == [(1, 0.1), (4, 0.1), (5, 0.01), (8, 0.01)]


@pytest.mark.usefixtures("told_at_once")
def test_a_thousand_epochs_are_few_points_and_few_events(tracked: Any) -> None:
    run = tracked(training={"max_training_epochs": 1000})
    phases.train(run, 0)
    chosen = steps(run)
    assert 40 <= len(chosen) <= 50
    assert (chosen[0], chosen[-1]) == (1, 1000)
    assert len(events(run)) <= 52
    assert len(json.loads(run.ledger.fact("curve 0"))) == len(chosen)


@pytest.mark.parametrize("live", [0.0, 3600.0])
def test_epochs_that_come_again_since_a_rank_was_lost(
    tracked: Any, monkeypatch: pytest.MonkeyPatch, live: float
) -> None:
    monkeypatch.setattr(curves, "LIVE_SECONDS", live)
    run = tracked()
    told = curves.LiveCurve(run, 0)
    curve = TrainingCurve(told.points)
    for epoch in (1, 2, 3, 4, 5, 3, 4, 5, 6):
        row = curve.add(EpochReport(epoch, 6, 1 / epoch))
        assert row is not None
        told.add(row)
    told.end(curve.rows, 1.0)
    assert steps(run) == [1, 2, 3, 4, 5, 6]


def test_an_ensemble_counts_the_epochs_of_each_member(
    tracked: Any, drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"member": BASE["learner"], "n": 2}
    monkeypatch.setitem(BASE, "learner", {"name": "ensemble", "options": options})
    run = tracked(training={"clip_grad_norm": 1.0, "checkpoint_epochs": 1})
    drive.finish(run)
    assert steps(run) == list(range(1, 1 + 3 * 2 * 2))


def test_a_training_by_two_processes_has_one_curve(tracked: Any) -> None:
    run = tracked(
        training={"processes": 2, "batch_size": 4, "max_training_epochs": 4, "checkpoint_epochs": 2}
    )
    phases.train(run, 0)
    assert steps(run) == [1, 2, 3, 4]
    trained = run.ledger.phase_outcome(0, Phase.TRAIN)
    assert trained["samples"] >= 4 * trained["labels"]
    assert trained["samples_per_second"] > 0
    assert "forward" in trained["seconds"]


def test_a_short_training_is_one_event_however_many_epochs(tracked: Any) -> None:
    run = tracked(training={"max_training_epochs": 60}, tracking={"training_curves": 10})
    phases.train(run, 0)
    assert len(events(run)) == 1
    assert 4 <= len(steps(run)) <= 10


@pytest.mark.usefixtures("told_at_once")
@pytest.mark.parametrize("every", [0, 2])
@pytest.mark.parametrize("killed_at", [1, 5, 6])
def test_a_killed_training_tells_what_is_missing_and_nothing_twice(
    tracked: Any, drive: Any, every: int, killed_at: int
) -> None:
    training = {"max_training_epochs": 6, "checkpoint_epochs": every}
    whole = tracked(training=training)
    drive.finish(whole)
    run = tracked(training=training)
    drive.iterate(run, 0)

    def kill(progress: Progress) -> None:
        if progress.epoch >= killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), watched_by(kill):
        phases.train(run, 1)
    told = steps(run)
    assert told[-1] == 6 + killed_at
    run = drive.reopened(run)
    track_start(run)
    track_missing(run)
    drive.finish(run)
    assert steps(run) == list(range(1, 19))
    losses = [point for point in points(run) if point[1] == "train.loss"]
    assert losses == [point for point in points(whole) if point[1] == "train.loss"]


@pytest.mark.usefixtures("told_at_once")
def test_what_a_power_cut_took_is_told_again(tracked: Any, drive: Any) -> None:
    run = tracked(training={"max_training_epochs": 6})
    drive.finish(run)
    path = run.reference.folder / SPOOL_FILE
    lines = path.read_bytes().splitlines(keepends=True)
    for kept in range(2, len(lines)):
        path.write_bytes(b"".join(lines[:kept]))
        run = drive.reopened(run)
        track_start(run)
        track_missing(run)
        track_missing(run)
        assert sorted(steps(run)) == list(range(1, 19))


def test_a_process_that_died_before_it_told_the_curve(
    tracked: Any, drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tracked()
    with monkeypatch.context() as patch:
        patch.setattr(curves.LiveCurve, "end", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            phases.train(run, 0)
    assert events(run) == []
    run = drive.reopened(run)
    drive.iterate(run, 0)
    assert steps(run) == [1, 2]


def test_a_training_that_is_done_again_for_its_model_tells_nothing(
    tracked: Any, drive: Any
) -> None:
    run = tracked()
    drive.finish(run)
    before = points(run)
    bring_model_to(run, 0)
    assert points(run) == before


def test_a_run_that_an_older_version_began_counts_its_epochs(
    tracked: Any, drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tracked()
    with monkeypatch.context() as patch:
        patch.setattr(import_module("querist.phases.train"), "EPOCHS_THROUGH", "not_kept_then")
        patch.setattr(import_module("querist.phases.train"), "curve_facts", lambda *_: {})
        patch.setattr(curves.LiveCurve, "end", lambda *_: None)
        for iteration in (0, 1):
            drive.iterate(run, iteration)
    assert points(run) == []
    drive.iterate(run, 2)
    assert steps(run) == [5, 6]
    track_missing(run)
    assert steps(run) == [5, 6]


@pytest.mark.parametrize("off", [{"training_curves": 0}, {"enabled": False}])
def test_without_curves(tracked: Any, drive: Any, off: dict[str, Any]) -> None:
    run = tracked(tracking=off)
    drive.finish(run)
    assert events(run) == []
    assert run.ledger.fact("curve 0") is None


def test_a_curve_has_a_shape() -> None:
    with pytest.raises(ValueError, match="0 or at least 4 points, not 3: raise it"):
        TrackingConfig(training_curves=3)
    assert TrackingConfig(training_curves=4).training_curves == 4


# Time, throughput and memory ----------------------------------------------------------------------


def test_the_time_of_a_training_is_metrics_of_its_iteration(tracked: Any, drive: Any) -> None:
    run = tracked()
    drive.finish(run)
    said = [e for e in TrackingSpool(run.reference.folder).events() if e.kind == "metrics"]
    for iteration in range(3):
        values = next(e.payload for e in said if e.once == f"iteration {iteration}")["values"]
        trained = run.ledger.phase_outcome(iteration, Phase.TRAIN)
        assert trained["samples"] == 2 * trained["labels"]
        assert values["train.samples_per_second"] == trained["samples_per_second"] > 0
        assert values["train.seconds.forward"] == trained["seconds"]["forward"]
        assert values["train.seconds.checkpoint"] > 0, "the checkpoint at its end is part of it"
        assert "train.device_memory_mb" not in values, "there is no device"
        assert sum(trained["seconds"].values()) <= values["seconds_train"] + 0.01


def test_bytes_of_the_device_are_megabytes() -> None:
    assert curves.training_metrics({"device_memory": 512 * 10**6}) == {
        "train.device_memory_mb": 512.0
    }
    assert curves.training_metrics({"labels": 3}) == {}


def test_summary_and_status_say_where_training_time_went(tracked: Any, drive: Any) -> None:
    run = tracked()
    drive.finish(run)
    summary = conclude(run)
    assert summary.training.samples == sum((10, 15, 20)) * 2
    assert summary.training.whole == summary.seconds["train"]
    assert {"forward", "backward", "checkpoint"} <= set(summary.training.seconds)
    again = conclude(drive.reopened(run))
    assert again == summary
    assert read_status(run.reference).training == summary.training


def test_the_summary_of_an_older_version_is_read(tracked: Any, drive: Any) -> None:
    run = tracked()
    drive.finish(run)
    summary = conclude(run)
    path = run.reference.folder / "summary.json"
    content = json.loads(path.read_text())
    del content["training"]
    path.write_text(json.dumps(content))
    again = conclude(drive.reopened(run))
    assert again.training.seconds == {}
    assert again.seconds == summary.seconds
