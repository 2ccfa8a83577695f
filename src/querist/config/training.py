"""Settings of training."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from querist.config.component import Component
from querist.config.group import Group
from querist.config.limits import shown

_LARGEST_OPTION = 1e6


class EarlyStopping(Group):
    """Stop training when the validation loss has stopped falling."""

    patience: int = Field(default=5, ge=1, le=10**6)
    """Epochs without improvement before training stops."""

    min_delta: float = Field(default=0.0, ge=0.0, le=1e6)
    """How much lower the loss must be to count as better."""

    restore_best: bool = True
    """Go back to the weights of the best epoch."""


class TrainingConfig(Group):
    """How the learner is fitted in every iteration."""

    max_training_epochs: int = Field(default=10, ge=1, le=10**6)
    """Epochs of the first iteration."""

    max_fine_tuning_epochs: int | None = Field(default=None, ge=0, le=10**6)
    """Epochs of every later iteration; default: as many as the first. 0 = no fine-tuning."""

    batch_size: int = Field(default=16, ge=1, le=10**7)
    """Samples per optimizer step; the last batch of an epoch may be smaller."""

    optimizer: Component = Component(name="Adam", options={"lr": 1e-3})
    """A torch optimizer by name, with its options (`lr` among them)."""

    scheduler: Component | None = None
    """A torch learning-rate scheduler by name, stepped once an epoch. Default: none."""

    fine_tuning_lr: float | None = Field(default=None, gt=0.0, le=1e6)
    """Learning rate from the second iteration on. Default: the optimizer's."""

    reset_optimizer: bool = True
    """Start every iteration with a fresh optimizer; false keeps its state (momentum and so on)."""

    warm_start: bool = True
    """Go on from the last iteration's weights; false trains from the first weights each time."""

    loss: Literal["auto", "cross_entropy", "bce_with_logits", "mse", "l1", "huber"] = "auto"
    """Loss of the default training step. `auto`: cross_entropy for classes
    (bce_with_logits where the model has one output), mse for numbers."""

    train_step_fn: Component | None = None
    """A function `(model, batch) -> loss` to use instead of `loss`. A model that has its own
    `training_step(batch)` needs none."""

    validate_step_fn: Component | None = None
    """A function `(model, batch) -> loss` for validation. Default: the loss."""

    loop: Component = Component(name="default")
    """The training loop."""

    early_stopping: EarlyStopping | None = None
    """Stop on the validation loss; needs `data.split.validation`. Default: train all epochs."""

    checkpoint_epochs: int = Field(default=0, ge=0, le=10**6)
    """Keep the state every so many epochs, so that a killed training goes on there. 0 = off."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$")
    """`auto` (a GPU when there is one), `cpu`, `cuda`, `cuda:1`, `mps`."""

    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    """Type of weights and features."""

    threads: Literal["auto"] | int = "auto"
    """CPU threads of torch and scikit-learn. `auto`: one for small models (more only slow them
    down), all cores for large ones."""

    processes: Literal[1] = 1
    """Training processes. Only 1 so far: distributed training is not built yet."""

    @field_validator("threads")
    @classmethod
    def _threads_in_range(cls, threads: Literal["auto"] | int) -> Literal["auto"] | int:
        if threads != "auto" and not 1 <= threads <= 1024:
            raise ValueError(f"threads is 'auto' or 1 to 1024, not {threads}")
        return threads

    @model_validator(mode="after")
    def _known_optimizer_and_scheduler(self) -> Self:
        from querist.training.optimizers import check_optimizer, check_scheduler

        check_optimizer(self.optimizer.name, self.optimizer.options)
        for name, value in self.optimizer.options.items():
            if isinstance(value, int | float) and abs(value) > _LARGEST_OPTION:
                raise ValueError(
                    f"optimizer option {name} is at most {_LARGEST_OPTION:g}, not {shown(value)}: "
                    "lower it"
                )
        if self.scheduler is not None:
            check_scheduler(self.scheduler.name, self.scheduler.options)
        return self

    @property
    def fine_tuning_epochs(self) -> int:
        """Epochs from the second iteration on."""
        if self.max_fine_tuning_epochs is None:
            return self.max_training_epochs
        return self.max_fine_tuning_epochs
