"""A metric by name out of the history."""

from __future__ import annotations

from querist.errors import StrategyError, UnknownNameError
from querist.values import IterationResult

TRAIN_LOSS = "train_loss"
"""Names the training loss where metrology has no metric of that name."""


def metric_if_there(result: IterationResult, metric: str) -> float | None:
    """The metric of one iteration; None when it was not measured."""
    found = result.metrics.get(metric)
    if found is None and metric == TRAIN_LOSS:
        found = result.train_loss
    return None if found is None else float(found)


def metric_of(result: IterationResult, metric: str) -> float:
    """The metric of one iteration.

    Raises:
        StrategyError: it was not measured; the nearest names that were are suggested.
    """
    found = metric_if_there(result, metric)
    if found is None:
        known = set(result.metrics) | ({TRAIN_LOSS} if result.train_loss is not None else set())
        raise StrategyError(
            f"iteration {result.iteration}: {UnknownNameError('metric', metric, known)}"
        )
    return found
