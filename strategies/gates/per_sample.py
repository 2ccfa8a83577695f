"""Champion and challenger sample by sample, where no metric is named."""

from __future__ import annotations

from collections.abc import Callable

import torch

from querist.directions import Direction
from querist.strategies.gates.bootstrap import gains, interval
from querist.strategies.gates.detection import overlap_of_each
from querist.strategies.gates.judging import NO_CHAMPION, Part
from querist.strategies.gates.score import Score
from querist.strategies.gates.scores import context, samples
from querist.strategies.metrology.log_loss import LogLoss
from querist.values import Check, Evaluation, Outcomes, Task

DRAWS = 1000
NAME = "samples won"

Reached = Callable[[int, int], bool]
"""(won, of how many) -> whether that is enough."""


def compare_samples(
    champion: Evaluation | None, challenger: Evaluation, *, reached: Reached
) -> Part:
    """One row that stands for as many sub-comparisons as there are samples.

    A sample is won by the better score: the lower log loss; for boxes the higher overlap; without
    probabilities what is right; for regression the lower squared error. Equal scores are a tie,
    which nobody wins. The row's numbers are the shares of samples that each wins.
    """
    sides = [one for one in (champion, challenger) if one is not None]
    scores = []
    for side in sides:
        who = "challenger" if side is challenger else "champion"
        if side.outcomes is None or not samples(side.outcomes):
            return _broken(f"there is nothing that the {who} says of samples: name checks")
        found = score_of_each(side.outcomes)
        if not bool(torch.isfinite(found).all()):
            return _broken(f"the {who}'s score of a sample is not finite")
        scores.append(found)
    size = len(scores[-1])
    if champion is None:
        why = f"{NO_CHAMPION}: all {size} scores of samples are finite"
        return Part(Check(NAME, None, None, 0.0, True, why), number=size, won=size)
    better, worse = (scores[1] > scores[0]).double(), (scores[1] < scores[0]).double()
    won, lost = int(better.sum()), int(worse.sum())
    promote = reached(won, size)
    why = f"the challenger is better on {won} of {size} samples, worse on {lost}, equal on the rest"
    rows = torch.arange(size)
    drawn = gains(
        Score(lambda _: 0.0, worse),
        Score(lambda _: 0.0, better),
        rows,
        direction=Direction.MAX,
        resamples=DRAWS,
        test_digest=challenger.test_digest,
        purpose=NAME,
    )
    low, high = interval(drawn) or (None, None)
    gain = (won - lost) / size
    shown = Check(NAME, lost / size, won / size, 0.0, promote, why, low, high, gain=gain)
    return Part(shown, number=size, won=won)


def score_of_each(outcomes: Outcomes) -> torch.Tensor:
    """How good a model is on each sample `(n,)`, higher is better."""
    if outcomes.found is not None:
        return overlap_of_each(outcomes)
    size = len(outcomes.targets)
    if outcomes.task is Task.REGRESSION:
        apart = outcomes.predictions.double() - outcomes.targets.double()
        return -apart.reshape(size, -1).square().mean(1)
    if outcomes.task is Task.MULTILABEL:
        return -_label_losses(outcomes)
    if outcomes.probabilities is None:
        return (outcomes.predictions == outcomes.targets).double()
    return -LogLoss().of_each(context(outcomes, torch.arange(size)))


def _label_losses(outcomes: Outcomes) -> torch.Tensor:
    """The mean binary cross-entropy of each sample's labels `(n,)`."""
    likely = outcomes.predictions if outcomes.probabilities is None else outcomes.probabilities
    of_truth = torch.where(outcomes.targets > 0.5, likely.double(), 1 - likely.double())
    return -of_truth.clamp_min(torch.finfo(likely.dtype).eps).log().mean(1)


def _broken(why: str) -> Part:
    return Part(Check(NAME, None, None, 0.0, False, why), broken=True)
