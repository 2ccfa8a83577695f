"""What is seen of a training: throughput, parts of its time, and how it goes on."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from querist.pools import LabeledSet, TensorPool
from querist.progress import Progress, watched_by
from querist.training import watched
from querist.training.job import EpochReport, TrainingJob, TrainingReport
from querist.training.watched import PARTS, EpochsTold, Spent, fit_watched, in_words, spent_on
from querist.values import Phase

FEATURES = torch.rand(40, 2, generator=torch.Generator().manual_seed(5))
DATA = LabeledSet(TensorPool(FEATURES), torch.arange(40), FEATURES.sum(1))
TRAINING = Progress("r", "r", 0, 1, Phase.TRAIN, labels=40)


def test_a_real_training(job: Any, learner: Any) -> None:
    seen: list[EpochReport] = []
    made = learner(lambda: nn.Linear(2, 1), None)
    wanted = job(batch_size=16, max_training_epochs=5, on_epoch=seen.append)
    fitted = fit_watched(made, DATA, replace(wanted, validation=DATA), points=4)
    assert [report.epoch for report in seen] == [1, 2, 3, 4, 5]
    assert all(report.samples_per_second for report in seen)
    assert [row[0] for row in fitted.curve][-1] == 5
    assert all(row[2] is not None and row[3] is not None for row in fitted.curve)
    assert fitted.samples_per_second
    outcome = fitted.outcome(labels=40, saving=0.25)
    assert outcome["samples"] == 200
    assert outcome["labels"] == 40
    assert outcome["seconds"].keys() <= set(PARTS)
    assert outcome["seconds"].keys() >= {"forward", "backward", "optimizer", "validation"}
    assert outcome["seconds"]["checkpoint"] == 0.25, "of what was written afterwards"
    assert outcome["device_memory"] is None
    assert "captured" in outcome


class GoesOn:
    """Goes on from epoch 6 of 10, as after a kill."""

    def fit(self, labeled: LabeledSet, job: TrainingJob) -> TrainingReport:
        for epoch in range(6, 11):
            job.on_epoch(EpochReport(epoch, 10, 0.5))
        return TrainingReport(epochs=10, steps=30, samples=400, seconds={"checkpoint": 1.0})


def test_throughput_is_that_of_the_epochs_that_were_trained_now(
    job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([10.0, 14.0])
    monkeypatch.setattr(watched, "time", type("Clock", (), {"monotonic": lambda: next(times)}))
    learner: Any = GoesOn()
    fitted = fit_watched(learner, DATA, job(), points=50)
    assert fitted.samples_per_second == 200 / 4
    assert fitted.outcome(labels=1, saving=0.5)["seconds"] == {"checkpoint": 1.5}


class CountsNothing:
    def fit(self, labeled: LabeledSet, job: TrainingJob) -> TrainingReport:
        return TrainingReport(epochs=1, steps=1)


def test_a_learner_that_counts_no_samples(job: Any) -> None:
    learner: Any = CountsNothing()
    fitted = fit_watched(learner, DATA, job(), points=50)
    assert fitted.samples_per_second is None
    assert fitted.curve == []


def test_ten_thousand_epochs_are_told_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    tell = EpochsTold(TRAINING)
    times = (epoch / 1000 for epoch in range(1000, 20_000))
    monkeypatch.setattr(watched, "time", type("Clock", (), {"monotonic": lambda: next(times)}))
    with watched_by(told.append):
        for epoch in range(1, 10_001):
            tell(EpochReport(epoch, 10_000, 0.5, 0.25, 1e6, 0.1))
    assert 95 <= len(told) <= 101
    last = told[-1]
    assert (last.epoch, last.epochs, last.loss, last.validation_loss) == (10_000, 10_000, 0.5, 0.25)
    assert last.samples_per_second == pytest.approx(1e6)
    assert last.labels == 40


def test_throughput_that_is_told_is_calm_and_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    tell = EpochsTold(TRAINING)
    times = itertools.count(100.0, 0.01)
    monkeypatch.setattr(watched, "time", type("Clock", (), {"monotonic": lambda: next(times)}))
    jumps = itertools.cycle([1e3, 1e5])
    with watched_by(told.append):
        tell(EpochReport(1, 10**6, 0.5, None, 1.0))  # its steps were captured
        for epoch in range(2, 1001):
            tell(EpochReport(epoch, 10**6, 0.5, None, next(jumps)))
        before = [progress.samples_per_second or 0 for progress in told]
        for epoch in range(1001, 1401):
            tell(EpochReport(epoch, 10**6, 0.5, None, 10.0))
    assert before[0] == 1.0
    calm = before[25:]
    assert max(calm) < 1.2 * min(calm)
    assert calm[-1] == pytest.approx(2 / (1e-3 + 1e-5), rel=0.1), "the slow ones take the time"
    assert told[-1].samples_per_second == pytest.approx(10.0), "of the last two seconds"


def test_nobody_measured_throughput() -> None:
    told: list[Progress] = []
    with watched_by(told.append):
        EpochsTold(TRAINING)(EpochReport(1, 1, 0.5))
    assert [progress.samples_per_second for progress in told] == [None]


def test_where_the_time_of_several_trainings_went() -> None:
    first = {
        "seconds": {"backward": 2.0, "forward": 1.0, "checkpoint": 0.5},
        "samples": 100, "samples_per_second": 50.0, "device_memory": None,
    }  # fmt: skip
    second = {
        "seconds": {"forward": 3.0, "warming": 1.0},
        "samples": 300, "samples_per_second": 100.0, "device_memory": 3 * 10**9,
    }  # fmt: skip
    older = {"labels": 3, "epochs": 1}
    spent = spent_on([(4.0, first), (5.0, second), (1.0, older)])
    assert spent.whole == 10.0
    assert list(spent.seconds.items()) == [
        ("forward", 4.0), ("backward", 2.0), ("checkpoint", 0.5), ("warming", 1.0),
    ]  # fmt: skip
    assert spent.samples == 400
    assert spent.samples_per_second == 80.0
    assert in_words(spent) == (
        "forward 40 %, backward 20 %, checkpoint 5 %, warming 10 %, other 25 %; 80 samples/s; "
        "3,000 MB on the device"
    )


def test_where_nobody_measured_there_are_no_words() -> None:
    assert in_words(Spent()) == ""
    assert in_words(spent_on([(2.0, {"seconds": {"checkpoint": 0.1}})])) == ""
