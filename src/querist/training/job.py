"""What a training loop is given, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from querist.config.training import TrainingConfig
from querist.errors import LearnerError
from querist.pools.labeled import LabeledSet
from querist.protocols import PartialCheckpoints, TrainStep, ValidateStep
from querist.randomness import derive_seed
from querist.training.captures import Captures
from querist.training.group import Alone, Group


@dataclass(frozen=True)
class EpochReport:
    """Where training is after an epoch.

    Attributes:
        epoch, epochs: how many are done, and how many there are at most.
        train_loss: mean over the epoch's batches.
        validation_loss: None without validation.
        samples_per_second: samples of this epoch over its wall time; None where nobody measured.
        lr: the learning rate that the epoch had; None where the learner has none.
    """

    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float | None = None
    samples_per_second: float | None = None
    lr: float | None = None


def _no_step(model: Any, batch: Any) -> Any:
    raise NotImplementedError("the learner brings its own step")


@dataclass(frozen=True)
class TrainingJob:
    """One call of training.

    Attributes:
        iteration: the iteration that trains.
        settings: the training settings in force.
        seed: all randomness of this training is derived from it.
        device: where the module is and batches must be.
        dtype: type of floating features and targets.
        train_step: `(model, batch) -> loss`; a learner puts its own here.
        validate_step: `(model, batch) -> loss`, or a number or None.
        validation: what `validate_step` is run on; None = no validation.
        optimizer_state: state to go on from; None = a fresh optimizer.
        partial: where to keep the state in mid-training; None = nowhere.
        group: the processes of this training, of which this is one.
        unrepeatable: why the step may do something else each time with equal batches; None where
            it is known to do the same. Only what repeats is captured unasked.
        captures: steps that were captured before, and where new ones are kept.
        on_epoch: called after every epoch.
    """

    iteration: int
    settings: TrainingConfig
    seed: int
    device: torch.device
    dtype: torch.dtype
    train_step: TrainStep = _no_step
    validate_step: ValidateStep = _no_step
    validation: LabeledSet | None = None
    optimizer_state: Mapping[str, Any] | None = None
    partial: PartialCheckpoints | None = None
    group: Group = field(default_factory=Alone)
    unrepeatable: str | None = "nobody has looked at the step"
    captures: Captures = field(default_factory=Captures)
    on_epoch: Callable[[EpochReport], None] = field(default=lambda report: None)

    @property
    def epochs(self) -> int:
        """Epochs to train for."""
        first = self.iteration == 0
        return self.settings.max_training_epochs if first else self.settings.fine_tuning_epochs

    @property
    def lr(self) -> float | None:
        """Learning rate where it is not the optimizer's own."""
        return None if self.iteration == 0 else self.settings.fine_tuning_lr

    def keeps_state(self, epoch: int) -> bool:
        """Whether the state after so many epochs is kept, where there is a place for it."""
        every = self.settings.checkpoint_epochs
        return every > 0 and epoch % every == 0 and epoch < self.epochs

    def check_loss(self, loss: float, epoch: int, advice: str) -> None:
        """Refuse a training loss that is not finite; `advice` is what else may help.

        Raises:
            LearnerError: it is not.
        """
        if not math.isfinite(loss):
            raise LearnerError(
                f"the training loss must be finite, it is {loss} in epoch {epoch} of iteration "
                f"{self.iteration}: lower the learning rate, {advice}"
            )

    def epoch_seed(self, epoch: int) -> int:
        """The seed of one epoch's order and dropout."""
        return derive_seed(self.seed, self.iteration, "train", f"epoch {epoch}")


@dataclass(frozen=True)
class TrainingReport:
    """What a training did.

    Attributes:
        epochs: epochs that were trained.
        steps: optimizer steps.
        train_loss: mean loss over the last epoch; None without epochs.
        validation_loss: of the weights that were kept; None without validation.
        stopped_early: whether early stopping ended it.
        optimizer_state: to go on from, where `reset_optimizer` is false.
        samples: samples that were learned from, repeats counted.
        seconds: wall time by part: data, forward, backward, optimizer, validation, checkpoint,
            capture.
        device_memory: most bytes that the device held during training; None on the CPU.
        captured: whether steps were replayed from a capture; else why not, in words.
    """

    epochs: int
    steps: int
    train_loss: float | None = None
    validation_loss: float | None = None
    stopped_early: bool = False
    optimizer_state: Mapping[str, Any] | None = None
    samples: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    device_memory: int | None = None
    captured: bool | str = False
