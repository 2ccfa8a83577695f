"""What a gate is given of a run's models."""

from __future__ import annotations

import torch

from querist.learners.samples import decided
from querist.protocols import Predictor
from querist.runs.model import bring_model_to
from querist.runs.run import Run
from querist.values import Evaluation, Outcomes, Task


def evaluations(
    run: Run, iteration: int, champion: int | None
) -> tuple[Evaluation | None, Evaluation]:
    """The numbers of the champion's and of `iteration`'s model, from the run's test set.

    For a gate with `wants_outcomes` both models predict the test set anew: the champion's model is
    brought back from its checkpoint, and then the iteration's again. That gives the same bits after
    a kill, on the CPU. How long a prediction takes is left out, so that no verdict hangs on it.
    """
    wanted = bool(getattr(run.strategies.gate, "wants_outcomes", False))
    old = None if champion is None else _evaluation(run, champion, wanted=wanted)
    return old, _evaluation(run, iteration, wanted=wanted)


def predictions_of(
    learner: Predictor, task: Task, features: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What a learner as it is now predicts: classes, labels or numbers, and their probabilities."""
    if task.has_probabilities:
        probabilities = learner.predict_proba(features)
        return decided(probabilities, task), probabilities
    return learner.predict(features), None


def _evaluation(run: Run, iteration: int, *, wanted: bool) -> Evaluation:
    return Evaluation(
        iteration,
        run.ledger.metrology().get(iteration, {}),
        run.test_digest(),
        _outcomes(run, iteration) if wanted else None,
    )


def _outcomes(run: Run, iteration: int) -> Outcomes | None:
    """What the model of `iteration` says of each test sample; None without a test set."""
    test = run.data.test
    if test is None:
        return None
    bring_model_to(run, iteration)
    predictions, probabilities = predictions_of(run.learner, run.data.task, test.features())
    return Outcomes(
        run.data.task, run.data.pool.classes, test.targets, predictions, probabilities
    )  # fmt: skip
