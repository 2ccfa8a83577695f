from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from querist.protocols import (
    Gate,
    LabelStrategy,
    MetrologyStrategy,
    QueryStrategy,
    Schedule,
    StopCriterion,
)
from querist.registry import components, find

NAMES = {
    "query": {
        "bait",
        "bald",
        "batch_bald",
        "binary_minimum",
        "callable",
        "class_balanced",
        "clue",
        "cluster_margin",
        "command",
        "committee_variance",
        "consensus_kl",
        "cost_aware",
        "dbal",
        "density_weighted",
        "disagreement",
        "discriminative",
        "distance_to_boundary",
        "entropy",
        "epig",
        "falcun",
        "galaxy",
        "greedy_both",
        "greedy_input",
        "greedy_output",
        "k_means",
        "k_medoids",
        "label_cardinality",
        "lcmd",
        "least_confidence",
        "margin",
        "max_herding",
        "mean_std",
        "mixture",
        "predictive_variance",
        "prob_cover",
        "random",
        "sequence",
        "subsample",
        "switch",
        "typiclust",
        "variation_ratios",
        "vote_entropy",
    },
    "label": {"oracle", "callable", "command"},
    "metrology": {
        "command",
        "callable",
        "f1",
        "accuracy",
        "mse",
        "mae",
        "r2",
        "rmse",
        "balanced_accuracy",
        "log_loss",
        "brier",
        "calibration_error",
        "roc_auc",
        "auc_pr",
        "stability",
        "f1_micro",
        "f1_macro",
        "subset_accuracy",
        "hamming_loss",
    },
    "stop": {
        "command",
        "callable",
        "max_iterations",
        "label_budget",
        "metric_threshold",
        "plateau",
        "any_of",
        "all_of",
        "stabilizing_predictions",
        "overall_uncertainty",
        "classification_change",
        "delta_f",
        "expected_gain",
        "wall_time",
        "cost",
    },
    "gate": {"metric_improvement", "compare"},
    "schedule": {"static", "per_iteration", "adaptive"},
}
PROTOCOLS = {
    "query": QueryStrategy,
    "label": LabelStrategy,
    "metrology": MetrologyStrategy,
    "stop": StopCriterion,
    "gate": Gate,
    "schedule": Schedule,
}


@pytest.mark.parametrize("kind", NAMES)
def test_all_are_registered(kind: str) -> None:
    assert NAMES[kind] <= {component.name for component in components(kind)}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in sorted(names)]
)
def test_each_is_documented_with_all_its_options(kind: str, name: str) -> None:
    factory = find(kind, name)
    documentation = inspect.getdoc(factory) or ""
    assert documentation.partition("\n")[0].endswith((".", "`.")) or ":" in documentation
    for option in inspect.signature(factory).parameters:
        assert f"    {option}: " in documentation, f"{name}: {option} is not in the docstring"
    methods = [m for m in vars(PROTOCOLS[kind]) if not m.startswith("_")]
    assert all(callable(getattr(factory, method)) for method in methods)


def test_strategies_know_nothing_of_the_outside() -> None:
    """A fresh interpreter that has imported them all has imported none of these."""
    code = (
        "import sys, querist.strategies; "
        "print([m for m in ('prefect', 'mlflow', 'sqlalchemy', 'pytest') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
