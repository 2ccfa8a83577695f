"""A gate that looks at samples, inside a run: the champion's model is brought back for it."""

from __future__ import annotations

import signal
from typing import Any

import pytest
import torch

from querist.errors import ConfigurationError
from querist.runs.evaluations import evaluations
from querist.runs.model import bring_model_to
from querist.values import Phase, Task
from tests.shared.killed import Lab, outcome

GATE = {
    "name": "compare",
    "options": {
        "checks": [
            {"metric": "f1", "confidence": 0.6, "resamples": 100},
            {"metric": "log_loss"},
            {"metric": "calibration_error", "min_delta": 0.001},
        ],
        "wins": "any",
    },
}


def test_both_models_say_what_they_said(new_run: Any, drive: Any) -> None:
    run = new_run(gate=GATE)
    said = []
    for iteration in range(3):
        drive.iterate(run, iteration)
        bring_model_to(run, iteration)
        said.append(run.learner.predict_proba(run.data.test.features()))
    old, new = evaluations(run, 2, 0)
    assert run.model_iteration == 2, "the next training goes on from it"
    assert old is not None
    for iteration, evaluation in ((0, old), (2, new)):
        outcomes = evaluation.outcomes
        assert evaluation.iteration == iteration
        assert evaluation.metrics == run.ledger.metrology()[iteration]
        assert evaluation.test_digest == run.test_digest()
        assert outcomes is not None
        assert (outcomes.task, outcomes.classes) == (Task.CLASSIFICATION, 2)
        assert torch.equal(outcomes.targets, run.data.test.targets)
        assert torch.equal(outcomes.predictions, said[iteration].argmax(1))
        assert outcomes.probabilities is not None
        assert torch.equal(outcomes.probabilities, said[iteration])
        assert outcomes.seconds is None, "the clock decides no verdict"


def test_a_gate_that_looks_at_metrics_only_gets_no_outcomes(new_run: Any, drive: Any) -> None:
    run = new_run(gate={"name": "metric_improvement", "options": {"metric": "f1"}})
    drive.iterate(run, 0)
    assert [e.outcomes for e in evaluations(run, 0, 0) if e is not None] == [None, None]


def test_the_first_is_promoted_and_each_verdict_has_its_numbers(new_run: Any, drive: Any) -> None:
    run = new_run(gate=GATE)
    drive.finish(run)
    verdicts = run.ledger.verdicts()
    first = verdicts[0]
    assert first["promote"] is True
    assert first["reason"].startswith("no champion yet: f1 ")
    last = verdicts[2]
    assert [check["metric"] for check in last["checks"]] == ["f1", "log_loss", "calibration_error"]
    assert all(check["low"] <= check["high"] for check in last["checks"])
    promoted = [i for i, verdict in verdicts.items() if verdict["promote"]]
    assert run.ledger.champion() == promoted[-1]


def test_the_champions_checkpoint_stays_for_it(new_run: Any, drive: Any) -> None:
    never = {"name": "compare", "options": {"checks": [{"metric": "f1", "min_delta": 1}]}}
    run = new_run(gate=never, driver={"checkpoint_interval": 0})
    drive.finish(run)
    assert run.ledger.champion() == 0
    assert run.checkpoints.iterations() == [0, 2]


def test_without_checks_it_goes_sample_by_sample(new_run: Any, drive: Any) -> None:
    run = new_run(gate="compare")
    drive.iterate(run, 0)
    drive.iterate(run, 1)
    (check,) = run.ledger.verdicts()[1]["checks"]
    assert check["metric"] == "samples won"
    assert check["champion"] + check["challenger"] <= 1


@pytest.mark.parametrize(
    "kill", ["gate.judged", "gate.judged:3", "gate.recorded:2", "train.fitted:3"]
)
def test_a_killed_run_has_the_same_verdicts(kill: str, lab: Lab, tmp_path: Any) -> None:
    whole = Lab(tmp_path / "whole", lab.context)
    for place in (whole, lab):
        place.folder.mkdir(exist_ok=True)
        place.write(gate=GATE)
    assert whole() == 0
    assert lab(kill) == -signal.SIGKILL
    assert lab() == 0
    assert outcome(lab.run) == outcome(whole.run)


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ({"latency": {}}, "has the predictions of each iteration's model, and no latency: remove"),
        (
            [{"metric": "loss", "figure": "loss", "legend": "validation"}],
            "and no training curve loss/validation: remove",
        ),
        ([{"metric": "f1", "slice_by": "site"}], "and no slices by site: remove"),
        (
            [{"metric": "kappa"}],
            "gate 'compare' needs the metric 'kappa', which nothing measures: add stability to",
        ),
        (
            [{"metric": "train_loss"}],
            "gate 'compare' needs the metric 'train_loss', which nothing measures",
        ),
    ],
)
def test_what_a_run_cannot_compare_is_refused_before_it_starts(
    new_run: Any, checks: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        new_run(gate={"name": "compare", "options": {"checks": checks}})


def test_what_predictions_give_needs_no_metrology(new_run: Any, drive: Any) -> None:
    checks = [{"metric": metric} for metric in ("f1", "roc_auc", "precision_recall", "ece")]
    run = new_run(gate={"name": "compare", "options": {"checks": checks}})
    drive.iterate(run, 0)
    assert run.ledger.champion() == 0
    assert Phase.METROLOGY in run.ledger.done_phases(0)
