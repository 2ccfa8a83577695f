"""Losses of the default training step, and what a module's outputs mean under each."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from querist.errors import LearnerError
from querist.values import Task

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def bce_with_logits(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of one logit per sample, `(n, 1)` or `(n,)`."""
    return F.binary_cross_entropy_with_logits(outputs.reshape(-1), targets.to(outputs.dtype))


def cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits `(n, c)`."""
    return F.cross_entropy(outputs, targets)


def _for_numbers(loss: Loss) -> Loss:
    def of(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if outputs.numel() != targets.numel():
            raise LearnerError(
                f"the model gives {tuple(outputs.shape)} for targets {tuple(targets.shape)}: its "
                "last layer needs as many outputs as a target has numbers"
            )
        return loss(outputs.reshape(targets.shape), targets.to(outputs.dtype))

    return of


LOSSES: dict[str, Loss] = {
    "bce_with_logits": bce_with_logits,
    "cross_entropy": cross_entropy,
    "mse": _for_numbers(F.mse_loss),
    "l1": _for_numbers(F.l1_loss),
    "huber": _for_numbers(F.huber_loss),
    "multilabel": _for_numbers(F.binary_cross_entropy_with_logits),
}


def choose_loss(setting: str, task: Task, classes: int | None, width: int) -> str:
    """The loss for a module that gives `width` numbers per sample.

    Raises:
        LearnerError: outputs and classes do not fit each other, or the loss does not fit the task.
    """
    if task is Task.MULTILABEL:
        return setting
    if setting == "multilabel":
        raise LearnerError(
            f"training.loss multilabel is for targets (n, labels) of 0.0 and 1.0, but the pool has "
            f"{classes} classes: remove it, or make the targets floats"
        )
    if task is Task.REGRESSION:
        name = "mse" if setting == "auto" else setting
        if name in ("bce_with_logits", "cross_entropy"):
            raise LearnerError(
                f"training.loss {name} is for classes, but the pool's targets are numbers: "
                "use mse, l1 or huber"
            )
        return name
    name = ("bce_with_logits" if width == 1 else "cross_entropy") if setting == "auto" else setting
    if name not in ("bce_with_logits", "cross_entropy"):
        raise LearnerError(
            f"training.loss {name} is for numbers, but the pool has {classes} classes: "
            "use cross_entropy or bce_with_logits"
        )
    fits = width == 1 and classes == 2 if name == "bce_with_logits" else width == classes
    if not fits:
        raise LearnerError(
            f"the model gives {width} number{'s' if width != 1 else ''} per sample but the pool "
            f"has {classes} classes: its last layer needs {classes} outputs"
            + (" (or 1 with bce_with_logits)" if classes == 2 else "")
        )
    return name


def probabilities(outputs: torch.Tensor, loss: str) -> torch.Tensor:
    """Probabilities `(n, c)` of classes, or of each label, from a module's logits."""
    if loss == "multilabel":
        return (outputs[:, None] if outputs.ndim == 1 else outputs.flatten(1)).sigmoid()
    if loss == "bce_with_logits":
        positive = outputs.reshape(-1).sigmoid()
        return torch.stack([1 - positive, positive], dim=1)
    return outputs.softmax(dim=1)
