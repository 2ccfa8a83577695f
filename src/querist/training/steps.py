"""One training step: forward, backward, update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from querist.faults import crash_point
from querist.training.clock import Clock
from querist.training.job import TrainingJob
from querist.training.optimizers import bare_step
from querist.training.precision import autocast_of


class EagerStep:
    """Takes optimizer steps, operation by operation.

    Args:
        module: what is trained.
        optimizer: over the module's parameters.
        job: step function, precision, clipping.
        scaler: of the loss; None where it is not scaled.
        clock: told how long the parts of some steps took.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        optimizer: Any,
        job: TrainingJob,
        scaler: torch.amp.GradScaler | None,
        clock: Clock,
    ) -> None:
        self.module = module
        self.optimizer = optimizer
        self.parameters = list(module.parameters())
        self.scaler = scaler
        self._autocast = autocast_of(job.settings, job.device)
        self._train_step = job.group.wrap(module, job.train_step)
        self._group = job.group
        self._clip = job.settings.clip_grad_norm
        self._update = bare_step(optimizer)
        # A scheduler warns unless it has seen a step, and the bare one it does not see.
        optimizer._opt_called = True
        self._clock = clock

    def __call__(self, batches: tuple[Any, ...]) -> torch.Tensor:
        """One optimizer step on one batch, or on several whose gradients are averaged.

        Returns the mean of their losses, on the device.
        """
        if isinstance(self.optimizer, torch.optim.LBFGS):
            return self._closure_step(batches[0])
        losses = self._gradients(batches, torch.Tensor.backward)
        crash_point("train.step")
        self._apply()
        return losses

    def timed(self, batches: tuple[Any, ...]) -> torch.Tensor:
        """The same step; its parts are told to the clock."""
        if isinstance(self.optimizer, torch.optim.LBFGS):
            return self(batches)
        clock = self._clock
        clock.start()

        def backward(loss: torch.Tensor) -> None:
            clock.lap("forward")
            loss.backward()
            clock.lap("backward")

        loss = self._gradients(batches, backward)
        crash_point("train.step")
        self._apply()
        clock.lap("optimizer")
        return loss

    def recorded(self, batches: tuple[Any, ...]) -> torch.Tensor:
        """The same step, such that what is recorded of it holds no more than is needed."""

        def backward(loss: torch.Tensor) -> None:
            # `Tensor.backward` would copy gradients that a recording holds on to.
            trained = [p for p in self.parameters if p.requires_grad]
            found = torch.autograd.grad(loss, trained, allow_unused=True)
            for parameter, gradient in zip(trained, found, strict=True):
                if gradient is not None and gradient.stride() != parameter.stride():
                    # In the memory's order, as `backward` leaves it: sums round by their order.
                    gradient = torch.empty_like(parameter).copy_(gradient)
                parameter.grad = gradient

        loss = self._gradients(batches, backward)
        self._apply()
        return loss

    def forget_gradients(self) -> None:
        """Free the gradients of the last step."""
        for parameter in self.parameters:
            parameter.grad = None

    def _gradients(
        self, batches: tuple[Any, ...], backward: Callable[[torch.Tensor], None]
    ) -> torch.Tensor:
        self.forget_gradients()
        if len(batches) == 1:
            return self._backward(batches[0], backward, 1)
        losses = []
        with self._group.unsynchronized():
            for batch in batches[:-1]:
                losses.append(self._backward(batch, backward, len(batches)))
        losses.append(self._backward(batches[-1], backward, len(batches)))
        return torch.stack(losses).mean()

    def _backward(
        self, batch: Any, backward: Callable[[torch.Tensor], None], share: int
    ) -> torch.Tensor:
        if self._autocast is None:
            loss = self._train_step(self.module, batch)
        else:
            with self._autocast():
                loss = self._train_step(self.module, batch)
        wanted = loss if share == 1 else loss / share
        backward(wanted if self.scaler is None else self.scaler.scale(wanted))
        return loss.detach()

    def _apply(self) -> None:
        with torch.no_grad():
            if self._clip is not None:
                if self.scaler is not None:
                    self.scaler.unscale_(self.optimizer)
                torch.nn.utils.clip_grad_norm_(self.parameters, self._clip)
            if self.scaler is None:
                self._update()
            else:
                self.scaler.step(self.optimizer)
                self.scaler.update()

    def _closure_step(self, batch: Any) -> torch.Tensor:
        """A step of an optimizer that evaluates the batch as often as it likes."""
        losses: list[torch.Tensor] = []

        def gradients() -> torch.Tensor:
            losses.append(self._gradients((batch,), torch.Tensor.backward))
            if self._clip is not None:
                torch.nn.utils.clip_grad_norm_(self.parameters, self._clip)
            return losses[-1]

        self.optimizer.step(gradients)
        return losses[0]
