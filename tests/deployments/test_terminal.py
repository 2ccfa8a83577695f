"""What a person sees."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from querist.comparison import Saving, VariantResult
from querist.deployments import terminal
from querist.deployments.terminal import Watch, show_comparison, show_summary
from querist.flows.comparison import ComparisonResult
from querist.phases.conclude import Summary
from querist.progress import Progress, tell
from querist.training.watched import Spent
from querist.values import Phase


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(terminal, "time", clock)
    return clock


def lines(*, terminal: bool = False) -> tuple[Console, Callable[[], str]]:
    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=terminal, width=80)
    return console, buffer.getvalue


def progress(iteration: int, phase: Phase | None = None, **more: Any) -> Progress:
    more = {"labels": 50 + 10 * iteration, "iterations": 10, **more}
    return Progress(run_id="r", name="two-moons", iteration=iteration, phase=phase, **more)


def test_lines_where_there_is_no_terminal(clock: Clock) -> None:
    console, text = lines()
    with Watch(console).shown():
        tell(progress(0, Phase.TRAIN))
        clock.now = 1.0
        tell(progress(0, Phase.TRAIN, loss=0.5))  # too soon after the line before
        clock.now = 10.0
        tell(progress(0, metrics={"precision": 0.9, "f1": 0.75}))
        clock.now = 20.0
        tell(progress(1, Phase.TRAIN))
    tell(progress(2))  # nobody watches any more
    assert text().splitlines() == [
        "two-moons: iteration 1 of 10, 50 labels",
        "two-moons: iteration 1 of 10, 50 labels, loss 0.500, F1 0.750, 1 min 30 s left",
        "two-moons: iteration 2 of 10, 60 labels, loss 0.500, F1 0.750, 3 min 00 s left",
    ]


def test_the_last_iteration_has_its_line_however_soon(clock: Clock) -> None:
    console, text = lines()
    with Watch(console).shown():
        tell(progress(8))
        tell(progress(9, metrics={"mse": 0.25, "mae": 0.5, "r2": 0.1}))
    assert text().splitlines()[-1] == (
        "two-moons: iteration 10 of 10, 140 labels, mse 0.250, mae 0.500"
    )


def test_time_left_counts_from_where_a_run_was_resumed(clock: Clock) -> None:
    console, text = lines()
    with Watch(console).shown():
        tell(progress(6, Phase.TRAIN))
        clock.now = 3600.0
        tell(progress(6))
    assert text().splitlines()[-1].endswith("3 h 00 min left")


def test_a_bar_on_a_terminal(clock: Clock) -> None:
    console, text = lines(terminal=True)
    with Watch(console).shown():
        tell(progress(3, metrics={"f1": 0.5}))
    assert "two-moons" in text()
    assert "4/10" in text()


def training(epoch: int, iteration: int = 0, **more: Any) -> Progress:
    more = {"epochs": 1000, "loss": 0.51234, **more}
    return progress(iteration, Phase.TRAIN, epoch=epoch, **more)


def test_a_long_training_has_its_epochs_on_the_line(clock: Clock) -> None:
    console, text = lines()
    with Watch(console).shown():
        tell(training(0, epochs=0, loss=None))
        clock.now = 1.0
        tell(training(100))
        clock.now = 6.0
        tell(training(600, validation_loss=0.25, samples_per_second=123456.7))
        clock.now = 12.0
        tell(progress(0, Phase.METROLOGY))
    assert text().splitlines() == [
        "two-moons: iteration 1 of 10, 50 labels",
        "two-moons: iteration 1 of 10, epoch 600 of 1000, loss 0.512, validation loss 0.25, "
        "123,000 samples/s, 50 labels",
        "two-moons: iteration 1 of 10, 50 labels, loss 0.512",
    ]


def test_short_trainings_have_no_bar_of_their_own(clock: Clock) -> None:
    console, text = lines(terminal=True)
    with Watch(console).shown():
        for iteration in range(3):
            for epoch in range(0, 1001, 500):
                clock.now += 0.5
                tell(training(epoch, iteration))
            tell(progress(iteration))
    assert "3/10" in text()
    assert "epochs" not in text()


def test_once_a_training_was_long_epochs_have_a_bar(clock: Clock) -> None:
    console, text = lines(terminal=True)
    console.width = 160
    watch = Watch(console)
    with watch.shown():
        tell(training(1))
        clock.now = 3.0
        tell(training(400, validation_loss=0.25, samples_per_second=88.8))
        assert watch._bar is not None
        rows = [task.description for task in watch._bar.tasks if task.visible]
        watch._bar.refresh()
        shown = text()
        tell(progress(0))
        tell(training(7, iteration=1))  # the next one, from its first epochs on
        (bar,) = (task for task in watch._bar.tasks if "epochs" in task.description)
        assert (bar.completed, bar.total, bar.visible) == (7, 1000, True)
    assert rows == ["two-moons", "  epochs"]
    assert "400/1000" in shown
    assert "loss 0.512, validation loss 0.25, 88.8 samples/s" in shown
    assert not bar.visible, "at the end there is only what was done"


SUMMARY = Summary(
    run_id="cafe0001",
    folder="/somewhere/active_learning_logs/cafe0001",
    stop_reason="max iterations: 4",
    iterations=4,
    labels=90,
    labels_bought=40,
    metric="f1",
    first=0.5,
    last=0.75,
    model_iteration=3,
    seconds={"train": 100.0, "metrology": 1.0},
)
URI = "sqlite:////somewhere/that/is/quite/long/active_learning_logs/mlflow.db"


def test_the_summary() -> None:
    console, text = lines()
    show_summary(console, SUMMARY, 110.0, tracking=URI, whole=True)
    shown = text()
    assert "cafe0001 (max iterations: 4)" in shown
    assert "0.500 at first, 0.750 at last" in shown
    assert "90 (50 at the start, 40 bought)" in shown
    assert "110.0 s; train 100.0 s, metrology 1.0 s, all else 9.0 s" in shown
    assert "training" not in shown, "nobody measured it"
    assert "prefect server start" in shown
    # What is to be copied stands on one line.
    assert f"mlflow ui --backend-store-uri {URI}" in shown


def test_the_summary_says_where_the_time_of_training_went() -> None:
    console, text = lines()
    spent = Spent(100.0, {"forward": 50.0, "backward": 25.0, "checkpoint": 0.1}, 9, 1234.5)
    show_summary(console, replace(SUMMARY, training=spent), 110.0, tracking=None, whole=True)
    assert (
        "training    forward 50 %, backward 25 %, other 25 %; 1,230 samples/s" in text()
    )


def test_the_summary_of_a_resumed_run_does_not_pretend() -> None:
    console, text = lines()
    show_summary(console, SUMMARY, 20.0, tracking=None, whole=False)
    assert "20.0 s; over the whole run train 100.0 s" in text()
    assert "all else" not in text()
    assert "mlflow" not in text()


def test_a_comparison() -> None:
    def variant(name: str, last: float) -> VariantResult:
        return VariantResult(name, (((50, 0.5), (60, last)),) * 2, last, 0.01, 0.6, 0.02)

    result = ComparisonResult(
        comparison_id="c",
        folder="/somewhere/c",
        metric="f1",
        baseline="random",
        variants=(variant("uncertainty", 0.8), variant("random", 0.7)),
        savings=(Saving("uncertainty", 0.7, 50, 60), Saving("uncertainty", 0.6, 60, 50)),
    )
    console, text = lines()
    show_comparison(console, result, 130.0)
    shown = text()
    assert "0.800 ± 0.010" in shown
    assert "2 seeds" in shown
    assert "uncertainty needs 50 labels, random 60: saves 10 labels" in " ".join(shown.split())
    assert "costs 10 labels" in shown
    assert "/somewhere/c/comparison.png   (2 min 10 s)" in shown


@pytest.mark.parametrize("terminal", [False, True])
def test_what_the_stop_criteria_say_is_said_now_and_then(clock: Clock, terminal: bool) -> None:
    console, text = lines(terminal=terminal)
    with Watch(console).shown():
        for iteration in range(3):
            clock.now = 3.0 * iteration
            tell(progress(iteration))
            tell(progress(iteration, outlook=f"{iteration} of [7] labels"))
    said = [line.strip() for line in text().splitlines() if "of [7]" in line]
    assert [line[line.index("two-moons") :] for line in said] == [
        "two-moons: iteration 1: 0 of [7] labels",
        "two-moons: iteration 3: 2 of [7] labels",
    ]
