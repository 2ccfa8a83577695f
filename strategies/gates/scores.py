"""A metric by name, from what a model says of each sample, on any of the samples."""

from __future__ import annotations

import torch

from querist.config.compare import LATENCY, PRECISION_RECALL, CheckConfig
from querist.context import MetrologyContext
from querist.errors import StrategyError
from querist.protocols import MetrologyStrategy
from querist.registry import Registered, components
from querist.strategies.gates.detection import match
from querist.strategies.gates.ranked import RANKED, ranked_score
from querist.strategies.gates.score import Score
from querist.strategies.metrology.inputs import class_probabilities
from querist.values import Outcomes

DEFAULT_IOU = 0.5
SAME = {
    PRECISION_RECALL: "auc_pr",
    "average_precision": "auc_pr",
    "ece": "calibration_error",
}
"""Other names of what metrology measures."""


def samples(outcomes: Outcomes) -> int:
    """How many samples there are: images for detection."""
    return len(outcomes.targets) if outcomes.found is None else len(outcomes.found)


def can_be_scored(metric: str) -> bool:
    """Whether a metric can be computed from what a model says of each sample."""
    return strategy_for(metric) is not None


def score(check: CheckConfig, outcomes: Outcomes) -> Score:
    """What a check compares, computed from outcomes.

    Raises:
        StrategyError: it cannot be, in words.
    """
    if check.metric == LATENCY:
        raise StrategyError("nobody measured how long a prediction takes")
    if not samples(outcomes):
        raise StrategyError("the test set is empty")
    if check.metric == PRECISION_RECALL and outcomes.found is not None:
        return _of_boxes(outcomes, check.iou_threshold or DEFAULT_IOU, check.specific_label)
    metric = SAME.get(check.metric, check.metric)
    strategy = strategy_for(metric)
    if strategy is None:
        raise StrategyError("it was not measured, and cannot be computed from predictions")
    if metric in RANKED and type(strategy).__module__.startswith("querist."):
        return _of_ranks(metric, outcomes, check.specific_label)
    return _of_strategy(strategy, metric, outcomes)


def strategy_for(metric: str) -> MetrologyStrategy | None:
    """The metrology strategy that measures a metric on the test set; ours before others'."""
    measured = SAME.get(metric, metric)
    able = [c for c in components("metrology") if measured in _measures(c)]
    able.sort(key=lambda c: not c.factory.__module__.startswith("querist."))
    return able[0].factory() if able else None


def _measures(component: Registered) -> tuple[str, ...]:
    """What a strategy measures with its default options on the test set; () when it needs more."""
    factory = component.factory
    if hasattr(factory, "stop_set_size") or not getattr(factory, "needs_test_set", True):
        return ()
    if any(option.default is option.empty for option in component.options.values()):
        return ()
    measures = getattr(factory, "measures", ())
    return measures if isinstance(measures, tuple) else ()


def _of_strategy(strategy: MetrologyStrategy, metric: str, outcomes: Outcomes) -> Score:
    def of(rows: torch.Tensor) -> float:
        return float(strategy.compute(context(outcomes, rows)).values[metric])

    of_each = getattr(strategy, "of_each", None)
    everything = torch.arange(len(outcomes.targets))
    return Score(of, None if of_each is None else of_each(context(outcomes, everything)))


def _of_ranks(metric: str, outcomes: Outcomes, label: int | None) -> Score:
    everything = torch.arange(len(outcomes.targets))
    targets, probabilities = class_probabilities(context(outcomes, everything), metric)
    if label is not None and label >= probabilities.shape[1]:
        raise StrategyError(f"specific_label {label} is none of {probabilities.shape[1]} classes")
    return ranked_score(targets, probabilities, RANKED[metric], label)


def _of_boxes(outcomes: Outcomes, iou_threshold: float, label: int | None) -> Score:
    matches, images = match(outcomes, iou_threshold), samples(outcomes)

    def of(rows: torch.Tensor) -> float:
        return matches.mean_average_precision(torch.bincount(rows, minlength=images), label)

    return Score(of)


def context(outcomes: Outcomes, rows: torch.Tensor) -> MetrologyContext:
    """What a metrology strategy may look at, for samples given as positions `(k,)`."""
    probabilities = outcomes.probabilities
    return MetrologyContext(
        task=outcomes.task,
        classes=outcomes.classes,
        targets=outcomes.targets[rows],
        predictions=outcomes.predictions[rows],
        probabilities=None if probabilities is None else probabilities[rows],
        labeled=0,
        iteration=0,
    )
