from __future__ import annotations

from typing import Any, cast

import pytest

from querist.errors import ConfigurationError, StrategyError
from querist.runs.needs import check_views
from querist.strategies.query.sequence import InSequence
from querist.values import MetrologyRecord, Task

KAPPA = {"name": "stabilizing_predictions"}


def above(metric: str) -> dict[str, Any]:
    return {"name": "metric_threshold", "options": {"metric": metric, "operator": ">", "value": 1}}


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        (KAPPA, "'kappa', which nothing measures: add stability to strategies.metrology"),
        (above("auc_pr"), "'auc_pr', which nothing measures: add auc_pr to strategies.metrology"),
        (above("f2"), "'f2', which nothing measures: .* did you mean 'f1'"),
        ({"name": "any_of", "options": {"criteria": [above("f1"), KAPPA]}}, "'any_of' needs"),
        ({"name": "all_of", "options": {"criteria": [above("f1"), KAPPA]}}, "'all_of' needs"),
        (
            {"name": "plateau", "options": {"metric": "mse"}},
            "stop 'plateau' needs the metric 'mse', .* add mse to",
        ),
        (
            {"name": "expected_gain", "options": {"metric": "r2", "value_per_point": 1}},
            "stop 'expected_gain' needs the metric 'r2'",
        ),
    ],
)
def test_a_criterion_without_its_metric_is_refused_before_the_run_starts(
    new_run: Any, experiment: Any, stop: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        new_run("refused", stop=stop)
    assert not (experiment().driver.root_log_dir / "refused").exists()


def test_what_is_measured_is_accepted(new_run: Any) -> None:
    new_run(stop=[above("f1"), above("recall"), above("train_loss"), "classification_change"],
            strategies={"metrology": ["f1", "stability"]})  # fmt: skip


def test_a_strategy_that_does_not_say_what_it_measures_may_measure_anything(
    new_run: Any, component: Any
) -> None:
    class Silent:
        def compute(self, context: Any) -> MetrologyRecord:
            return MetrologyRecord({"mine": 1.0})

    new_run(stop=above("mine"), strategies={"metrology": ["f1", component("metrology", Silent)]})


def test_without_training_there_is_no_train_loss(new_run: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"'train_loss', which driver.skip_training"):
        new_run(stop=above("train_loss"), driver={"skip_training": True})


def test_without_metrology_there_is_nothing_to_stop_by(new_run: Any) -> None:
    with pytest.raises(ConfigurationError, match="'f1', which nothing measures: add f1 to"):
        new_run(stop=above("f1"), strategies={"metrology": []}, driver={"skip_metrology": True})


class _NoSamples:
    """A learner that has class probabilities, and no models of its own."""

    task = Task.CLASSIFICATION


def test_the_nested_strategy_that_asks_is_named() -> None:
    nested = InSequence([{"name": "margin", "keep": 5}, {"name": "bald"}])
    with pytest.raises(StrategyError, match="^'bald' in the query strategy 'sequence' needs"):
        check_views(cast(Any, _NoSamples()), [("sequence", nested)])
