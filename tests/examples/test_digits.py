"""The digits with every kind of learner, from the YAML files to the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from examples.digits.model import DigitClassifier
from querist import phases
from querist.config.load import load_experiment
from querist.runs import close_run, create_run

from ..shared.runs import finish

EXAMPLES = Path(__file__).parents[2] / "examples" / "digits"


@pytest.mark.parametrize(
    ("name", "learner", "floor"),
    [
        ("partial_fit", "PartialFitLearner", 0.9),
        ("ensemble", "StackedEnsemble", 0.95),
        ("mc_dropout", "McDropoutLearner", 0.94),
        ("laplace", "LaplaceLearner", 0.93),
        ("hist_boosting", "SklearnLearner", 0.9),
    ],
)
def test_the_digits_are_told_apart(tmp_path: Path, name: str, learner: str, floor: float) -> None:
    overrides = [f"driver.root_log_dir={tmp_path}", "tracking.enabled=false"]
    run = create_run(load_experiment(EXAMPLES / f"{name}.yaml", overrides))
    try:
        assert type(run.learner).__name__ == learner
        finish(run)
        measured = [values["accuracy"] for _, values in sorted(run.ledger.metrology().items())]
        assert len(measured) == run.experiment.driver.max_active_learning_steps
        assert measured[-1] > max(floor, measured[0])
        phases.conclude(run)
    finally:
        close_run(run.reference)


def test_every_file_is_tried() -> None:
    marks: Any = test_the_digits_are_told_apart.pytestmark  # type: ignore[attr-defined]
    assert {name for name, *_ in marks[0].args[1]} == {f.stem for f in EXAMPLES.glob("*.yaml")}


def test_the_model() -> None:
    assert DigitClassifier()(torch.zeros(5, 64)).shape == (5, 10)
    assert DigitClassifier(features=3, classes=1, dropout=0.0)(torch.zeros(2, 3)).shape == (2, 1)
