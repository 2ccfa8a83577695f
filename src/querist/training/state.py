"""Where a training is: everything that a partial checkpoint must bring back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from querist.errors import ConfigurationError
from querist.training.early_stopping import is_best
from querist.training.job import TrainingJob
from querist.training.optimizers import build_optimizer, build_scheduler
from querist.training.precision import scaler_of
from querist.training.weights import (
    TRAINING_STATE,
    WEIGHTS,
    state_from_bytes,
    state_to_bytes,
    weights_from_bytes,
    weights_to_bytes,
)

_PLAIN = (
    "epoch", "steps", "samples", "train_loss", "validation_loss", "best_loss", "best_epoch",
    "stopped",
)  # fmt: skip
_CHOSEN_HERE = ("lr", "fused", "foreach", "capturable")
"""Options of an optimizer that are this training's, whatever its state was saved with."""


@dataclass
class TrainingState:
    """Optimizer, scheduler, and how far it is.

    Attributes:
        optimizer, scheduler, scaler: torch's.
        epoch: epochs that are done.
        steps: optimizer steps.
        samples: samples that were learned from.
        train_loss, validation_loss: after the last epoch.
        best_loss, best_epoch, best_weights: of early stopping.
        stopped: whether early stopping has ended it.
    """

    optimizer: Any
    scheduler: Any
    scaler: torch.amp.GradScaler | None
    epoch: int = 0
    steps: int = 0
    samples: int = 0
    train_loss: float = math.nan
    validation_loss: float | None = None
    best_loss: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, torch.Tensor] | None = None
    stopped: bool = False

    @classmethod
    def start(cls, module: torch.nn.Module, job: TrainingJob) -> TrainingState:
        """The state to begin with: fresh, or of the epoch where an earlier try was cut off."""
        settings = job.settings
        optimizer = build_optimizer(
            settings.optimizer.name,
            settings.optimizer.options,
            module,
            job.lr,
            device=job.device,
            captured=settings.static_capture is not False,
        )
        if job.optimizer_state is not None:
            _load_optimizer(optimizer, job.optimizer_state, {*settings.optimizer.options})
            for group in optimizer.param_groups:  # the schedule of another iteration
                for left in ("initial_lr", "min_lr", "max_lr", "max_momentum", "base_momentum"):
                    group.pop(left, None)
        scheduler = None
        if settings.scheduler is not None:
            scheduler = build_scheduler(
                settings.scheduler.name, settings.scheduler.options, optimizer
            )
        state = cls(optimizer, scheduler, scaler_of(settings, job.device))
        partial = job.partial if job.group.rank == 0 else None
        found = job.group.agree(None if partial is None else partial.latest())
        if found is not None:
            state._load(module, found[1])
        return state

    @property
    def lr(self) -> float:
        """The learning rate of the first weights' group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step_scheduler(self) -> None:
        """Tell the learning-rate schedule that an epoch is over.

        Raises:
            ConfigurationError: it has a last epoch, and this one comes after it.
        """
        if self.scheduler is None:
            return
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

    def watch(self, module: torch.nn.Module, job: TrainingJob) -> None:
        """Keep the best weights, and stop when the validation loss falls no more."""
        early = job.settings.early_stopping
        if early is None or self.validation_loss is None:
            return
        if is_best(self, self.validation_loss, early) and early.restore_best:
            self.best_weights = {k: v.clone() for k, v in module.state_dict().items()}

    def files(self, module: torch.nn.Module) -> dict[str, bytes]:
        """All of it, with the module's weights, by file."""
        state = {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "best_weights": self.best_weights,
            **{key: getattr(self, key) for key in _PLAIN},
        }
        return {WEIGHTS: weights_to_bytes(module), TRAINING_STATE: state_to_bytes(state)}

    def _load(self, module: torch.nn.Module, files: Mapping[str, bytes]) -> None:
        weights_from_bytes(module, files[WEIGHTS])
        state = state_from_bytes(files[TRAINING_STATE])
        # The rate that the schedule had come to is the state's.
        _load_optimizer(self.optimizer, state["optimizer"], set(), but="lr")
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        if self.scaler is not None and state.get("scaler") is not None:
            self.scaler.load_state_dict(state["scaler"])
        self.best_weights = state["best_weights"]
        for key in _PLAIN:
            if key in state:  # states of older versions have fewer
                setattr(self, key, state[key])


def _load_optimizer(
    optimizer: Any, state: Mapping[str, Any], options: set[str], but: str | None = None
) -> None:
    """Load a state, and keep the options of now; a schedule may have changed them."""
    chosen = {*_CHOSEN_HERE, *options} - {but}
    kept = [{o: group[o] for o in chosen if o in group} for group in optimizer.param_groups]
    optimizer.load_state_dict(dict(state))
    for group, mine in zip(optimizer.param_groups, kept, strict=True):
        group.update(mine)
