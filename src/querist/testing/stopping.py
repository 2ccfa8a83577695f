"""The contract of a stop criterion."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

from querist.protocols import StopCriterion
from querist.testing.suite import global_randomness_untouched, refusal, run_suite
from querist.values import History, IterationResult, StopDecision

METRICS = ("f1", "accuracy", "precision", "recall", "r2", "mse", "mae")


def history_of(
    values: Sequence[float], *, metric: str = "f1", labels: int = 10
) -> list[IterationResult]:
    """One iteration per value of `metric`, each with `labels` labels more than the one before."""
    return [
        IterationResult(iteration, labels * (iteration + 1), {metric: value}, 1.0 / (iteration + 1))
        for iteration, value in enumerate(values)
    ]


class StopCriterionContract:
    """What every stop criterion keeps. Subclass it and define `make`.

    Attributes:
        metric: the metric that it cannot do without; None where it needs none. In the first 12
            iterations nothing else may stop what `make` gives.
    """

    metric: str | None = None

    def make(self) -> StopCriterion:
        """A fresh instance of the criterion."""
        raise NotImplementedError("define make(): it returns a fresh instance of the criterion")

    def history(self, length: int, value: float | None = None) -> list[IterationResult]:
        """A learner that gets better; or with all metrics at `value`."""
        results = []
        for iteration in range(length):
            share = (iteration + 1) / (length + 1) if value is None else value
            metrics = {name: 1 - share if name in ("mse", "mae") else share for name in METRICS}
            if self.metric is not None and self.metric != "train_loss":
                metrics.setdefault(self.metric, share)
            results.append(
                IterationResult(
                    iteration,
                    labels=10 * (iteration + 1),
                    metrics=metrics,
                    train_loss=1 - share,
                    seconds={"train": share},
                    labels_bought=10 * iteration,
                    label_cost=share * iteration,
                )
            )
        return results

    def _check(self, history: History) -> StopDecision:
        decision = self.make().check(history)
        assert isinstance(decision, StopDecision), f"check returned {decision!r}"
        assert type(decision.stop) is bool, f"stop is a bool, not {decision.stop!r}"
        assert decision.reason or not decision.stop, "whoever stops says why"
        return decision

    def test_does_not_stop_before_it_began(self) -> None:
        """An empty history is no reason to stop."""
        assert not self._check([]).stop, "it stopped before the first iteration"

    def test_is_pure(self) -> None:
        """The same history gives the same answer, in a used instance and in a fresh one."""
        criterion = self.make()
        for length in (1, 4, 12):
            history = self.history(length)
            untouched = copy.deepcopy(history)
            with global_randomness_untouched():
                first = criterion.check(history)
            assert history == untouched, "check changed the history"
            again, fresh = criterion.check(history), self._check(history)
            assert first == again, f"asked again it said {again}, not {first}"
            assert first == fresh, f"after a crash it said {fresh}, not {first}"

    def test_survives_numbers_that_are_not_finite(self) -> None:
        """A diverged model is answered, not crashed on."""
        for value in (math.nan, math.inf, -math.inf):
            self._check(self.history(1, value))
            self._check(self.history(5, value))

    def test_says_what_it_needs(self) -> None:
        """Where it has `needs`, these are the metrics that it cannot do without."""
        needs = getattr(self.make(), "needs", None)
        if needs is None:
            return
        assert not isinstance(needs, str), f"needs is a tuple of names, not {needs!r}"
        assert all(isinstance(name, str) for name in needs), f"needs names metrics, not {needs!r}"
        if self.metric is not None:
            assert self.metric in needs, f"needs must name {self.metric}: {needs!r}"

    def test_accepts_any_sequence(self) -> None:
        """A tuple is as good as a list."""
        history = self.history(4)
        of_tuple, of_list = self._check(tuple(history)), self._check(history)
        assert of_tuple == of_list, f"a tuple gave {of_tuple}, a list {of_list}"

    def test_refuses_a_metric_that_was_not_measured(self) -> None:
        """The metric it cannot do without is named when it is missing."""
        if self.metric is None:
            return
        bare = [IterationResult(0, 10, {"something_else": 0.5})]
        why = "a history without the metric must be refused"
        error = refusal(lambda: self.make().check(bare), why)
        assert self.metric in str(error), f"the refusal must name {self.metric}: {error}"

    def test_nan_is_never_met(self) -> None:
        """A metric that is NaN stops nothing, and the reason says that it is NaN."""
        if self.metric is None:
            return
        for length in (1, 5, 12):
            decision = self._check(self.history(length, math.nan))
            assert not decision.stop, f"it stopped on NaN: {decision.reason}"
            assert "NaN" in decision.reason, f"the reason must say NaN: {decision.reason!r}"


def check_stop_criterion(
    factory: Callable[[], StopCriterion], *, metric: str | None = None
) -> None:
    """Run the whole contract on what `factory` makes.

    Raises:
        AssertionError: the first thing that is not as the contract says.
    """
    suite = StopCriterionContract()
    suite.make = factory  # type: ignore[method-assign]
    suite.metric = metric
    run_suite(suite)
