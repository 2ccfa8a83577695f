from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from querist.errors import LearnerError
from querist.learners import TorchLearner
from querist.learners.build import as_learner
from querist.registry import register
from querist.training.distributed.launch import JOBS, fit_in_processes
from querist.training.job import EpochReport
from tests.shared.memory import Memory
from tests.shared.ranked import (
    ADAM,
    FEATURES,
    SGD,
    Net,
    job,
    labeled,
    learner,
    on_disk,
    settings,
    trained,
)

TWO = {"processes": 2, "batch_size": 8}
ONE = {"batch_size": 16}


def weights(learner: TorchLearner) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in learner.module.parameters()])


@pytest.mark.parametrize(
    "more",
    [
        {"optimizer": SGD},
        {
            "optimizer": ADAM,
            "accumulate_batches": 2,
            "clip_grad_norm": 0.5,
            "model": "Unused",
            "data": on_disk(),
        },
        {
            "optimizer": {"name": "SGD", "options": {"lr": 8.0, "momentum": 0.9}},
            "max_training_epochs": 40,
            "early_stopping": {"patience": 2},
            "validation": labeled(64, 112),
            "reset_optimizer": False,
        },
    ],
    ids=["SGD", "Adam, accumulated", "early stopping"],
)
def test_two_processes_are_one_with_the_double_batch(
    more: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    alone, together = [], []
    one, of_one = trained(**ONE, **more, on_epoch=alone.append)
    unused = {"find_unused_parameters": more.get("model") == "Unused", "max_restarts": 0}
    with caplog.at_level(logging.INFO, "querist"):
        two, of_two = trained(**TWO, **more, on_epoch=together.append, distributed=unused)
    assert "querist.training.capture" in {record.name for record in caplog.records}
    torch.testing.assert_close(weights(two), weights(one), rtol=1e-4, atol=1e-5)
    assert (of_two.epochs, of_two.steps) == (of_one.epochs, of_one.steps)
    assert of_two.train_loss == pytest.approx(of_one.train_loss, rel=1e-4)
    assert of_two.stopped_early == of_one.stopped_early == ("early_stopping" in more)
    assert [r.epoch for r in together] == list(range(1, of_one.epochs + 1))
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-3)
        assert ours.validation_loss == (
            None if theirs.validation_loss is None
            else pytest.approx(theirs.validation_loss, rel=1e-3)
        )  # fmt: skip
    kept, wanted = one._optimizer_state, two._optimizer_state
    assert (kept is None) == (wanted is None) == ("reset_optimizer" not in more)


def test_the_second_iteration_goes_on_from_the_first(tmp_path: Path) -> None:
    made = settings(**TWO, optimizer=SGD, reset_optimizer=False, checkpoint_epochs=2)
    fitted = learner(made)
    fitted.work_in(tmp_path / "work")
    first = fitted.fit(labeled(0, 64), job(made))
    between = fitted.state_files()
    memory = Memory()
    reports: list[EpochReport] = []
    fitted.fit(labeled(0, 96), job(made, iteration=1, partial=memory, on_epoch=reports.append))
    assert first.epochs == 4
    assert memory.epochs == [2]
    assert [r.epoch for r in reports] == [1, 2, 3, 4]
    assert [p.name for p in (tmp_path / JOBS).iterdir()] == ["lock"]

    # What a killed training left is gone on with.
    again = learner(made)
    again.load_state_files(between)
    told: list[EpochReport] = []
    more = job(made, iteration=1, partial=Memory(memory.kept), on_epoch=told.append)
    again.fit(labeled(0, 96), more)
    assert torch.equal(weights(again), weights(fitted))
    assert [r.epoch for r in told] == [3, 4]


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    features = FEATURES.clone()
    features[5] = torch.nan
    made = settings(**TWO)
    fitted = learner(made)
    fitted.work_in(tmp_path / "work")
    with pytest.raises(
        LearnerError, match="must be finite, it is nan in epoch 1 of iteration 2: lower"
    ):
        fitted.fit(labeled(0, 64, features), job(made, iteration=2))
    (left,) = [p for p in (tmp_path / JOBS).iterdir() if p.is_dir()]
    assert [p.name for p in left.iterdir()] == ["logs"]


def test_a_process_that_raises() -> None:
    with pytest.raises(LearnerError) as raised:
        trained("Raising", **TWO, distributed={"max_restarts": 1})
    first, *rest = str(raised.value).splitlines()
    assert first.startswith(
        "training process 1 of 2 ended 2 times, at last with exit code 1, ValueError: the sensor "
        "is on fire: see "
    )
    assert "stderr.log; its last lines are:" in first
    assert any("the sensor is on fire" in line for line in rest)
    assert Path(first.partition(": see ")[2].partition(";")[0]).is_file()


def test_a_process_that_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERIST_CRASH_AT", "train.step:3:rank1")
    with pytest.raises(
        LearnerError,
        match="training process 1 of 2 ended by SIGKILL, as the system kills what needs too much",
    ):
        trained(**TWO, distributed={"max_restarts": 0})


class Items:
    """A data set of items of its own."""

    def __len__(self) -> int:
        return 4


@pytest.fixture
def nothing_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(
        "querist.training.distributed.launch.start_ranks", lambda *a, **k: pytest.fail("started")
    )
    yield
    for left in tmp_path.glob("*"):  # the logs, of which there are none
        assert [p.name for p in left.iterdir()] == ["logs"]


@pytest.mark.usefixtures("nothing_started")
class TestRefused:
    def test_items(self) -> None:
        made = settings(**TWO)
        with pytest.raises(LearnerError, match="a Items has items of its own: set training.proc"):
            learner(made).fit(Items(), job(made))

    def test_a_model_that_was_handed_over(self) -> None:
        made = settings(**TWO)
        given = as_learner(Net(), made, classes=2, sample=torch.zeros(1, 2))
        with pytest.raises(LearnerError, match="this one was handed over as an object: name it"):
            given.fit(labeled(0, 64), job(made))

    def test_a_model_that_is_registered_here_only(self) -> None:
        @register("learner", "only in this process")
        class Mine(nn.Linear):
            def __init__(self) -> None:
                super().__init__(2, 2)

        made = settings(**TWO)
        made = made.model_copy(
            update={"learner": made.learner.model_copy(update={"name": "only in this process"})}
        )
        with pytest.raises(
            LearnerError, match="find the learner by its name, and 'only in this process' is reg"
        ):
            learner(made).fit(labeled(0, 64), job(made))

    @pytest.mark.parametrize(
        ("device", "words"),
        [("mps", "training.device mps is one"), ("cuda:1", "training.device cuda:1 is one")],
    )
    def test_one_device(self, device: str, words: str) -> None:
        made = settings(**TWO)
        wanted = made.training.model_copy(update={"device": device})
        with pytest.raises(LearnerError, match=words):
            learner(made).fit(labeled(0, 64), dataclasses.replace(job(made), settings=wanted))

    def test_nccl_without_gpus(self) -> None:
        with pytest.raises(LearnerError, match="nccl talks between GPUs, and training is on the"):
            trained(**TWO, device="cpu", distributed={"backend": "nccl"})

    def test_too_few_gpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = settings(**TWO)
        fitted = learner(made)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        with pytest.raises(LearnerError, match="a GPU of its own, and this machine has 1 for 2"):
            fitted.fit(labeled(0, 64), job(made))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_one_process_over_nccl() -> None:
    made = settings(device="cuda", distributed={"backend": "nccl"})
    fitted = learner(made)
    before = weights(fitted)
    reports: list[EpochReport] = []
    report = fit_in_processes(fitted, labeled(0, 64), job(made, on_epoch=reports.append))
    assert report.epochs == len(reports) == 4
    assert not torch.equal(weights(fitted), before)
