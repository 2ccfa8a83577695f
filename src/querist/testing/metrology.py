"""The contract of a metrology strategy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

import torch

from querist.context import MetrologyContext, StopSet
from querist.protocols import MetrologyStrategy
from querist.testing.suite import global_randomness_untouched, refusal, run_suite
from querist.values import MetrologyRecord, Task

EVERY = frozenset(Task)


class MetrologyStrategyContract:
    """What every metrology strategy keeps. Subclass it and define `make`.

    Attributes:
        tasks: what it can measure; it must refuse the others.
        classes: of the classification that it is tried on.
    """

    tasks: Collection[Task] = EVERY
    classes: int = 2

    def make(self) -> MetrologyStrategy:
        """A fresh instance of the strategy."""
        raise NotImplementedError("define make(): it returns a fresh instance of the strategy")

    def context(self, task: Task, size: int = 30) -> MetrologyContext:
        """Predictions that are partly right on `size` test samples, and on as many to stop by."""
        generator = torch.Generator().manual_seed(11)
        if task is Task.REGRESSION:
            targets = torch.randn(size, generator=generator)
            predictions = targets + 0.3 * torch.randn(size, generator=generator)
            return MetrologyContext(task, None, targets, predictions, None, 8, 1)
        if task is Task.MULTILABEL:
            targets = (torch.rand(size, 3, generator=generator) < 0.4).float()
            logits = 3 * targets - 1.5 + torch.randn(size, 3, generator=generator)
            likely = logits.sigmoid()
            return MetrologyContext(task, None, targets, (likely > 0.5).float(), likely, 8, 1)
        targets = torch.arange(size) % self.classes
        logits = torch.randn(size, self.classes, generator=generator)
        probabilities = (logits + 1.5 * torch.eye(self.classes)[targets]).softmax(1)
        predictions = probabilities.argmax(1)
        stop_set = StopSet(probabilities, 0.5 * probabilities + 0.5 * logits.softmax(1))
        return MetrologyContext(
            task, self.classes, targets, predictions, probabilities, 8, 1, stop_set
        )

    def _compute(self, context: MetrologyContext) -> Mapping[str, float]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            record = self.make().compute(context)
        assert isinstance(record, MetrologyRecord), f"compute returned {record!r}"
        assert record.values, "a record needs at least one metric"
        for name, value in record.values.items():
            assert isinstance(name, str), f"a metric's name is text, not {name!r}"
            assert type(value) is float, f"{name} is a Python float, not {type(value).__name__}"
        return record.values

    def test_measures_numbers(self) -> None:
        """Finite floats by name, for ordinary predictions."""
        for task in self.tasks:
            values = self._compute(self.context(task))
            assert all(map(math.isfinite, values.values())), f"not finite: {dict(values)}"

    def test_is_pure(self) -> None:
        """The same again from the same predictions, which are left as they are."""
        for task in self.tasks:
            context, untouched = self.context(task), self.context(task)
            with global_randomness_untouched():
                first = self._compute(context)
            assert first == self._compute(context), "called again it measured something else"
            for name in ("targets", "predictions", "probabilities"):
                before, after = getattr(untouched, name), getattr(context, name)
                same = after is None if before is None else torch.equal(before, after)
                assert same, f"compute changed context.{name}"
            assert _same(untouched.stop_set, context.stop_set), "compute changed context.stop_set"

    def test_names_are_always_the_same(self) -> None:
        """A metric does not come and go with the data."""
        for task in self.tasks:
            names = list(self._compute(self.context(task)))
            of_one = list(self._compute(self.context(task, size=1)))
            assert of_one == names, f"{names} of many samples, {of_one} of a single one"
            measures = getattr(self.make(), "measures", None)
            if measures is not None:
                assert sorted(measures) == sorted(names), f"it says {measures}, it gave {names}"

    def test_what_it_is_the_mean_of(self) -> None:
        """A strategy that says by `of_each` what its only metric is the mean of says the truth."""
        of_each = getattr(self.make(), "of_each", None)
        if of_each is None:
            return
        for task in self.tasks:
            context = self.context(task)
            (value,) = self._compute(context).values()
            each = of_each(context)
            assert each.shape == (len(context.targets),), f"one number a sample, not {each.shape}"
            mean = float(each.double().mean())
            assert math.isclose(mean, value, rel_tol=1e-6), f"the mean is {mean}, not {value}"

    def test_survives_one_class(self) -> None:
        """Targets and predictions that are all alike are measured without a warning."""
        for task in self.tasks:
            context = self.context(task)
            alike = replace(
                context,
                targets=torch.zeros_like(context.targets),
                predictions=torch.zeros_like(context.predictions),
            )
            if task is Task.CLASSIFICATION:
                sure = torch.eye(self.classes)[torch.zeros(30, dtype=torch.int64)]
                alike = replace(alike, probabilities=sure, stop_set=StopSet(sure, sure.clone()))
            self._compute(alike)

    def test_survives_the_first_iteration(self) -> None:
        """No model before this one is no reason to fail."""
        for task in self.tasks:
            context = self.context(task)
            if context.stop_set is not None:
                first = replace(context.stop_set, before=None)
                self._compute(replace(context, iteration=0, stop_set=first))

    def test_survives_probabilities_that_are_not_numbers(self) -> None:
        """A diverged model is measured, with NaN, and not crashed on."""
        for task in self.tasks:
            context = self.context(task)
            if context.probabilities is not None:
                broken = context.probabilities * math.nan
                stop_set = StopSet(broken, context.probabilities)
                self._compute(replace(context, probabilities=broken, stop_set=stop_set))

    def test_refuses_an_empty_test_set(self) -> None:
        """Nothing to measure on is an error, not a number."""
        for task in self.tasks:
            empty = self.context(task, size=0)
            refusal(partial(self.make().compute, empty), "an empty test set must be refused")

    def test_refuses_the_wrong_task(self) -> None:
        """A task that it cannot measure is named in the error."""
        for task in Task:
            if task not in self.tasks:
                wrong = self.context(task)
                why = f"{task} must be refused"
                error = refusal(partial(self.make().compute, wrong), why)
                assert str(task) in str(error), f"the refusal must say {task}: {error}"


def _same(one: StopSet | None, other: StopSet | None) -> bool:
    if one is None or other is None or one.before is None or other.before is None:
        return one is other
    return torch.equal(one.probabilities, other.probabilities) and torch.equal(
        one.before, other.before
    )


def check_metrology_strategy(
    factory: Callable[[], MetrologyStrategy],
    *,
    tasks: Collection[Task] = EVERY,
    classes: int = 2,
) -> None:
    """Run the whole contract on what `factory` makes.

    Raises:
        AssertionError: the first thing that is not as the contract says.
    """
    suite = MetrologyStrategyContract()
    suite.make = factory  # type: ignore[method-assign]
    suite.tasks = tasks
    suite.classes = classes
    run_suite(suite)
