"""The contract of a gate."""

from __future__ import annotations

import math
from collections.abc import Callable

from querist.protocols import Gate
from querist.testing.suite import global_randomness_untouched, run_suite
from querist.values import Check, Evaluation, Verdict

TEST_SET, OTHER_TEST_SET = "a" * 64, "b" * 64


class GateContract:
    """What every gate keeps. Subclass it and define `make`.

    Attributes:
        metric: the metric that it goes by.
        worse: a value that does not beat `better`.
        better: a value that beats `worse` by all that the gate asks for.
    """

    metric: str = "f1"
    worse: float = 0.5
    better: float = 0.9

    def make(self) -> Gate:
        """A fresh instance of the gate."""
        raise NotImplementedError("define make(): it returns a fresh instance of the gate")

    def evaluation(self, value: float | None, test_digest: str = TEST_SET) -> Evaluation:
        """A model whose metric is `value`; None = not measured."""
        metrics = {} if value is None else {self.metric: value}
        return Evaluation(iteration=3, metrics=metrics, test_digest=test_digest)

    def _compare(self, champion: Evaluation | None, challenger: Evaluation) -> Verdict:
        verdict = self.make().compare(champion, challenger)
        assert isinstance(verdict, Verdict), f"compare returned {verdict!r}"
        assert type(verdict.promote) is bool, f"promote is a bool, not {verdict.promote!r}"
        assert verdict.reason, "a verdict gives its reason"
        assert verdict.checks, "a verdict shows its checks"
        for check in verdict.checks:
            assert isinstance(check, Check), f"a check is a Check, not {check!r}"
            assert check.reason, f"the check of {check.metric} gives no reason"
        if verdict.promote and len(verdict.checks) == 1:
            assert verdict.checks[0].won, "it promotes what lost its only check"
        return verdict

    def test_the_first_finite_model_becomes_champion(self) -> None:
        """Without a champion any finite number will do."""
        for value in (self.worse, self.better):
            verdict = self._compare(None, self.evaluation(value))
            assert verdict.promote, f"no champion, and yet: {verdict.reason}"

    def test_what_is_not_finite_or_missing_never_wins(self) -> None:
        """NaN, infinity or no number at all promote nothing, on either side."""
        champions = (None, self.evaluation(self.worse), self.evaluation(self.better))
        for value in (math.nan, math.inf, -math.inf, None):
            broken = self.evaluation(value)
            for champion in champions:
                verdict = self._compare(champion, broken)
                assert not verdict.promote, f"{value} was promoted: {verdict.reason}"
            for good in (self.worse, self.better):
                verdict = self._compare(broken, self.evaluation(good))
                assert not verdict.promote, f"promoted over {value}: {verdict.reason}"

    def test_the_better_one_wins(self) -> None:
        """Better is promoted; worse and equal are not."""
        worse, better = self.evaluation(self.worse), self.evaluation(self.better)
        assert self._compare(worse, better).promote, "the better one was not promoted"
        assert not self._compare(better, worse).promote, "the worse one was promoted"
        assert not self._compare(better, better).promote, "an equal one was promoted"

    def test_shows_the_numbers(self) -> None:
        """The checks hold the numbers that were compared."""
        verdict = self._compare(self.evaluation(self.worse), self.evaluation(self.better))
        shown = [(c.champion, c.challenger) for c in verdict.checks if c.metric == self.metric]
        assert (self.worse, self.better) in shown, f"not the numbers that were compared: {shown}"

    def test_other_test_sets_are_not_compared(self) -> None:
        """Numbers from two test sets never promote."""
        champion = self.evaluation(self.worse)
        challenger = self.evaluation(self.better, OTHER_TEST_SET)
        assert not self._compare(champion, challenger).promote, "it compared two test sets"

    def test_is_pure(self) -> None:
        """The same numbers give the same verdict, in a used instance and in a fresh one."""
        gate = self.make()
        pair = self.evaluation(self.worse), self.evaluation(self.better)
        with global_randomness_untouched():
            first = gate.compare(*pair)
        assert first == gate.compare(*pair) == self._compare(*pair), "asked again it judged anew"


def check_gate(
    factory: Callable[[], Gate], *, metric: str = "f1", worse: float = 0.5, better: float = 0.9
) -> None:
    """Run the whole contract on what `factory` makes.

    Raises:
        AssertionError: the first thing that is not as the contract says.
    """
    suite = GateContract()
    suite.make = factory  # type: ignore[method-assign]
    suite.metric, suite.worse, suite.better = metric, worse, better
    run_suite(suite)
