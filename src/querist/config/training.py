"""Settings of training."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from querist.config.component import Component
from querist.config.distributed import DistributedConfig
from querist.config.group import Group
from querist.config.limits import shown
from querist.values import Task

_LARGEST_OPTION = 1e6


class EarlyStopping(Group):
    """Stop training when the validation loss has stopped falling."""

    patience: int = Field(default=5, ge=1, le=10**6)
    """Epochs without improvement before training stops."""

    min_delta: float = Field(default=0.0, ge=0.0, le=1e6)
    """How much lower the loss must be to count as better."""

    restore_best: bool = True
    """Go back to the weights of the best epoch."""


class WarmStart(Group):
    """Which weights an iteration begins with. `true` or `fine_tune`, `false` or `scratch`, or
    `shrink_and_perturb`.
    """

    mode: Literal["fine_tune", "scratch", "shrink_and_perturb"] = "fine_tune"
    """`fine_tune`: those of the last iteration. `scratch`: the first weights, each time.
    `shrink_and_perturb`: those of the last iteration, made smaller, plus fresh ones (Ash and
    Adams, 2020)."""

    shrink: float = Field(default=0.6, ge=0.0, le=1.0)
    """Of `shrink_and_perturb`: what the last weights are multiplied by."""

    perturb: float = Field(default=0.01, ge=0.0, le=1.0)
    """Of `shrink_and_perturb`: what the fresh weights are multiplied by."""

    @model_validator(mode="before")
    @classmethod
    def _from_a_word(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return {"mode": "fine_tune" if value else "scratch"}
        return {"mode": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _factors_belong_to_a_mode(self) -> Self:
        if self.mode == "shrink_and_perturb":
            return self
        for name in ("perturb", "shrink"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} has no effect with mode {self.mode}: set mode to shrink_and_perturb, "
                    "or remove it"
                )
        return self


class LoaderConfig(Group):
    """How batches are read that are not in memory. Tensors in memory are batched on the device."""

    workers: int = Field(default=0, ge=0, le=256)
    """Processes that read samples. 0 = the training process reads them itself."""

    prefetch: int = Field(default=2, ge=1, le=1024)
    """Batches that each worker reads ahead."""

    pin_memory: Literal["auto"] | bool = "auto"
    """Read into page-locked memory, from which a GPU copies while it computes. `auto`: where the
    device is a GPU."""


class TrainingConfig(Group):
    """How the learner is fitted in every iteration."""

    max_training_epochs: int = Field(default=10, ge=1, le=10**6)
    """Epochs of the first iteration."""

    max_fine_tuning_epochs: int | None = Field(default=None, ge=0, le=10**6)
    """Epochs of every later iteration; default: as many as the first. 0 = no fine-tuning."""

    batch_size: int = Field(default=16, ge=1, le=10**7)
    """Samples per batch, in each process."""

    last_batch: Literal["keep", "drop", "fill"] = "keep"
    """The last batch of an epoch, where the samples do not come out even: it is smaller, left out,
    or filled up with the first samples of the epoch's order."""

    accumulate_batches: int = Field(default=1, ge=1, le=10**6)
    """Batches per optimizer step; their gradients are averaged."""

    clip_grad_norm: float | None = Field(default=None, gt=0.0, le=1e9)
    """Longer gradients are shortened to this norm, over all weights. Default: none are."""

    optimizer: Component = Component(name="Adam", options={"lr": 1e-3})
    """A torch optimizer by name, with its options (`lr` among them)."""

    scheduler: Component | None = None
    """A torch learning-rate scheduler by name, stepped once an epoch. Default: none."""

    fine_tuning_lr: float | None = Field(default=None, gt=0.0, le=1e6)
    """Learning rate from the second iteration on. Default: the optimizer's."""

    reset_optimizer: bool = True
    """Start every iteration with a fresh optimizer; false keeps its state (momentum and so on)."""

    warm_start: WarmStart = WarmStart()
    """Which weights an iteration begins with; just `false` trains from the first ones each time."""

    loss: Literal[
        "auto", "cross_entropy", "bce_with_logits", "mse", "l1", "huber", "multilabel"
    ] = "auto"
    """Loss of the default training step. `auto`: cross_entropy for classes
    (bce_with_logits where the model has one output), mse for numbers. `multilabel` says that the
    numbers of a target are labels, each 0 or 1: binary cross-entropy of each."""

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

    mixed_precision: Literal["bf16", "fp16"] | None = None
    """Compute in half precision where that is safe, with weights in `dtype`; fp16 scales the loss.
    Default: all in `dtype`."""

    tf32: bool = False
    """Let NVIDIA GPUs multiply float32 matrices in TF32: faster, with 10 bits of mantissa."""

    compile: bool = False
    """Compile the model with `torch.compile`: worth it for large models and long trainings."""

    static_capture: Literal["auto"] | bool = "auto"
    """Record a training step once and replay it: a CUDA graph on a GPU, a graph of plain
    operations on the CPU. `auto`: where it is known to be safe and faster. `true`: wherever it is
    possible; the log says why where it is not. The module must do the same in each step."""

    loader: LoaderConfig = LoaderConfig()
    """How batches are read that are not in memory."""

    threads: Literal["auto"] | int = "auto"
    """CPU threads of torch and scikit-learn. `auto`: one for small models (more only slow them
    down), all cores for large ones."""

    processes: int = Field(default=1, ge=1, le=1024)
    """Training processes (ranks) on a machine, each with its share of every epoch's samples.
    `batch_size` is each one's own: two processes take steps of twice as many samples."""

    distributed: DistributedConfig = DistributedConfig()
    """How several processes work together."""

    @field_validator("threads")
    @classmethod
    def _threads_in_range(cls, threads: Literal["auto"] | int) -> Literal["auto"] | int:
        if threads != "auto" and not 1 <= threads <= 1024:
            raise ValueError(f"threads is 'auto' or 1 to 1024, not {threads}")
        return threads

    @model_validator(mode="after")
    def _precisions_fit(self) -> Self:
        if self.mixed_precision is not None and self.dtype != "float32":
            raise ValueError(
                f"mixed_precision {self.mixed_precision} computes with float32 weights, dtype is "
                f"{self.dtype}: remove one of them"
            )
        if self.mixed_precision == "fp16" and self.optimizer.name.lower() == "lbfgs":
            raise ValueError(
                "LBFGS evaluates a batch several times, which the loss scaling of fp16 cannot "
                "follow: use bf16 or another optimizer"
            )
        if self.accumulate_batches > 1 and self.optimizer.name.lower() == "lbfgs":
            raise ValueError(
                "LBFGS evaluates one batch several times: accumulate_batches must be 1; raise "
                "batch_size instead"
            )
        return self

    @model_validator(mode="after")
    def _processes_decide_alike(self) -> Self:
        if self.ranks > 1 and self.optimizer.name.lower() == "lbfgs":
            raise ValueError(
                "LBFGS chooses its steps by the loss of its own process, and several would go "
                "apart: set processes to 1, or use another optimizer"
            )
        return self

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
    def of_the_default_loop(self) -> list[str]:
        """Settings that are not as they are by default, and that only the default loop follows."""
        told = {
            "early_stopping": self.early_stopping is not None,
            "scheduler": self.scheduler is not None,
            **self._of_gradient_steps,
        }
        return [key for key, here in told.items() if here]

    @property
    def of_torch_modules(self) -> list[str]:
        """Settings that are not as they are by default, and that make sense for torch modules."""
        perturbed = self.warm_start.mode == "shrink_and_perturb"
        told = {**self._of_gradient_steps, "warm_start.mode shrink_and_perturb": perturbed}
        return [key for key, here in told.items() if here]

    @property
    def _of_gradient_steps(self) -> dict[str, bool]:
        """How torch takes its steps: which settings are not as they are by default."""
        return {
            "static_capture": self.static_capture is True,
            "compile": self.compile,
            "mixed_precision": self.mixed_precision is not None,
            "tf32": self.tf32,
            "accumulate_batches": self.accumulate_batches > 1,
            "clip_grad_norm": self.clip_grad_norm is not None,
            "last_batch": self.last_batch != "keep",
            "loader": self.loader != LoaderConfig(),
        }

    def task(self, classes: int | None) -> Task:
        """What there is to learn from a pool of so many classes, or None, of numbers."""
        if classes is not None:
            return Task.CLASSIFICATION
        return Task.MULTILABEL if self.loss == "multilabel" else Task.REGRESSION

    @property
    def ranks(self) -> int:
        """Training processes on all machines."""
        return self.processes * self.distributed.nodes

    @property
    def fine_tuning_epochs(self) -> int:
        """Epochs from the second iteration on."""
        if self.max_fine_tuning_epochs is None:
            return self.max_training_epochs
        return self.max_fine_tuning_epochs
