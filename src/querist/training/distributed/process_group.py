"""The processes that train together, over `torch.distributed`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from querist.config.distributed import DistributedConfig
from querist.errors import LearnerError
from querist.protocols import TrainStep

T = TypeVar("T")


class StepModule(torch.nn.Module):
    """A whole train step as a module's forward, which is what gradients are synchronized around.

    Args:
        module: what is trained.
        step: `(module, batch) -> loss`, which may call the module as often as it likes.
    """

    def __init__(self, module: torch.nn.Module, step: TrainStep) -> None:
        super().__init__()
        self.module = module
        self._step = step

    def forward(self, batch: Any) -> torch.Tensor:
        """The loss of a batch."""
        return self._step(self.module, batch)


class ProcessGroup:
    """One of the processes of `torch.distributed`: implements `querist.training.group.Group`.

    Args:
        settings: how they work together.
        device: where this one trains.
    """

    def __init__(self, settings: DistributedConfig, device: torch.device) -> None:
        self.rank = distributed.get_rank()
        self.size = distributed.get_world_size()
        self._settings = settings
        self._device = device
        self._wrapped: DistributedDataParallel | None = None

    @classmethod
    @contextmanager
    def joined(
        cls, settings: DistributedConfig, device: torch.device, backend: str
    ) -> Iterator[ProcessGroup]:
        """The group that the environment tells of, as torchrun sets it; left afterwards.

        Where somebody has joined already, as Ray Train does, that group.
        """
        if device.type == "cuda":
            torch.cuda.set_device(device)
        if distributed.is_initialized():
            yield cls(settings, device)
            return
        distributed.init_process_group(backend, timeout=timedelta(seconds=settings.timeout_seconds))
        yield cls(settings, device)
        # Not after an error: the others may be in the middle of a call that never ends.
        distributed.destroy_process_group()

    @property
    def wrapped(self) -> bool:
        """Whether a step was wrapped: without it, everybody trains a model of their own."""
        return self._wrapped is not None

    def wrap(self, module: torch.nn.Module, step: TrainStep) -> TrainStep:
        """The step, such that backward leaves the mean of all gradients everywhere.

        Raises:
            LearnerError: nothing can be trained, or batch normalization cannot be synchronized.
        """
        if not any(p.requires_grad for p in module.parameters()):
            raise LearnerError(
                "several processes train weights together, and no weight of the model wants a "
                "gradient: set training.processes to 1, or unfreeze some"
            )
        if self._settings.sync_batchnorm:
            module = self._synchronized(module)
        wrapped = DistributedDataParallel(
            StepModule(module, step), find_unused_parameters=self._settings.find_unused_parameters
        )
        self._wrapped = wrapped

        def train_step(model: torch.nn.Module, batch: Any) -> torch.Tensor:
            loss: torch.Tensor = wrapped(batch)
            return loss

        return train_step

    def _synchronized(self, module: torch.nn.Module) -> torch.nn.Module:
        if self._device.type != "cuda":
            raise LearnerError(
                f"torch synchronizes batch normalization on GPUs only, and training is on "
                f"{self._device.type}: set training.distributed.sync_batchnorm to false"
            )
        found: torch.nn.Module = torch.nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return found

    def unsynchronized(self) -> AbstractContextManager[None]:
        """Inside, gradients are gathered here only."""
        return nullcontext() if self._wrapped is None else self._wrapped.no_sync()

    def mean(self, value: float, weight: float) -> float:
        """The mean of everybody's values by their weights; NaN where the weights add up to 0."""
        mine = [value * weight if weight else 0.0, weight]
        total = torch.tensor(mine, dtype=torch.float64, device=self._device)
        distributed.all_reduce(total)
        weighted, weights = total.tolist()
        return weighted / weights if weights else float("nan")

    def agree(self, value: T) -> T:
        """What rank 0 has."""
        told = [value if self.rank == 0 else None]
        distributed.broadcast_object_list(told, src=0, device=self._device)
        agreed: Any = told[0]
        return agreed  # type: ignore[no-any-return]
