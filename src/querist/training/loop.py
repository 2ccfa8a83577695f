"""The default training loop: batches, validation, early stopping, checkpoints on the way."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from querist.errors import ConfigurationError, LearnerError
from querist.faults import crash_point
from querist.pools.labeled import LabeledSet
from querist.registry import register
from querist.training.batches import Batches, batches_of
from querist.training.job import EpochReport, TrainingJob, TrainingReport
from querist.training.optimizers import bare_step, build_optimizer, build_scheduler

WEIGHTS = "weights.safetensors"
TRAINING_STATE = "training_state.pt"


@register("loop", "default")
class DefaultLoop:
    """Epochs over shuffled batches with any torch optimizer and scheduler."""

    def __call__(
        self, module: torch.nn.Module, labeled: LabeledSet, job: TrainingJob
    ) -> TrainingReport:
        """Train `module` in place.

        Raises:
            LearnerError: the loss is not finite.
        """
        if job.epochs == 0:
            return TrainingReport(epochs=0, steps=0)
        progress = _Progress.start(module, job)
        settings = job.settings
        batches = batches_of(labeled, settings.batch_size, job.device, job.dtype)
        validation = (
            None
            if job.validation is None
            else batches_of(job.validation, max(settings.batch_size, 1024), job.device, job.dtype)
        )
        while progress.epoch < job.epochs and not progress.stopped:
            _seed(job.epoch_seed(progress.epoch), job.device)
            progress.steps += _train_epoch(module, progress, batches, job)
            if validation is not None:
                progress.validation_loss = _validate(module, validation, job)
            progress.after_epoch(module, job)
        return progress.report(module, job)


def _seed(seed: int, device: torch.device) -> None:
    """Seed dropout, augmentations and the like.

    On the CPU not by `torch.manual_seed`, which takes 0.5 ms where there is no GPU.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _train_epoch(
    module: torch.nn.Module, progress: _Progress, batches: Batches, job: TrainingJob
) -> int:
    module.train()
    optimizer, train_step = progress.optimizer, job.train_step
    parameters = list(module.parameters())
    # A scheduler wraps the step to see that it is called, so it gets what it wrapped.
    update = bare_step(optimizer) if progress.scheduler is None else optimizer.step
    losses: list[torch.Tensor] = []

    def gradients(batch: Any) -> torch.Tensor:
        for parameter in parameters:
            parameter.grad = None
        loss = train_step(module, batch)
        loss.backward()
        losses.append(loss.detach())
        return loss

    if isinstance(optimizer, torch.optim.LBFGS):  # evaluates a batch as often as it likes
        for batch in batches.epoch(job.epoch_seed(progress.epoch)):
            optimizer.step(partial(gradients, batch))
    else:
        for batch in batches.epoch(job.epoch_seed(progress.epoch)):
            gradients(batch)
            crash_point("train.step")
            with torch.no_grad():
                update()
    # One look at the device per epoch, not per step.
    progress.train_loss = float(torch.stack(losses).mean())
    if not math.isfinite(progress.train_loss):
        raise LearnerError(
            f"the training loss must be finite, it is {progress.train_loss} in epoch "
            f"{progress.epoch + 1} of iteration {job.iteration}: lower the learning rate, or check "
            "the targets"
        )
    return len(losses)


def _validate(module: torch.nn.Module, batches: Batches, job: TrainingJob) -> float | None:
    """Mean of what `validate_step` returns over the batches; None when it returns nothing."""
    module.eval()
    values, sizes = [], []
    with torch.no_grad():
        for batch in batches.epoch(None):
            value = job.validate_step(module, batch)
            if value is not None:
                values.append(float(value))
                sizes.append(len(batch[0]) if isinstance(batch, list | tuple) else 1)
    module.train()
    return sum(v * s for v, s in zip(values, sizes, strict=True)) / sum(sizes) if sizes else None


@dataclass
class _Progress:
    """Where a training is: everything that a partial checkpoint must bring back."""

    optimizer: Any
    scheduler: Any
    epoch: int = 0
    steps: int = 0
    train_loss: float = math.nan
    validation_loss: float | None = None
    best_loss: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, torch.Tensor] | None = None

    stopped: bool = False

    @classmethod
    def start(cls, module: torch.nn.Module, job: TrainingJob) -> _Progress:
        settings = job.settings
        optimizer = build_optimizer(
            settings.optimizer.name,
            settings.optimizer.options,
            module.parameters(),
            job.lr,
            on_cpu=job.device.type == "cpu",
        )
        if job.optimizer_state is not None:
            # The options of this iteration; a schedule may have changed them.
            given = {"lr", *settings.optimizer.options}
            kept = [{o: g[o] for o in given if o in g} for g in optimizer.param_groups]
            optimizer.load_state_dict(dict(job.optimizer_state))
            for group, options in zip(optimizer.param_groups, kept, strict=True):
                group.update(options)
        scheduler = None
        if settings.scheduler is not None:
            scheduler = build_scheduler(
                settings.scheduler.name, settings.scheduler.options, optimizer
            )
        progress = cls(optimizer, scheduler)
        partial = job.partial.latest() if job.partial is not None else None
        if partial is not None:
            progress._load(module, partial[1])
        return progress

    def after_epoch(self, module: torch.nn.Module, job: TrainingJob) -> None:
        self.epoch += 1
        if self.scheduler is not None:
            self._step_scheduler()
        self._watch(module, job)
        crash_point("train.epoch")
        job.on_epoch(EpochReport(self.epoch, job.epochs, self.train_loss, self.validation_loss))
        every = job.settings.checkpoint_epochs
        due = every > 0 and self.epoch % every == 0 and self.epoch < job.epochs
        if job.partial is not None and due:
            job.partial.save(self.epoch, self._files(module))

    def _step_scheduler(self) -> None:
        try:
            if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
                watched = self.validation_loss
                self.scheduler.step(self.train_loss if watched is None else watched)
            else:
                self.scheduler.step()
        except ValueError as error:  # OneCycleLR has a last step
            raise ConfigurationError(
                f"scheduler {type(self.scheduler).__name__} refused epoch {self.epoch}: {error}"
            ) from error

    def _watch(self, module: torch.nn.Module, job: TrainingJob) -> None:
        early = job.settings.early_stopping
        if early is None or self.validation_loss is None:
            return
        if self.validation_loss < self.best_loss - early.min_delta:
            self.best_loss, self.best_epoch = self.validation_loss, self.epoch
            if early.restore_best:
                self.best_weights = {k: v.clone() for k, v in module.state_dict().items()}
        self.stopped = self.epoch - self.best_epoch >= early.patience

    def report(self, module: torch.nn.Module, job: TrainingJob) -> TrainingReport:
        if self.best_weights is not None:
            module.load_state_dict(self.best_weights)
            self.validation_loss = self.best_loss
        return TrainingReport(
            epochs=self.epoch,
            steps=self.steps,
            train_loss=self.train_loss,
            validation_loss=self.validation_loss,
            stopped_early=self.stopped,
            optimizer_state=None if job.settings.reset_optimizer else self.optimizer.state_dict(),
        )

    def _files(self, module: torch.nn.Module) -> dict[str, bytes]:
        state = {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "best_weights": self.best_weights,
            **{
                key: getattr(self, key)
                for key in ("epoch", "steps", "train_loss", "best_loss", "best_epoch", "stopped")
            },
        }
        return {WEIGHTS: weights_to_bytes(module), TRAINING_STATE: state_to_bytes(state)}

    def _load(self, module: torch.nn.Module, files: Mapping[str, bytes]) -> None:
        weights_from_bytes(module, files[WEIGHTS])
        state = state_from_bytes(files[TRAINING_STATE])
        self.optimizer.load_state_dict(state.pop("optimizer"))
        scheduler = state.pop("scheduler")
        if self.scheduler is not None:
            self.scheduler.load_state_dict(scheduler)
        for key, value in state.items():
            setattr(self, key, value)


def weights_to_bytes(module: torch.nn.Module) -> bytes:
    """The module's parameters and buffers as safetensors."""
    # Clones, because safetensors refuses tensors that share memory (tied weights).
    state = module.state_dict()
    return save_safetensors({k: v.detach().cpu().clone().contiguous() for k, v in state.items()})


def weights_from_bytes(module: torch.nn.Module, content: bytes) -> None:
    """The inverse of `weights_to_bytes`."""
    module.load_state_dict(load_safetensors(content))


def state_to_bytes(state: Mapping[str, Any]) -> bytes:
    """Tensors and plain values, readable with `weights_only=True`."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def state_from_bytes(content: bytes) -> dict[str, Any]:
    """The inverse of `state_to_bytes`; runs no code from the file."""
    return dict(torch.load(io.BytesIO(content), weights_only=True, map_location="cpu"))
