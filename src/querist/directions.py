"""Which way a metric is better, and by how much one number beats another."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from querist.errors import ConfigurationError

HIGHER_IS_BETTER = frozenset(
    {
        *("f1", "precision", "recall", "accuracy", "balanced_accuracy"),
        *("roc_auc", "auc_pr", "average_precision", "mcc", "matthews", "kappa", "cohen_kappa"),
        *("r2", "precision_recall"),
        *("f1_micro", "f1_macro", "subset_accuracy"),
    }
)
LOWER_IS_BETTER = frozenset(
    {
        *("mse", "rmse", "mae", "max_error"),
        *("log_loss", "brier", "ece", "calibration_error"),
        *("loss", "train_loss", "validation_loss"),
        *("classification_change", "overall_uncertainty", "delta_f"),
        *("latency", "hamming_loss"),
    }
)


class Direction(StrEnum):
    """Which way a metric is better."""

    MAX = "max"
    MIN = "min"


def direction_of(metric: str, direction: str = "auto") -> Direction:
    """`direction`, or the known one of `metric` where it is `auto`.

    Raises:
        ConfigurationError: `direction` is none, or `auto` and the metric is not a known one.
    """
    if direction not in ("auto", "max", "min"):
        raise ConfigurationError(f"direction is one of auto, max, min, not {direction!r}")
    if direction != "auto":
        return Direction(direction)
    if metric in HIGHER_IS_BETTER:
        return Direction.MAX
    if metric in LOWER_IS_BETTER:
        return Direction.MIN
    known = ", ".join(sorted(HIGHER_IS_BETTER | LOWER_IS_BETTER))
    raise ConfigurationError(
        f"direction 'auto' knows {known}, not {metric!r}: set direction to max or min"
    )


def gain(*, new: float, old: float, direction: Direction) -> Decimal:
    """By how much `new` is better than `old`; negative when it is worse. Both must be finite.

    Decimal, as the numbers are written: in floats 0.8 is more than 0.1 above 0.7.
    """
    rise = as_written(new) - as_written(old)
    return rise if direction is Direction.MAX else -rise


def as_written(number: float) -> Decimal:
    """The decimal that a float is shown as."""
    return Decimal(repr(float(number)))
