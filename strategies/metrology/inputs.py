"""The predictions that metrics are computed from, checked."""

from __future__ import annotations

import torch

from querist.context import MetrologyContext
from querist.errors import StrategyError
from querist.values import Task

_INSTEAD = {
    Task.CLASSIFICATION: "f1 or accuracy",
    Task.REGRESSION: "mse, mae or r2",
    Task.MULTILABEL: "f1_micro, f1_macro, subset_accuracy or hamming_loss",
}


def class_predictions(context: MetrologyContext, metric: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Targets and predictions as class indices `(m,)` int64.

    Raises:
        StrategyError: the task is not classification, there is nothing to measure on, or the
            shapes or classes do not fit.
    """
    if context.task != Task.CLASSIFICATION or context.classes is None:
        raise StrategyError(
            f"{metric} measures classification, and this learner's task is {context.task}: "
            f"use {_INSTEAD[context.task]}"
        )
    _check_shapes(context, metric)
    targets, predictions = context.targets, context.predictions
    for what, values in (("targets", targets), ("predictions", predictions)):
        whole = not values.is_floating_point() and not values.is_complex() and values.dim() == 1
        if not whole or int(values.min()) < 0 or int(values.max()) >= context.classes:
            raise StrategyError(
                f"{metric} needs {what} that are class indices (m,) from 0 to "
                f"{context.classes - 1}, not {values.dtype} {tuple(values.shape)} from "
                f"{values.min().item():g} to {values.max().item():g}: check the learner's predict"
            )
    return targets.to(torch.int64), predictions.to(torch.int64)


def class_probabilities(
    context: MetrologyContext, metric: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Targets as class indices `(m,)` int64, and probabilities `(m, c)` as the learner gave them.

    Raises:
        StrategyError: as for `class_predictions`, or there are no probabilities for each class.
    """
    targets, _ = class_predictions(context, metric)
    expected = (len(targets), context.classes)
    found = context.probabilities
    if found is None or tuple(found.shape) != expected:
        raise StrategyError(
            f"{metric} needs probabilities of shape {expected}, not "
            f"{None if found is None else tuple(found.shape)}: check the learner's predict_proba"
        )
    return targets, found


def number_predictions(context: MetrologyContext, metric: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Targets and predictions as float64 `(m, d)`; numbers `(m,)` become one column.

    Raises:
        StrategyError: the task is not regression, there is nothing to measure on, or the shapes
            differ.
    """
    if context.task != Task.REGRESSION:
        raise StrategyError(
            f"{metric} measures regression, and this learner's task is {context.task}: "
            f"use {_INSTEAD[context.task]}"
        )
    _check_shapes(context, metric)
    rows = len(context.targets)
    return (
        context.targets.to(torch.float64).reshape(rows, -1),
        context.predictions.to(torch.float64).reshape(rows, -1),
    )


def label_predictions(context: MetrologyContext, metric: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Targets and predictions as bools `(m, c)`: which labels are there.

    Raises:
        StrategyError: the task is not multilabel, there is nothing to measure on, or the shapes or
            values do not fit.
    """
    if context.task != Task.MULTILABEL:
        raise StrategyError(
            f"{metric} measures several labels, and this learner's task is {context.task}: "
            f"use {_INSTEAD[context.task]}"
        )
    _check_shapes(context, metric)
    for what, values in (("targets", context.targets), ("predictions", context.predictions)):
        if values.dim() != 2 or not bool(((values == 0) | (values == 1)).all()):
            raise StrategyError(
                f"{metric} needs {what} (m, labels) that are 0 or 1, not {values.dtype} "
                f"{tuple(values.shape)} from {values.min().item():g} to {values.max().item():g}: "
                "check the learner's predict"
            )
    return context.targets.bool(), context.predictions.bool()


def _check_shapes(context: MetrologyContext, metric: str) -> None:
    targets, predictions = tuple(context.targets.shape), tuple(context.predictions.shape)
    if targets != predictions:
        # Unequal shapes would broadcast to a number that looks plausible.
        raise StrategyError(
            f"{metric} needs predictions shaped like the targets {targets}, not {predictions}: "
            "check the learner's predict"
        )
    if not targets or 0 in targets:
        raise StrategyError(
            f"{metric} needs at least one test sample, not targets of shape {targets}: hold some "
            "back with data.split.test, or give the pool a test set"
        )
