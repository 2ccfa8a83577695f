"""A run's data: the pool, what is held back, what is labeled, what may be asked for."""

from __future__ import annotations

import hashlib
import logging
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import torch

from querist.config.experiment import Experiment
from querist.errors import ConfigurationError, DataError, LabelError, RunError
from querist.ledger import INITIAL, INITIAL_LABELS, Ledger
from querist.pools.check import check_disjoint, check_pool
from querist.pools.combined import CombinedPool, is_truthful
from querist.pools.labeled import LabeledSet
from querist.pools.split import TEST, TRAIN, VALIDATION, initial_indices, split_pool
from querist.protocols import Pool
from querist.randomness import SETUP, derive_seed, generator, seeded_globally
from querist.registry import build, find
from querist.runs.append_data import FINGERPRINT, AppendData, check_append_style
from querist.storage.plain import from_bytes, to_bytes
from querist.values import Label, LabelValue, Task

TRUTH = "truth_digest"
_log = logging.getLogger(__name__)


@dataclass
class RunData:
    """Everything about samples and labels that phases need.

    Attributes:
        pool: one index space over the pool, the initial pool, and made samples.
        fingerprint: SHA-256 of all features.
        test, validation: held-out sets with their truth; None where there are none.
        queryable: indices that may ever be asked for.
        initial: indices that are labeled at the start.
        subsets: indices by the name of what they are for.
        task: what there is to learn.
    """

    pool: CombinedPool
    fingerprint: str
    test: LabeledSet | None
    validation: LabeledSet | None
    queryable: torch.Tensor
    initial: torch.Tensor
    subsets: dict[str, torch.Tensor]
    task: Task

    @property
    def sample(self) -> torch.Tensor:
        """Features of one sample `(1, ...)`."""
        return self.pool.features(torch.tensor([0]))

    @property
    def in_plane(self) -> bool:
        """Whether classes can be drawn over two features."""
        return self.sample.shape[1:] == (2,) and self.task is Task.CLASSIFICATION

    def truth_digest(self) -> str:
        """SHA-256 of the classes and of what the pool knows of the truth."""
        pool = self.pool.pool
        digest = hashlib.sha256(str(pool.classes).encode())
        if is_truthful(pool):
            targets = self.pool.targets(torch.arange(len(pool))).contiguous()
            digest.update(targets.view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def test_digest(self) -> str:
        """SHA-256 of the test set's features and truth."""
        if self.test is None:
            return ""
        features = self.test.features().contiguous().view(-1).view(torch.uint8)
        targets = self.test.targets.contiguous().view(-1).view(torch.uint8)
        return hashlib.sha256(features.numpy().tobytes() + targets.numpy().tobytes()).hexdigest()

    def labeled(self, ledger: Ledger, before_iteration: int | None = None) -> LabeledSet:
        """The labeled set as it was when `before_iteration` started training (None = now)."""
        answers: dict[int, list[LabelValue]] = defaultdict(list)
        for sample, _, value in ledger.label_rows(before_iteration):
            answers[sample].append(value)
        values = [_consensus(v, self.task) for v in answers.values()]
        return LabeledSet(self.pool, torch.tensor(list(answers)), self._as_targets(values))

    def _as_targets(self, values: list[LabelValue]) -> torch.Tensor:
        kind = torch.int64 if self.task is Task.CLASSIFICATION else torch.float64
        return torch.tensor(values, dtype=kind)

    def unlabeled(self, ledger: Ledger) -> torch.Tensor:
        """Samples that may be asked for: not labeled, not asked for yet, ascending."""
        return self.queryable[~torch.isin(self.queryable, ledger.selected())]

    def check_label(self, label: Label) -> None:
        """Refuse a label that its sample cannot have.

        Raises:
            LabelError: it is not a class, or not a finite number (or vector of numbers).
        """
        value = label.value
        classes = self.pool.classes
        if classes is not None:
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < classes:
                raise LabelError(
                    f"a label is a class 0 to {classes - 1}, not {value!r:.80} for sample "
                    f"{label.index}"
                )
            return
        numbers = value if isinstance(value, list) else [value]
        if self.task is Task.MULTILABEL and not all(_is_label(number) for number in numbers):
            raise LabelError(
                f"a label is a list of 0 and 1 here, one for each label that a sample may have, "
                f"not {value!r:.80} for sample {label.index}"
            )
        if not all(_is_finite(number) for number in numbers):
            raise LabelError(
                f"a label is a finite number or a list of them, not {value!r:.80} for sample "
                f"{label.index}"
            )
        given = (len(numbers),) if isinstance(value, list) else ()
        expected = tuple(self.pool.targets(self.initial[:1]).shape[1:])
        if given != expected:
            wanted = f"a list of {expected[0]} numbers" if expected else "a number"
            raise LabelError(
                f"a label is {wanted} here, as the initial ones are, not {value!r:.80} for sample "
                f"{label.index}"
            )

    def learned(self, label: Label) -> None:
        """A label is durable; nothing else is to be done, the ledger is where labels are."""

    def encode(self, sample: torch.Tensor) -> bytes:
        """A made sample for the ledger."""
        return to_bytes(sample)

    def restore(self, ledger: Ledger) -> None:
        """Bring back the samples that were made on the way."""
        for content in ledger.made_samples():
            self.pool.add(from_bytes(content))


def _is_label(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and number in (0, 1)


def _is_finite(number: object) -> bool:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond what a float can hold
        return False


def _consensus(values: list[LabelValue], task: Task) -> LabelValue:
    """One value for a sample that several annotators labeled: majority, or the mean.

    Of several labels each has its own majority.
    """
    if len(values) == 1:
        return values[0]
    if task is Task.CLASSIFICATION:
        votes = Counter(values)
        return min(votes, key=lambda v: (-votes[v], v))
    mean = torch.tensor(values, dtype=torch.float64).mean(0)
    # As many against a label as for it: it is not there, as the lower of two classes is chosen.
    return (mean > 0.5).double().tolist() if task is Task.MULTILABEL else mean.tolist()


def appends(experiment: Experiment) -> bool:
    """Whether the experiment's pool is a data set with `append`."""
    return hasattr(find("pool", experiment.data.pool.name), "append")


def prepare_data(experiment: Experiment) -> tuple[RunData | AppendData, list[Label]]:
    """Build and check a new run's data; also the initial labels.

    Raises:
        DataError: something about the data cannot be used.
    """
    if appends(experiment):
        check_append_style(experiment)
        return AppendData(experiment), []
    for key in ("unlabeled", "validation"):
        if getattr(experiment.data, key) is not None:
            raise ConfigurationError(
                f"data.{key} belongs to a data set with `append`, which data.pool is not: use "
                "data.initial.pool and data.split, or give the pool held-out sets"
            )
    pool, fingerprint = _build_pool(experiment)
    seed = experiment.data_seed
    subsets = split_pool(pool.pool, experiment.data.split, generator(seed, SETUP, "setup", "split"))
    for name in (TEST, VALIDATION):
        share = getattr(experiment.data.split, name)
        if share > 0 and len(subsets[name]) == 0:
            raise DataError(
                f"data.split.{name} {share} of {len(pool.pool)} samples is less than one: raise it"
            )
    initial = initial_indices(
        pool, experiment.data.initial, subsets[TRAIN], generator(seed, SETUP, "setup", "initial")
    )
    data = _assemble(pool, fingerprint, {**subsets, INITIAL: initial}, experiment)
    held = {VALIDATION: data.validation, TEST: data.test}
    learned_from = torch.cat([subsets[TRAIN], initial]).unique()
    parts: dict[str, tuple[Pool, torch.Tensor]] = {TRAIN: (pool, learned_from)}
    parts |= {name: (s.pool, s.indices) for name, s in held.items() if s is not None}
    check_disjoint(parts)
    _check_held_out(experiment, data)
    _check_labels(data)
    return data, _initial_labels(data)


def reopen_data(experiment: Experiment, ledger: Ledger) -> RunData | AppendData:
    """A run's data as its ledger says they were split.

    Raises:
        RunError: the pool is not the one that the run was made with.
    """
    if appends(experiment):
        appended = AppendData(experiment)
        appended.restore(ledger)
        return appended
    pool, fingerprint = _build_pool(experiment)
    if fingerprint != ledger.fact(FINGERPRINT):
        raise RunError(
            "the pool is not the one that this run was made with (its fingerprint differs): bring "
            "the data back as they were, or start a new run"
        )
    subsets = {name: ledger.subset(name) for name in (VALIDATION, TEST, INITIAL)}
    everything = torch.arange(len(pool.pool))
    held_back = torch.cat([subsets[VALIDATION], subsets[TEST]])
    subsets[TRAIN] = everything[~torch.isin(everything, held_back)]
    data = _assemble(pool, fingerprint, subsets, experiment)
    if ledger.fact(TRUTH) not in (None, data.truth_digest()):
        raise RunError(
            "the pool's labels are not those that this run was made with (their digest differs): "
            "bring the data back as they were, or start a new run"
        )
    data.restore(ledger)
    return data


def _build_pool(experiment: Experiment) -> tuple[CombinedPool, str]:
    with seeded_globally(derive_seed(experiment.data_seed, SETUP, "setup", "pool")):
        pool = _as_pool(build_component("pool", experiment.data.pool), "data.pool")
        initial = None
        if experiment.data.initial.pool is not None:
            made = build_component("pool", experiment.data.initial.pool)
            initial = _as_pool(made, "data.initial.pool")
            if not is_truthful(initial):
                raise DataError("data.initial.pool must know its labels: give it targets")
    digests = [check_pool(pool)]
    if initial is not None:
        digests.append(check_pool(initial, "data.initial.pool"))
    for name, held in sorted(getattr(pool, "held_out", {}).items()):
        digests.append(check_pool(held, f"the pool's own {name} set"))
    return CombinedPool(pool, initial), hashlib.sha256("".join(digests).encode()).hexdigest()


def build_component(kind: str, component: Any) -> Any:
    """An instance of a component of the configuration."""
    return build(kind, component.name, component.options)


def _as_pool(made: Any, what: str) -> Pool:
    from querist.pools.dataset_pool import DatasetPool

    if hasattr(made, "append"):
        raise DataError(
            f"{what} makes a data set with `append`: name its class itself, so that this is known "
            "before it is made"
        )
    if isinstance(made, Pool):
        return made
    if hasattr(made, "__len__") and hasattr(made, "__getitem__"):
        pool = DatasetPool(made, classes=getattr(made, "classes", None))
        if pool.truthful and pool.classes is None:
            first = pool.targets(torch.tensor([0]))
            if not first.is_floating_point():
                raise DataError(
                    f"{what} has integer targets but does not say how many classes there are: give "
                    "the data set an attribute `classes`, or make the targets floats"
                )
        return pool
    raise DataError(
        f"{what} gives a {type(made).__name__}: a pool has `features`, `classes` and a length, or "
        "is a map-style data set with `__len__` and `__getitem__`"
    )


def _assemble(
    pool: CombinedPool,
    fingerprint: str,
    subsets: dict[str, torch.Tensor],
    experiment: Experiment,
) -> RunData:
    initial = subsets[INITIAL]
    train = subsets[TRAIN]
    return RunData(
        pool=pool,
        fingerprint=fingerprint,
        test=_held_out(pool, subsets[TEST], TEST),
        validation=_held_out(pool, subsets[VALIDATION], VALIDATION),
        queryable=train[~torch.isin(train, initial)],
        initial=initial,
        subsets=subsets,
        task=experiment.training.task(pool.classes),
    )


def _held_out(pool: CombinedPool, indices: torch.Tensor, name: str) -> LabeledSet | None:
    """A held-out subset: of the pool, or the one that the pool brings."""
    own = getattr(pool.pool, "held_out", {}).get(name)
    if own is not None:
        if len(indices):
            raise DataError(
                f"the pool brings its own {name} set: set data.split.{name} to 0 or drop the set"
            )
        everything = torch.arange(len(own))
        return LabeledSet(own, everything, own.targets(everything))
    return LabeledSet(pool, indices, pool.targets(indices)) if len(indices) else None


def _check_held_out(experiment: Experiment, data: RunData) -> None:
    if data.validation is None and experiment.training.early_stopping is not None:
        raise DataError(
            "training.early_stopping needs held-out samples: set data.split.validation, or give "
            "the pool a validation set"
        )


def _check_labels(data: RunData) -> None:
    """Refuse targets that are not labels where several labels are learned."""
    if data.task is not Task.MULTILABEL:
        return
    held = {"test": data.test, "validation": data.validation}
    known = {name: s.targets for name, s in held.items() if s is not None}
    known["initial"] = data.pool.targets(data.initial)
    for name, targets in known.items():
        if targets.ndim != 2 or not bool(((targets == 0) | (targets == 1)).all()):
            raise DataError(
                f"training.loss multilabel needs targets (n, labels) of 0.0 and 1.0, and those of "
                f"the {name} set have the shape {tuple(targets.shape)}, from "
                f"{targets.min().item():g} to {targets.max().item():g}: encode each label as a "
                "column, or use another loss"
            )


def _initial_labels(data: RunData) -> list[Label]:
    targets = data.pool.targets(data.initial)
    values = targets.tolist()
    if data.task is Task.CLASSIFICATION and len(set(values)) == 1:
        raise DataError(
            f"the initial labels hold only class {values[0]}: raise data.initial, set "
            "data.initial.stratify to true, or choose another seed"
        )
    labels = [
        Label(index, value, cost=0.0)
        for index, value in zip(data.initial.tolist(), values, strict=True)
    ]
    for label in labels:
        data.check_label(label)
    return labels


def record_start(data: RunData | AppendData, labels: list[Label], ledger: Ledger) -> None:
    """Write the split, the initial labels and the fingerprint of a new run."""
    count = len(labels) if isinstance(data, RunData) else len(data.labeled(ledger))
    facts = {
        FINGERPRINT: data.fingerprint,
        TRUTH: data.truth_digest(),
        INITIAL_LABELS: str(count),
    }
    if isinstance(data, AppendData):
        facts |= data.facts()
    # What is not held back is learned from: that goes without saying, and may be very many.
    subsets = {name: indices for name, indices in data.subsets.items() if name != TRAIN}
    ledger.record_start(subsets, labels, facts)
