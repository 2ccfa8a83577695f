"""The default training loop: batches, validation, early stopping, checkpoints on the way."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from querist.faults import crash_point
from querist.pools.labeled import LabeledSet
from querist.randomness import derive_seed
from querist.registry import register
from querist.training.batches import Batches, training_batches, validation_batches
from querist.training.capture import CapturedStep, replaying, tell, why_not
from querist.training.clock import EVERY, Clock
from querist.training.compiled import compile_in_place
from querist.training.devices import on_device
from querist.training.job import EpochReport, TrainingJob, TrainingReport
from querist.training.nested import tensors_in
from querist.training.precision import tensor_cores
from querist.training.state import TrainingState
from querist.training.steps import EagerStep


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
            return TrainingReport(epochs=0, steps=0, optimizer_state=job.optimizer_state)
        if job.settings.compile:
            compile_in_place(module, job.device)
        if job.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(job.device)
        with on_device(job.device), tensor_cores(job.settings), replaying(job.device):
            return _Training(module, labeled, job).run()


class _Training:
    """One call of the loop."""

    def __init__(self, module: torch.nn.Module, labeled: LabeledSet, job: TrainingJob) -> None:
        self.module = module
        self.job = job
        self.clock = Clock(job.device)
        self.state = TrainingState.start(module, job)
        self.batches = training_batches(labeled, job)
        self.validation = validation_batches(job)
        eager = EagerStep(module, self.state.optimizer, job, self.state.scaler, self.clock)
        reason = why_not(job, module, self.state.optimizer)
        self.captured = (
            CapturedStep(eager, job, self.clock, job.captures) if reason is None else None
        )
        if reason is not None:
            tell(job.captures, job, reason)
        self.step: Callable[[tuple[Any, ...]], torch.Tensor] = self.captured or _Sampled(eager)
        self.reason = reason

    def run(self) -> TrainingReport:
        state, job = self.state, self.job
        while state.epoch < job.epochs and not state.stopped:
            own = seed = job.epoch_seed(state.epoch)
            if job.group.rank:  # its dropout differs, or all would learn the same masks
                own = derive_seed(seed, 0, "train", f"rank {job.group.rank}")
            _seed(own, job.device)
            seconds = self._train_epoch(seed)
            if self.validation is not None:
                with self.clock.part("validation"):
                    state.validation_loss = _validate(self.module, self.validation, job)
            self._after_epoch(seconds)
        return self._report()

    def _train_epoch(self, seed: int) -> float:
        """Learn from every batch once; returns the seconds that it took."""
        self.module.train()
        if self.captured is not None:
            self.captured.begin_epoch()
        step, now, losses, waited = self.step, time.perf_counter, [], 0.0
        started = before = now()
        for batches in _grouped(self.batches, seed, self.job.settings.accumulate_batches):
            waited += now() - before
            losses.append(step(batches))
            before = now()
        # One look at the device per epoch, not per step.
        loss = float(torch.stack(losses).mean())
        seconds = now() - started
        self.clock.add("data", waited)
        self.clock.add_steps(seconds - waited)
        state, job = self.state, self.job
        state.train_loss = job.group.mean(loss, len(losses))
        state.steps += len(losses)
        state.samples += self.batches.samples * job.group.size
        job.check_loss(state.train_loss, state.epoch + 1, "or check the targets")
        return seconds

    def _after_epoch(self, seconds: float) -> None:
        state, job = self.state, self.job
        lr = state.lr
        state.epoch += 1
        state.step_scheduler()
        state.watch(self.module, job)
        crash_point("train.epoch")
        rate = self.batches.samples * job.group.size / seconds if seconds else None
        job.on_epoch(
            EpochReport(state.epoch, job.epochs, state.train_loss, state.validation_loss, rate, lr)
        )
        if job.partial is not None and job.keeps_state(state.epoch) and job.group.rank == 0:
            with self.clock.part("checkpoint"):
                job.partial.save(state.epoch, state.files(self.module))

    def _report(self) -> TrainingReport:
        state, job = self.state, self.job
        if state.best_weights is not None:
            self.module.load_state_dict(state.best_weights)
            state.validation_loss = state.best_loss
        memory = None
        if job.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(job.device)
        return TrainingReport(
            epochs=state.epoch,
            steps=state.steps,
            train_loss=state.train_loss,
            validation_loss=state.validation_loss,
            stopped_early=state.stopped,
            optimizer_state=None if job.settings.reset_optimizer else state.optimizer.state_dict(),
            samples=state.samples,
            seconds=self.clock.seconds(),
            device_memory=memory,
            captured=self._captured(),
        )

    def _captured(self) -> bool | str:
        if self.captured is None:
            return self.reason or False
        if self.captured.replayed:
            return True
        return self.captured.reason or "no shape of batches came often enough"


class _Sampled:
    """Eager steps, some of which are timed in parts."""

    def __init__(self, eager: EagerStep) -> None:
        self._eager = eager
        self._steps = 0

    def __call__(self, batches: tuple[Any, ...]) -> torch.Tensor:
        self._steps += 1
        return (self._eager.timed if self._steps % EVERY == 1 else self._eager)(batches)


def _grouped(batches: Batches, seed: int, number: int) -> Iterator[tuple[Any, ...]]:
    """The batches of an epoch, `number` at a time."""
    epoch = iter(batches.epoch(seed))
    while group := tuple(itertools.islice(epoch, number)):
        yield group


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


def _validate(module: torch.nn.Module, batches: Batches, job: TrainingJob) -> float | None:
    """Mean of what `validate_step` returns over the batches; None when it returns nothing."""
    module.eval()
    values, sizes = [], []
    with torch.no_grad():
        for batch in batches.epoch(None):
            value = job.validate_step(module, batch)
            if value is not None:
                values.append(value)
                lengths = (len(tensor) for tensor in tensors_in(batch) if tensor.ndim)
                sizes.append(next(lengths, 0) or 1)
    module.train()
    seen = sum(sizes)
    own = sum(float(v) * s for v, s in zip(values, sizes, strict=True)) / max(seen, 1)
    mean = job.group.mean(own, seen)
    return None if not seen and math.isnan(mean) else mean
