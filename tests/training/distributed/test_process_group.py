from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn

from querist.config.distributed import DistributedConfig
from querist.errors import LearnerError
from querist.training.distributed.process_group import ProcessGroup
from tests.shared.killed import own_process

__all__ = ["own_process"]
CPU = torch.device("cpu")


def _member(work: Any, rank: int, store: str, answers: Any) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2,
        timeout=timedelta(seconds=60),
    )  # fmt: skip
    try:
        with ProcessGroup.joined(DistributedConfig(), CPU, "gloo") as group:
            answers.put((rank, work(group)))
    except BaseException as error:
        answers.put((rank, error))


@pytest.fixture
def both(own_process: Any, tmp_path: Path) -> Callable[[Any], list[Any]]:
    """What a function of the group gives in each of two processes."""

    def run(work: Any) -> list[Any]:
        answers = own_process.Queue()
        processes = [
            own_process.Process(target=_member, args=(work, rank, tmp_path / "store", answers))
            for rank in range(2)
        ]
        for process in processes:
            process.start()
        found = dict(answers.get(timeout=60) for _ in processes)
        for process in processes:
            process.join(60)
        return [found[rank] for rank in range(2)]

    return run


def step(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return model(batch).sum()


def _agree_and_mean(group: ProcessGroup) -> Any:
    told = group.agree({"files": b"abc"} if group.rank == 0 else {"files": b"not this"})
    return (
        group.size,
        told,
        group.mean(1.0 if group.rank == 0 else 4.0, 2.0 if group.rank == 0 else 1.0),
        group.mean(math.nan if group.rank == 0 else 5.0, group.rank),
        group.mean(3.0, 0.0),
    )


def test_they_agree(both: Any) -> None:
    for size, told, mean, of_one, of_none in both(_agree_and_mean):
        assert size == 2
        assert told == {"files": b"abc"}
        assert mean == 2.0
        assert of_one == 5.0
        assert math.isnan(of_none)


def _gradients(group: ProcessGroup) -> Any:
    model = nn.Linear(1, 1, bias=False)
    wrapped = group.wrap(model, step)
    found = []

    def gradient() -> float:
        assert model.weight.grad is not None
        return float(model.weight.grad)

    wrapped(model, torch.full((1, 1), 1.0 + 2 * group.rank)).backward()
    found.append(gradient())
    model.weight.grad = None
    with group.unsynchronized():
        wrapped(model, torch.full((1, 1), 1.0 + 2 * group.rank)).backward()
    found.append(gradient())
    wrapped(model, torch.full((1, 1), 10.0)).backward()
    found.append(gradient())
    return found, group.wrapped


def test_gradients_are_averaged_where_they_shall_be(both: Any) -> None:
    first, second = both(_gradients)
    assert first == ([2.0, 1.0, 12.0], True)
    assert second == ([2.0, 3.0, 12.0], True)


def _weights(group: ProcessGroup) -> Any:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, float(group.rank))
    group.wrap(model, step)
    return float(model.weight)


def test_all_begin_with_the_weights_of_the_first(both: Any) -> None:
    assert both(_weights) == [0.0, 0.0]


class Spare(nn.Module):
    """Has a weight that gets no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(1, 1), nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(x)


def _two_steps(group: ProcessGroup) -> Any:
    said = []
    for unused in (True, False):
        group._settings = DistributedConfig(find_unused_parameters=unused)
        model = Spare()
        wrapped = group.wrap(model, step)
        try:
            for _ in range(2):
                wrapped(model, torch.ones(1, 1)).backward()
            said.append("")
        except RuntimeError as error:
            said.append(str(error))
    return said


def test_weights_without_a_gradient(both: Any) -> None:
    for with_it, without_it in both(_two_steps):
        assert with_it == ""
        assert "find_unused_parameters=True" in without_it


class Alone:
    """The place of a group whose calls nobody needs."""

    def __call__(self, monkeypatch: pytest.MonkeyPatch, **more: Any) -> ProcessGroup:
        monkeypatch.setattr(distributed, "get_rank", lambda: 0)
        monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
        return ProcessGroup(DistributedConfig(**more), CPU)


def test_nothing_to_train(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(1, 1).requires_grad_(False)
    with pytest.raises(LearnerError, match="no weight of the model wants a gradient: set"):
        Alone()(monkeypatch).wrap(model, step)


def test_batch_normalization_on_the_cpu_is_not_synchronized(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    with pytest.raises(LearnerError, match="on GPUs only, and training is on cpu: set training.d"):
        Alone()(monkeypatch, sync_batchnorm=True).wrap(model, step)
