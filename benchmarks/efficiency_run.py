"""One learning curve: a learner is given labels that a strategy asks for, until the budget ends."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from efficiency_data import Source, Split, split
from torch import nn

from querist.config.training import TrainingConfig
from querist.context import MetrologyContext, QueryContext, StopSet
from querist.learners.sklearn_learner import SklearnLearner
from querist.learners.torch_learner import TorchLearner
from querist.pools.labeled import LabeledSet
from querist.pools.tensor_pool import TensorPool
from querist.protocols import Learner, Pool
from querist.randomness import derive_seed, generator, seeded_globally
from querist.registry import build
from querist.strategies.metrology.stability import Stability
from querist.training.job import TrainingJob
from querist.values import IterationResult

LEARNERS = ("logistic", "mlp", "cnn")
CHUNK = 4096
HIDDEN = 128
SETTINGS = TrainingConfig.model_validate(
    {
        "max_training_epochs": 100,
        "batch_size": 10**7,  # full batches, at any number of labels: no change of regime
        "optimizer": {"name": "Adam", "options": {"lr": 1e-2, "weight_decay": 1e-4}},
        "warm_start": False,
        "device": "cpu",
        "threads": 1,
    }
)


@dataclass(frozen=True)
class Task:
    """What one curve is of.

    Attributes:
        label: the strategy's name in tables.
        strategy: its name in the registry; empty = all labels at once, for the full accuracy.
        options: of the strategy.
    """

    data: str
    learner: str
    label: str
    seed: int
    batch: int
    budget: int
    strategy: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """All that the curve depends on, for results that are found again."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Curve:
    """What was measured.

    Attributes:
        labels: at each iteration, the first ones among them.
        metrics: of each iteration: accuracy, and what `stability` measures on the stop set.
        seconds: that all of the strategy's choices took together.
    """

    labels: tuple[int, ...]
    metrics: Mapping[str, tuple[float, ...]]
    seconds: float

    @property
    def accuracies(self) -> tuple[float, ...]:
        return self.metrics["accuracy"]

    def history(self) -> list[IterationResult]:
        """The curve as stop criteria see it; a label costs 1."""
        first = self.labels[0]
        return [
            IterationResult(
                iteration=i,
                labels=n,
                metrics={name: values[i] for name, values in self.metrics.items()},
                labels_bought=n - first,
                label_cost=float(n - first),
            )
            for i, n in enumerate(self.labels)
        ]


def run(task: Task, source: Source) -> Curve:
    """Train, measure and ask in turn; with no strategy, train on all labels once."""
    torch.set_num_threads(1)
    data = split(*source.read(), task.seed)
    pool = TensorPool(torch.from_numpy(data.features), torch.from_numpy(data.targets))
    learner = make_learner(task.learner, data, source.side, task.seed)
    if not task.strategy:
        learner.fit(_labeled(pool, torch.arange(len(pool))), _job(0, task.seed))
        return Curve((len(pool),), {"accuracy": (_accuracy(learner, data),)}, 0.0)
    return _bought(task, data, pool, learner)


def _bought(task: Task, data: Split, pool: TensorPool, learner: Learner) -> Curve:
    strategy = build("query", task.strategy, dict(task.options))
    measure = Stability()
    stop_set = _stop_set(pool, measure.stop_set_size, task.seed)
    known, before, seconds = torch.from_numpy(data.first), None, 0.0
    labels: list[int] = []
    metrics: dict[str, list[float]] = {}
    for iteration in range(10**9):
        labeled = _labeled(pool, known)
        learner.fit(labeled, _job(iteration, task.seed))
        probabilities = learner.predict_proba(stop_set).cpu()
        found = measure.compute(_metrology(data, learner, probabilities, before, known, iteration))
        before = probabilities
        labels.append(len(known))
        for name, value in {"accuracy": _accuracy(learner, data), **found.values}.items():
            metrics.setdefault(name, []).append(float(value))
        n = min(task.batch, len(pool) - len(known))
        if len(known) + n > task.budget or not n:
            break
        context = _context(task, pool, learner, labeled, iteration)
        begin = time.perf_counter()
        chosen = torch.tensor(strategy.sample(context, n).indices, dtype=torch.int64)
        seconds += time.perf_counter() - begin
        known = torch.cat([known, chosen])
    return Curve(tuple(labels), {name: tuple(values) for name, values in metrics.items()}, seconds)


def make_learner(name: str, data: Split, side: int, seed: int) -> Learner:
    """The learner of the protocol, with first weights from the seed.

    Raises:
        ValueError: a CNN is to look at what is no image.
    """
    if name == "logistic":
        from sklearn.linear_model import LogisticRegression

        estimator = LogisticRegression(C=1, max_iter=2000)
        return SklearnLearner(estimator, classes=data.classes, threads=1)
    if name == "cnn" and not side:
        raise ValueError("the CNN learns from images, and this data set has none: leave it out")
    width = data.features.shape[1]

    def make(seed: int) -> nn.Module:
        with seeded_globally(seed):
            return cnn(side, data.classes) if name == "cnn" else mlp(width, data.classes)

    return TorchLearner(
        make(seed),
        classes=data.classes,
        sample=torch.zeros(1, width),
        settings=SETTINGS,
        loop=build("loop", "default", {}),
        remake=make,
    )


def mlp(features: int, classes: int) -> nn.Module:
    """One hidden layer of 128."""
    return nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))


def cnn(side: int, classes: int) -> nn.Module:
    """Two convolutions of 16 and 32 channels, each halved, and one linear layer."""
    return nn.Sequential(
        nn.Unflatten(1, (1, side, side)),
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * (side // 4) ** 2, classes),
    )  # fmt: skip


def _job(iteration: int, seed: int) -> TrainingJob:
    return TrainingJob(
        iteration=iteration,
        settings=SETTINGS,
        seed=seed,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def _labeled(pool: TensorPool, indices: torch.Tensor) -> LabeledSet:
    return LabeledSet(pool, indices, pool.targets(indices))


def _context(
    task: Task, pool: Pool, learner: Learner, labeled: LabeledSet, iteration: int
) -> QueryContext:
    free = torch.ones(len(pool), dtype=torch.bool)
    free[labeled.indices] = False
    return QueryContext(
        learner=learner,
        pool=pool,
        unlabeled=free.nonzero()[:, 0],
        labeled=labeled,
        generator=generator(task.seed, iteration, "query", "sample"),
        device=torch.device("cpu"),
        chunk_size=CHUNK,
        iteration=iteration,
    )


def _stop_set(pool: TensorPool, size: int, seed: int) -> torch.Tensor:
    draw = np.random.default_rng(derive_seed(seed, 0, "metrology", "stop set"))
    return pool.features(torch.from_numpy(draw.permutation(len(pool))[:size]))


def _metrology(
    data: Split,
    learner: Learner,
    probabilities: torch.Tensor,
    before: torch.Tensor | None,
    known: torch.Tensor,
    iteration: int,
) -> MetrologyContext:
    """What `stability` looks at; it does not look at the test set."""
    nothing = torch.empty(0, dtype=torch.int64)
    return MetrologyContext(
        task=learner.task,
        classes=data.classes,
        targets=nothing,
        predictions=nothing,
        probabilities=None,
        labeled=len(known),
        iteration=iteration,
        stop_set=StopSet(probabilities, before),
    )


def _accuracy(learner: Learner, data: Split) -> float:
    predicted = learner.predict_proba(torch.from_numpy(data.test_features)).argmax(1).cpu()
    hits = predicted == torch.from_numpy(data.test_targets)
    return float(hits.double().mean())
