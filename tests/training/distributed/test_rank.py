from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from querist.errors import LearnerError
from querist.training.distributed.job_folder import JobFolder, Ranks, rank_device
from querist.training.distributed.messages import Hears
from querist.training.distributed.rank import train_rank
from querist.training.weights import WEIGHTS
from tests.shared.memory import Memory
from tests.shared.ranked import ALLOWED, SGD, job, labeled, learner, settings

CPU = torch.device("cpu")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of the only rank."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    told = {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., JobFolder]:
    """A job in a folder."""

    def write(partial: Any = None, **training: Any) -> JobFolder:
        made = settings(optimizer=SGD, **training)
        given = job(made, partial=partial, validation=labeled(64, 96))
        folder = JobFolder(tmp_path / "job")
        folder.path.mkdir()
        folder.write(learner(made), made, labeled(0, 64), given, Ranks("cpu", "gloo", 1))
        return folder

    return write


@pytest.mark.usefixtures("alone")
def test_a_rank_alone_does_what_a_learner_does(written: Any) -> None:
    memory = Memory()
    made = settings(optimizer=SGD, checkpoint_epochs=2)
    given = job(made, partial=memory, validation=labeled(64, 96))
    here = learner(made)
    wanted = here.fit(labeled(0, 64), given)

    folder = written(checkpoint_epochs=2)
    train_rank(folder.path, CPU)
    report, state = folder.result()
    assert state == here.state_files()
    assert (report.epochs, report.steps, report.train_loss, report.validation_loss) == (
        wanted.epochs, wanted.steps, wanted.train_loss, wanted.validation_loss
    )  # fmt: skip
    epochs = [said["epoch"] for kind, said in Hears(folder.messages).new() if kind == "epoch"]
    assert epochs == [1, 2, 3, 4]
    assert folder.partial.latest()[1][WEIGHTS] == memory.kept[1][WEIGHTS]  # type: ignore[index]


@pytest.mark.usefixtures("alone")
def test_it_goes_on_from_a_state_that_was_handed_over(written: Any) -> None:
    memory = Memory()
    made = settings(optimizer=SGD, checkpoint_epochs=3)
    here = learner(made)
    here.fit(labeled(0, 64), job(made, partial=memory, validation=labeled(64, 96)))
    folder = written(checkpoint_epochs=3, partial=memory)
    train_rank(folder.path, CPU)
    assert folder.result()[1] == here.state_files()
    epochs = [said["epoch"] for kind, said in Hears(folder.messages).new() if kind == "epoch"]
    assert epochs == [4]


@pytest.mark.usefixtures("alone")
def test_a_loop_that_knows_nothing_of_others(written: Any) -> None:
    folder = written(loop=f"{ALLOWED}:Alone")
    words = "wraps its step with job.group.wrap, and 'tests.shared.ranked:Alone' does not: set"
    with pytest.raises(LearnerError, match=words):
        train_rank(folder.path, CPU)
    assert words in json.loads(folder.refusal.read_bytes())["message"]
    assert folder.result() is None
    distributed.destroy_process_group()
    train_rank(folder.path, CPU)  # nobody waits for it any more
    assert folder.result() is None


@pytest.mark.usefixtures("alone")
def test_it_stops_when_nobody_waits(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written()
    monkeypatch.setattr(
        "querist.training.distributed.messages.Says.epoch",
        lambda says, report: folder.refusal.write_text("{}"),
    )
    with pytest.raises(LearnerError, match="the training was stopped"):
        train_rank(folder.path, CPU)
    assert folder.result() is None


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert rank_device({"device": "cpu"}, 3) == CPU
    assert rank_device({"device": "cuda"}, 1) == torch.device("cuda:1")
    with pytest.raises(LearnerError, match="a GPU of its own, and this machine has 2: lower"):
        rank_device({"device": "cuda"}, 2)
