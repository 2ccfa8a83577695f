"""Runs of each kind of learner that are stopped, damaged and resumed end as if never stopped."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

MLP = {"name": "examples.digits.model:DigitClassifier", "options": {"features": 2, "classes": 2}}
LEARNERS: dict[str, dict[str, Any]] = {
    "partial_fit": {
        "name": "partial_fit",
        "options": {"estimator": "SGDClassifier", "parameters": {"loss": "log_loss"}},
    },
    "network by partial_fit": {
        "name": "partial_fit",
        "options": {"estimator": "MLPClassifier", "parameters": {"hidden_layer_sizes": [8]}},
    },
    "ensemble": {"name": "ensemble", "options": {"member": MLP, "n": 3, "bootstrap": True}},
    "ensemble of trees": {
        "name": "ensemble",
        "options": {
            "member": {"name": "sklearn", "options": {"estimator": "DecisionTreeClassifier"}},
            "n": 3,
            "bootstrap": True,
        },
    },
    "mc_dropout": {"name": "mc_dropout", "options": {"member": MLP, "samples": 5}},
    "laplace": {"name": "laplace", "options": {"member": MLP, "prior_precision": "auto"}},
}


@pytest.mark.parametrize("name", LEARNERS)
def test_a_resumed_run_ends_in_the_same_bytes(new_run: Any, drive: Any, name: str) -> None:
    changes: dict[str, Any] = {
        "learner": LEARNERS[name],
        "training": {"max_training_epochs": 3, "reset_optimizer": False},
        "driver": {"max_active_learning_steps": 4, "checkpoint_interval": 1},
    }
    whole = new_run(**changes)
    drive.finish(whole)

    run = new_run(**changes)
    for iteration in (0, 1):
        drive.iterate(run, iteration)
        run = drive.reopened(run)
    shutil.rmtree(run.checkpoints.path(1))  # iteration 1 is trained again
    run = drive.reopened(run)
    drive.finish(run)
    assert drive.content(run) == drive.content(whole)
