"""Each broken strategy fails its contract, with the words that say why."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from querist.errors import StrategyError
from querist.strategies.gates.metric_improvement import MetricImprovement
from querist.strategies.label.oracle import Oracle
from querist.strategies.metrology.accuracy import Accuracy
from querist.strategies.schedules.static import Static
from querist.strategies.stopping.max_iterations import MaxIterations
from querist.strategies.stopping.metric_threshold import MetricThreshold
from querist.testing import (
    GateContract,
    LabelStrategyContract,
    MetrologyStrategyContract,
    ScheduleContract,
    StopCriterionContract,
    check_gate,
    check_label_strategy,
    check_metrology_strategy,
    check_schedule,
    check_stop_criterion,
)
from querist.values import Check, Label, MetrologyRecord, StopDecision, Task, Verdict

counter = itertools.count()


def one_method(name: str, function: Callable[..., Any]) -> Callable[[], Any]:
    return type("Strategy", (), {name: staticmethod(function)})


def test_good_ones_pass() -> None:
    check_label_strategy(Oracle)
    check_metrology_strategy(Accuracy, tasks=[Task.CLASSIFICATION])
    check_stop_criterion(lambda: MaxIterations(3))
    check_stop_criterion(lambda: MetricThreshold("f1", ">", value=0.5), metric="f1")
    check_gate(lambda: MetricImprovement("f1"))
    check_schedule(lambda: Static({"a": {"b": 1}}))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (lambda r: (Label(i, 0) for i in [*r.indices.tolist(), 7]), "nobody asked for"),
        (lambda r: (Label(i, 0) for i in r.indices.tolist() * 2), "labeled twice"),
        (lambda r: [Label(i, 0) for i in r.indices.tolist()], "label returned a list"),
        (lambda r: (Label(i, 3) for i in r.indices.tolist()), "3 is no value for classification"),
        (lambda r: (Label(i, 0.5) for i in r.indices.tolist()), "0.5 is no value for class"),
        (lambda r: (Label(i, 0, cost=-1) for i in r.indices.tolist()), "a cost of -1"),
        (lambda r: (Label(i, next(counter) % 3) for i in r.indices.tolist()), "asked again"),
        (lambda r: (Label(int(i), int(torch.rand(()))) for i in r.indices), "generator of torch"),
    ],
)
def test_a_broken_label_strategy_fails(label: Any, message: str, complaints: Any) -> None:
    only = [Task.CLASSIFICATION]
    found = complaints(LabelStrategyContract(), one_method("label", label), tasks=only)
    assert any(message in complaint for complaint in found), found
    with pytest.raises(AssertionError):
        check_label_strategy(one_method("label", label), tasks=only)


def test_a_label_strategy_that_changes_the_request_fails() -> None:
    def spoil(request: Any) -> Any:
        for index in request.indices.tolist():
            yield Label(index, 0)
        request.indices.zero_()

    with pytest.raises(AssertionError, match=r"label changed request.indices"):
        check_label_strategy(one_method("label", spoil), tasks=[Task.CLASSIFICATION])


def test_people_may_change_their_minds() -> None:
    def fickle(request: Any) -> Any:
        return (Label(i, next(counter) % 3) for i in request.indices.tolist())

    check_label_strategy(
        one_method("label", fickle), tasks=[Task.CLASSIFICATION], repeats_itself=False
    )


def record(**values: Any) -> MetrologyRecord:
    return MetrologyRecord(values)


def needs_samples(compute: Callable[[Any], MetrologyRecord]) -> Callable[[Any], MetrologyRecord]:
    def checked(context: Any) -> MetrologyRecord:
        if not len(context.targets):
            raise StrategyError("nothing to measure on")
        return compute(context)

    return checked


def spoils_targets(context: Any) -> MetrologyRecord:
    context.targets.zero_()
    return record(m=1.0)


@pytest.mark.parametrize(
    ("compute", "tasks", "message"),
    [
        (lambda c: record(m=1.0), list(Task), "an empty test set must be refused: nothing was"),
        (needs_samples(lambda c: record()), list(Task), "at least one metric"),
        (needs_samples(lambda c: record(m=1)), list(Task), "m is a Python float, not int"),
        (needs_samples(lambda c: record(m=math.nan)), list(Task), "not finite"),
        (needs_samples(lambda c: record(m=float(next(counter)))), list(Task), "something else"),
        (
            needs_samples(lambda c: record(**{f"m{len(c.targets)}": 1.0})),
            list(Task),
            "of a single one",
        ),
        (needs_samples(spoils_targets), list(Task), "compute changed context.targets"),
        (needs_samples(lambda c: record(m=1.0)), [Task.REGRESSION], "classification must be"),
    ],
)
def test_a_broken_metrology_strategy_fails(
    compute: Any, tasks: list[Task], message: str, complaints: Any
) -> None:
    found = complaints(MetrologyStrategyContract(), one_method("compute", compute), tasks=tasks)
    assert any(message in complaint for complaint in found), found
    with pytest.raises(AssertionError):
        check_metrology_strategy(one_method("compute", compute), tasks=tasks)


def spoils_history(history: Any) -> StopDecision:
    if isinstance(history, list):
        history.clear()
    return StopDecision(False)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda h: StopDecision(True, "enough"), "stopped before the first iteration"),
        (lambda h: StopDecision(len(h) > 3), "whoever stops says why"),
        (lambda h: StopDecision(len(h) and 1, "x"), "stop is a bool"),  # type: ignore[arg-type]
        (lambda h: len(h) > 3, "check returned False"),
        (lambda h: StopDecision(False, str(next(counter))), "asked again it said"),
        (lambda h: StopDecision(False, type(h).__name__), "a tuple gave"),
        (spoils_history, "check changed the history"),
    ],
)
def test_a_broken_stop_criterion_fails(check: Any, message: str, complaints: Any) -> None:
    found = complaints(StopCriterionContract(), one_method("check", check))
    assert any(message in complaint for complaint in found), found
    with pytest.raises(AssertionError):
        check_stop_criterion(one_method("check", check))


def test_a_criterion_that_keeps_something_fails() -> None:
    class Counting:
        def __init__(self) -> None:
            self.calls = 0

        def check(self, history: Any) -> StopDecision:
            self.calls += 1
            return StopDecision(self.calls > 3, "asked often")

    with pytest.raises(AssertionError, match=r"asked again it said|after a crash it said"):
        check_stop_criterion(Counting)


def test_a_criterion_that_ignores_an_absent_metric_fails() -> None:
    with pytest.raises(AssertionError, match="without the metric must be refused: nothing was"):
        check_stop_criterion(lambda: MaxIterations(3), metric="f1")


def test_a_criterion_that_takes_nan_for_good_or_is_silent_about_it_fails() -> None:
    def reached(history: Any) -> StopDecision:
        if history and "f1" not in history[-1].metrics:
            raise StrategyError("there is no f1")
        return StopDecision(bool(history) and not history[-1].metrics["f1"] < 0.95, "reached")

    def silent(history: Any) -> StopDecision:
        decision = reached(history)
        return StopDecision(decision.stop and history[-1].metrics["f1"] >= 0.95, "reached")

    for check, message in ((reached, "it stopped on NaN"), (silent, "the reason must say NaN")):
        with pytest.raises(AssertionError, match=message):
            check_stop_criterion(one_method("check", check), metric="f1")


def test_a_criterion_that_needs_something_else_fails() -> None:
    class Needy(MetricThreshold):
        def __init__(self) -> None:
            super().__init__("f1", value=0.9)
            self.needs = ("accuracy",)

    with pytest.raises(AssertionError, match="needs must name f1"):
        check_stop_criterion(Needy, metric="f1")


def verdict(champion: Any, challenger: Any, promote: bool) -> Verdict:
    old = None if champion is None else champion.metrics.get("f1")
    new = challenger.metrics.get("f1")
    return Verdict(promote, "because", (Check("f1", old, new, 0.0, promote, "because"),))


def finite(evaluation: Any) -> bool:
    return math.isfinite(evaluation.metrics.get("f1", math.nan))


@pytest.mark.parametrize(
    ("compare", "message"),
    [
        (lambda a, b: verdict(a, b, True), "was promoted"),
        (lambda a, b: verdict(a, b, False), "no champion, and yet"),
        (lambda a, b: verdict(a, b, a is None), "nan was promoted"),
        (lambda a, b: verdict(a, b, a is None and finite(b)), "the better one was not promoted"),
        (
            lambda a, b: verdict(a, b, finite(b) and (a is None or (finite(a) and b != a))),
            "the worse one was promoted",
        ),
        (
            lambda a, b: verdict(
                a, b, finite(b) and (a is None or (finite(a) and b.metrics["f1"] > a.metrics["f1"]))
            ),
            "it compared two test sets",
        ),
        (lambda a, b: Verdict(a is None, ""), "a verdict gives its reason"),
        (lambda a, b: Verdict(a is None, "so"), "a verdict shows its checks"),
        (
            lambda a, b: Verdict(True, "so", (Check("f1", None, 0.5, 0.0, False, "lost"),)),
            "promotes what lost its only check",
        ),
    ],
)
def test_a_broken_gate_fails(compare: Any, message: str, complaints: Any) -> None:
    found = complaints(GateContract(), one_method("compare", compare))
    assert any(message in complaint for complaint in found), found
    with pytest.raises(AssertionError):
        check_gate(one_method("compare", compare))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda i, h: None, "settings returned None"),
        (lambda i, h: {1: 2}, "keys are text"),
        (lambda i, h: {"a": next(counter)}, "in another order it answered"),
        (lambda i, h: {"a": float(torch.rand(())) * 0}, "generator of torch"),
        (
            lambda i, h: {"a": {"b": 2.0**i if i < 1000 else math.inf}},
            "iteration 100000 a.b is inf",
        ),
    ],
)
def test_a_broken_schedule_fails(settings: Any, message: str, complaints: Any) -> None:
    found = complaints(ScheduleContract(), one_method("settings", settings))
    assert any(message in complaint for complaint in found), found
    with pytest.raises(AssertionError):
        check_schedule(one_method("settings", settings))


def test_a_schedule_that_hands_out_its_own_settings_fails() -> None:
    class Shared:
        def __init__(self) -> None:
            self.own: dict[str, Any] = {"a": {"b": 1}}

        def settings(self, iteration: int, history: Any) -> dict[str, Any]:
            return self.own

    class SharedBelow(Shared):
        def settings(self, iteration: int, history: Any) -> dict[str, Any]:
            return dict(self.own)

    for schedule in (Shared, SharedBelow):
        with pytest.raises(AssertionError, match="changing an answer changed the schedule"):
            check_schedule(schedule)


def test_a_schedule_that_does_not_foresee_its_settings_fails() -> None:
    class Surprising:
        def settings(self, iteration: int, history: Any) -> dict[str, Any]:
            return {"a": 1} if iteration < 5 else {"b": 1}

        def overrides(self) -> list[dict[str, Any]]:
            return [{"a": 1}]

    with pytest.raises(AssertionError, match="overrides does not foresee b"):
        check_schedule(Surprising)


def test_a_metric_that_is_the_mean_of_something_else_fails() -> None:
    class Wrong(Accuracy):
        def of_each(self, context: Any) -> torch.Tensor:
            return torch.zeros(len(context.targets))

    with pytest.raises(AssertionError, match=r"the mean is 0\.0, not 0\."):
        check_metrology_strategy(Wrong, tasks=[Task.CLASSIFICATION])
