"""The values that strategies, gates and runs exchange: frozen, knowing nothing of storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

import torch

LabelValue: TypeAlias = int | float | list[float]
"""A class index, a number, or a vector of numbers (of 0 and 1 where there are labels)."""


class Phase(StrEnum):
    """The four steps of an iteration, in order."""

    TRAIN = "train"
    METROLOGY = "metrology"
    QUERY = "query"
    LABEL = "label"


class Task(StrEnum):
    """What a learner predicts."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    MULTILABEL = "multilabel"
    """Several labels at once, each there or not: targets are floats `(n, c)` of 0 and 1."""

    @property
    def has_probabilities(self) -> bool:
        """Whether learners say how likely a class, or each label, is."""
        return self is not Task.REGRESSION


@dataclass(frozen=True)
class Selection:
    """The samples that a query strategy wants labeled, most wanted first.

    Attributes:
        indices: pool indices, without repeats.
        scores: one number per index, higher = more wanted.
        samples: only for strategies that make samples of their own: their features `(n, ...)`
            (or items, for a data set with `append`); `indices` is then empty, and the run gives
            them indices behind the pool's.
    """

    indices: tuple[int, ...]
    scores: tuple[float, ...]
    samples: torch.Tensor | Sequence[Any] | None = None

    def __len__(self) -> int:
        return len(self.indices) if self.samples is None else len(self.samples)


@dataclass(frozen=True)
class Label:
    """One answer of a label source.

    Attributes:
        index: the sample it belongs to.
        value: class index, number, or vector of numbers (of 0 and 1 for several labels).
        annotator: who said so; one sample may have one label per annotator.
        cost: what it cost, in the experiment's own unit.
    """

    index: int
    value: LabelValue
    annotator: str = ""
    cost: float = 1.0


@dataclass(frozen=True)
class MetrologyRecord:
    """What was measured of a learner: a number per metric name."""

    values: Mapping[str, float]


@dataclass(frozen=True)
class IterationResult:
    """One finished or running iteration as stop criteria and schedules see it.

    Attributes:
        labels: labeled samples that the iteration's model was trained on.
        metrics: metrology by metric name; empty while metrology was skipped.
        train_loss: mean loss over the last epoch; None without training.
        seconds: time per phase.
        labels_bought: labels that were bought through the end of the iteration, the initial ones
            apart.
        label_cost: what they cost, in the experiment's own unit.
    """

    iteration: int
    labels: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    train_loss: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    labels_bought: int = 0
    label_cost: float = 0.0


History: TypeAlias = Sequence[IterationResult]


@dataclass(frozen=True)
class StopDecision:
    """Whether a learner stops, and the reason in words."""

    stop: bool
    reason: str = ""


@dataclass(frozen=True)
class Item:
    """One sample that has a name of its own, in data that grow.

    Attributes:
        id: its name; never another sample's.
        digest: SHA-256 of its content.
        label: what is known of it; None while nothing is.
        metadata: what else is known of it, as JSON; its subset stands under
            `{"system": {"tags": {"train": true}}}`.
    """

    id: str
    digest: str
    label: LabelValue | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Detections:
    """Boxes in one image, found or true.

    Attributes:
        boxes: `(m, 4)`: left, top, right, bottom.
        classes: `(m,)` int64.
        scores: `(m,)`, how sure the model is; None for the truth.
    """

    boxes: torch.Tensor
    classes: torch.Tensor
    scores: torch.Tensor | None = None


@dataclass(frozen=True)
class Outcomes:
    """What a model says of each sample of a test set, beside the truth.

    Attributes:
        task: classification, regression or multilabel.
        classes: number of classes; None for the other tasks.
        targets: the truth `(m,)` or `(m, d)`.
        predictions: class indices `(m,)`, or numbers or labels shaped like the targets.
        probabilities: `(m, c)`, of classes or of each label for itself; None for regression.
        slices: samples that are looked at apart, as positions `(k,)`, by value, by what they are
            sliced by: `{"site": {"north": tensor([0, 3])}}`.
        found, truth: for detection, the boxes of each sample; None otherwise.
        seconds: how long a prediction takes, per sample; None where it was not measured.
    """

    task: Task
    classes: int | None
    targets: torch.Tensor
    predictions: torch.Tensor
    probabilities: torch.Tensor | None = None
    slices: Mapping[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)
    found: Sequence[Detections] | None = None
    truth: Sequence[Detections] | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """A model's numbers on one test set, for a gate.

    Attributes:
        iteration: the iteration (of a run) or the version (of a registered model) that it is.
        metrics: metrology by metric name.
        test_digest: SHA-256 of the test set that the numbers come from.
        outcomes: what the model says of each sample; None unless the gate has `wants_outcomes`.
        curves: training curves by name, a value an epoch.
    """

    iteration: int
    metrics: Mapping[str, float]
    test_digest: str
    outcomes: Outcomes | None = field(default=None, compare=False, repr=False)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One comparison inside a verdict, with its numbers.

    Attributes:
        metric: what was compared; with its slice, where it was one: `f1 (site north)`.
        champion, challenger: the numbers; None where there is none.
        min_delta: better means by more than this.
        won: whether the challenger wins it.
        reason: why, in words.
        low, high: a confidence interval of how much better the challenger is; None without one.
        judged: False for what is shown, and is no sub-comparison of its own.
        gain: how much better the challenger is, in units of the metric, negative when it is worse;
            None where there is nothing to compare.
    """

    metric: str
    champion: float | None
    challenger: float | None
    min_delta: float
    won: bool
    reason: str
    low: float | None = None
    high: float | None = None
    judged: bool = True
    gain: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Promote the challenger, or discard it; every check with its numbers."""

    promote: bool
    reason: str
    checks: tuple[Check, ...] = ()

    @property
    def action(self) -> str:
        """`update_model` or `discard`."""
        return "update_model" if self.promote else "discard"
