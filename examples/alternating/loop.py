"""A model's head and what is below it learn in turn, each with an optimizer of its own.

The head is soon as good as the features allow, and changes them less at random than a fresh head
would: Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution, 2022, arXiv:2202.10054. Here the two take turns all the way, since new labels
keep coming.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch

from querist.config.training import TrainingConfig
from querist.errors import ConfigurationError, LearnerError
from querist.pools import LabeledSet
from querist.training.batches import to_device, training_batches
from querist.training.job import EpochReport, TrainingJob, TrainingReport
from querist.training.optimizers import check_optimizer, find_optimizer
from querist.training.weights import (
    TRAINING_STATE,
    WEIGHTS,
    state_from_bytes,
    state_to_bytes,
    weights_from_bytes,
    weights_to_bytes,
)

NOT_FOLLOWED = (
    "scheduler", "early_stopping", "accumulate_batches", "clip_grad_norm", "mixed_precision",
    "compile", "last_batch", "processes", "distributed",
)  # fmt: skip
"""Settings that this loop has no use for; it refuses them rather than leave them unheard."""


class Alternating:
    """Some steps for the head, then some for the features below it, and so on.

    The features have `training.optimizer` and `training.fine_tuning_lr`; the head has an optimizer
    of its own, at one learning rate throughout.

    Args:
        head: the submodule that is the head.
        optimizer: the head's optimizer, by name.
        lr: the head's learning rate.
        head_steps: steps that the head takes before it is the features' turn.
        feature_steps: steps that the features take before it is the head's turn.

    Raises:
        ConfigurationError: there is no such optimizer, or a number is below 1.
    """

    def __init__(
        self,
        head: str = "head",
        optimizer: str = "Adam",
        lr: float = 0.01,
        head_steps: int = 4,
        feature_steps: int = 4,
    ) -> None:
        check_optimizer(optimizer, {"lr": lr})
        check_one_step_a_batch(optimizer)
        if min(head_steps, feature_steps) < 1:
            raise ConfigurationError(
                f"both parts take 1 step or more, not {head_steps} and {feature_steps}: with none "
                "for one of them use the default loop, and freeze it in the model"
            )
        self._head, self._optimizer, self._lr = head, optimizer, lr
        self._steps = {"head": head_steps, "features": feature_steps}

    def __call__(
        self, module: torch.nn.Module, labeled: LabeledSet, job: TrainingJob
    ) -> TrainingReport:
        """Train `module` in place, from the epoch on where an earlier try was cut off.

        Raises:
            ConfigurationError: the model has no such head, or a setting asks for what this loop
                does not do.
        """
        check_settings(job.settings)
        batches = training_batches(labeled, job)
        parts = self._parts(module)
        optimizers = self._optimizers(parts, job)
        epoch, steps, loss, validation_loss = 0, 0, None, None
        kept = None if job.partial is None else job.partial.latest()
        if kept is not None:
            epoch, files = kept
            weights_from_bytes(module, files[WEIGHTS])
            state = state_from_bytes(files[TRAINING_STATE])
            for name, optimizer in optimizers.items():
                optimizer.load_state_dict(state[name])
            steps, loss = state["steps"], state["loss"]
        while epoch < job.epochs:
            # Dropout draws from here; whoever calls a loop puts the global generators back.
            torch.manual_seed(job.epoch_seed(epoch))
            module.train()
            losses = []
            for batch in batches.epoch(job.epoch_seed(epoch)):
                turn = self._whose_turn(steps)
                losses.append(take_step(module, batch, job, parts, turn, optimizers[turn]))
                steps += 1
            loss = float(torch.stack(losses).mean())  # one look at the device per epoch
            if not math.isfinite(loss):
                raise LearnerError(
                    f"the training loss must be finite, it is {loss} in epoch {epoch + 1}: lower "
                    "the learning rates"
                )
            validation_loss = validate(module, job)
            epoch += 1
            job.on_epoch(EpochReport(epoch, job.epochs, loss, validation_loss))
            if job.partial is not None and job.keeps_state(epoch):
                state = {"steps": steps, "loss": loss, **states(optimizers)}
                job.partial.save(
                    epoch,
                    {WEIGHTS: weights_to_bytes(module), TRAINING_STATE: state_to_bytes(state)},
                )
        return TrainingReport(
            epochs=epoch,
            steps=steps,
            train_loss=loss,
            validation_loss=validation_loss,
            optimizer_state=None if job.settings.reset_optimizer else states(optimizers),
            samples=epoch * len(labeled),
        )

    def _parts(self, module: torch.nn.Module) -> dict[str, list[torch.nn.Parameter]]:
        """The weights of the head, and all others."""
        found = dict(module.named_modules()).get(self._head)
        if found is None or found is module or not list(found.parameters()):
            children = ", ".join(name for name, _ in module.named_children())
            raise ConfigurationError(
                f"the head is a part of the model with weights, and {self._head!r} is none: name "
                f"one of {children or 'its parts'}"
            )
        mine = {id(weight) for weight in found.parameters()}
        parts: dict[str, list[torch.nn.Parameter]] = {"head": [], "features": []}
        for weight in module.parameters():
            if weight.requires_grad:  # what the model itself has frozen stays as it is
                parts["head" if id(weight) in mine else "features"].append(weight)
        return parts

    def _optimizers(
        self, parts: Mapping[str, list[torch.nn.Parameter]], job: TrainingJob
    ) -> dict[str, Any]:
        """An optimizer for each part, with the state of the last iteration where that is kept."""
        named = job.settings.optimizer
        options: dict[str, Any] = {**named.options, **({} if job.lr is None else {"lr": job.lr})}
        made: dict[str, Any] = {
            "head": find_optimizer(self._optimizer)(parts["head"], lr=self._lr),
            "features": find_optimizer(named.name)(parts["features"], **options),
        }
        for name, optimizer in made.items():
            if job.optimizer_state is not None:
                rates = [group["lr"] for group in optimizer.param_groups]
                optimizer.load_state_dict(job.optimizer_state[name])
                # The state has the rate that it was saved with; this iteration may have another.
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate
        return made

    def _whose_turn(self, step: int) -> str:
        within = step % sum(self._steps.values())
        return "head" if within < self._steps["head"] else "features"


def check_settings(settings: TrainingConfig) -> None:
    """Refuse settings that this loop does not follow.

    Raises:
        ConfigurationError: names the first one.
    """
    check_one_step_a_batch(settings.optimizer.name)
    for name in NOT_FOLLOWED:
        if getattr(settings, name) != TrainingConfig.model_fields[name].default:
            raise ConfigurationError(
                f"training.{name} has no effect in the alternating loop: remove it, or use the "
                "default loop"
            )


def check_one_step_a_batch(optimizer: str) -> None:
    """Refuse an optimizer that evaluates a batch several times.

    Raises:
        ConfigurationError: it is LBFGS.
    """
    if optimizer.lower() == "lbfgs":
        raise ConfigurationError(
            "LBFGS evaluates a batch several times, which does not go with turns: use another one"
        )


def on_device(labeled: LabeledSet, job: TrainingJob) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and targets of a set, on the device."""
    features = to_device(labeled.features(), job.device, job.dtype)
    return features, to_device(labeled.targets, job.device, job.dtype)


def take_step(
    module: torch.nn.Module,
    batch: Any,
    job: TrainingJob,
    parts: Mapping[str, list[torch.nn.Parameter]],
    turn: str,
    optimizer: torch.optim.Optimizer,
) -> torch.Tensor:
    """One optimizer step for the part whose turn it is; returns the loss before it."""
    others = [weight for name, weights in parts.items() if name != turn for weight in weights]
    for weight in others:  # so that below a head that learns there is no backward pass
        weight.requires_grad_(False)
    try:
        loss = job.train_step(module, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    finally:
        for weight in others:
            weight.requires_grad_(True)
    return loss.detach()


def validate(module: torch.nn.Module, job: TrainingJob) -> float | None:
    """The loss on the validation set; None without one."""
    if job.validation is None:
        return None
    module.eval()
    with torch.no_grad():
        found = job.validate_step(module, on_device(job.validation, job))
    return None if found is None else float(found)


def states(optimizers: Mapping[str, torch.optim.Optimizer]) -> dict[str, Any]:
    """The optimizers' states by part."""
    return {name: optimizer.state_dict() for name, optimizer in optimizers.items()}
