"""The contract of a label strategy."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator

import torch

from querist.pools.tensor_pool import TensorPool
from querist.protocols import LabelStrategy
from querist.requests import LabelRequest
from querist.testing.suite import global_randomness_untouched, run_suite
from querist.values import Label, Task

EVERY = frozenset(Task)
WANTED = (5, 2, 9, 0)


class LabelStrategyContract:
    """What every source of labels keeps. Subclass it and define `make`.

    The pool has 12 samples of four numbers; its three classes are `round(features[0])`, its numbers
    `features[0]`, so that a source that goes by the features can be right; of its two labels the
    first is there where `features[0]` is above 0, the second where it is above 1.

    Attributes:
        tasks: what it can label.
        repeats_itself: asked for the same sample again, it gives the same value (people may not).
    """

    tasks: Collection[Task] = EVERY
    repeats_itself: bool = True

    def make(self) -> LabelStrategy:
        """A fresh instance of the strategy."""
        raise NotImplementedError("define make(): it returns a fresh instance of the strategy")

    def request(self, task: Task, wanted: tuple[int, ...] = WANTED) -> LabelRequest:
        """A request for the samples `wanted`."""
        features = torch.randn(12, 4, generator=torch.Generator().manual_seed(5))
        features[:, 0] = torch.arange(12) % 3
        first = features[:, 0]
        targets = first.to(torch.int64) if task is Task.CLASSIFICATION else first.clone()
        if task is Task.MULTILABEL:
            targets = torch.stack([first > 0, first > 1], dim=1).float()
        return LabelRequest(
            iteration=2,
            indices=torch.tensor(wanted, dtype=torch.int64),
            keys=tuple(f"run-2-{index}" for index in wanted),
            pool=TensorPool(features, targets),
        )

    def _labels(self, task: Task, wanted: tuple[int, ...] = WANTED) -> list[Label]:
        return list(self.make().label(self.request(task, wanted)))

    def _tasks(self) -> Iterator[Task]:
        yield from (task for task in Task if task in self.tasks)

    def test_answers_what_was_asked(self) -> None:
        """At most one label per sample asked for, and no other."""
        for task in self._tasks():
            given = [label.index for label in self._labels(task)]
            assert len(set(given)) == len(given), f"a sample was labeled twice: {given}"
            strangers = set(given) - set(WANTED)
            assert not strangers, f"nobody asked for {sorted(strangers)}"
            assert all(type(index) is int for index in given), f"not Python ints: {given}"

    def test_values_fit_the_task(self) -> None:
        """Classes are ints of the pool's classes; numbers are finite; costs are too."""
        for task in self._tasks():
            for label in self._labels(task):
                if task is Task.CLASSIFICATION:
                    good = type(label.value) is int and 0 <= label.value < 3
                else:
                    values = label.value if isinstance(label.value, list) else [label.value]
                    good = all(type(v) in (int, float) and math.isfinite(v) for v in values)
                assert good, f"{label.value!r} is no value for {task}"
                assert 0 <= label.cost < math.inf, f"a cost of {label.cost}"

    def test_returns_an_iterator(self) -> None:
        """Labels come one by one, so that each can be stored before the next is drawn."""
        for task in self._tasks():
            answer = self.make().label(self.request(task))
            assert hasattr(answer, "__next__"), f"label returned a {type(answer).__name__}"

    def test_goes_on_with_the_rest(self) -> None:
        """After a crash, a fresh instance answers for the samples that are left."""
        for task in self._tasks():
            every = {label.index: label.value for label in self._labels(task)}
            rest = {label.index: label.value for label in self._labels(task, WANTED[2:])}
            assert set(rest) <= set(WANTED[2:]), f"nobody asked for all of {sorted(rest)}"
            if self.repeats_itself:
                expected = {index: every[index] for index in WANTED[2:] if index in every}
                assert rest == expected, f"asked again it said {rest}, not {expected}"

    def test_survives_an_empty_request(self) -> None:
        """Nothing asked, nothing answered."""
        for task in self._tasks():
            given = self._labels(task, ())
            assert given == [], f"nothing was asked, and it answered {given}"

    def test_what_it_says_of_itself(self) -> None:
        """`asks_by_key`, `at_once` and `recall`, where it has them, are what the run relies on."""
        strategy = self.make()
        by_key = getattr(strategy, "asks_by_key", False)
        assert type(by_key) is bool, f"asks_by_key is true or false, not {by_key!r}"
        assert not by_key or self.repeats_itself, "asked by key, it must repeat itself"
        at_once = getattr(strategy, "at_once", None)
        several = type(at_once) is int and at_once >= 1
        assert at_once is None or several, f"at_once is None or from 1, not {at_once!r}"
        recall = getattr(strategy, "recall", None)
        if recall is not None:
            for task in self._tasks():
                never = list(recall(self.request(task)))
                assert never == [], f"nothing was sold, and it recalled {never}"

    def test_leaves_the_request_as_it_is(self) -> None:
        """Neither the indices nor the pool are changed, nor is global randomness used."""
        for task in self._tasks():
            request = self.request(task)
            everything = torch.arange(12)
            before = request.indices.clone(), request.pool.features(everything).clone()
            with global_randomness_untouched():
                list(self.make().label(request))
            after = request.indices, request.pool.features(everything)
            assert torch.equal(before[0], after[0]), "label changed request.indices"
            assert torch.equal(before[1], after[1]), "label changed the pool's features"


def check_label_strategy(
    factory: Callable[[], LabelStrategy],
    *,
    tasks: Collection[Task] = EVERY,
    repeats_itself: bool = True,
) -> None:
    """Run the whole contract on what `factory` makes.

    Raises:
        AssertionError: the first thing that is not as the contract says.
    """
    suite = LabelStrategyContract()
    suite.make = factory  # type: ignore[method-assign]
    suite.tasks = tasks
    suite.repeats_itself = repeats_itself
    run_suite(suite)
