"""Champion against challenger by any number of checks, on the same test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from pydantic import ValidationError

from querist.config.compare import LATENCY, CheckConfig, CompareConfig
from querist.config.load import explain
from querist.directions import as_written
from querist.errors import ConfigurationError
from querist.registry import register
from querist.strategies.gates.judging import NO_CHAMPION, Part, judge, shown_only
from querist.strategies.gates.per_sample import NAME, compare_samples
from querist.strategies.gates.scores import can_be_scored, samples
from querist.training.threads import torch_threads
from querist.values import Check, Evaluation, Outcomes, Verdict


@register("gate", "compare")
class Compare:
    """Promotes a challenger that wins enough sub-comparisons against the champion.

    A sub-comparison is won by being better by more than its margin: a tie is not won. Whatever
    `wins` says, nothing is promoted when a number that is judged is missing or not finite, when the
    test sets differ or are empty, or when nothing was compared. Without a champion a challenger is
    promoted when all of its own numbers are finite.

    Args:
        checks: the sub-comparisons, as in the settings of a comparison; none = sample by sample.
        wins: the share of sub-comparisons to be won (0 to 1; reached is enough), `any` or `all`.
            Default: `all`, and 0.5 without checks.
    """

    wants_outcomes = True

    def __init__(
        self,
        checks: Sequence[Mapping[str, Any] | CheckConfig] | Mapping[str, Any] = (),
        wins: float | str | None = None,
    ) -> None:
        try:
            self.config = CompareConfig.model_validate({"checks": checks, "wins": wins})
        except ValidationError as error:
            raise ConfigurationError(explain(error, CompareConfig)) from error
        for check in self.config.checks:
            _check_samples_suffice(check)

    @property
    def not_in_runs(self) -> tuple[str, ...]:
        """Checks of what an active-learning run does not know of its models, in words."""
        return tuple(filter(None, map(_beyond_runs, self.config.checks)))

    @property
    def needs(self) -> tuple[str, ...]:
        """Metrics that somebody must measure, since predictions alone do not give them."""
        return tuple(
            check.metric for check in self.config.checks
            if not _beyond_runs(check) and not can_be_scored(check.metric)
        )  # fmt: skip

    def compare(self, champion: Evaluation | None, challenger: Evaluation) -> Verdict:
        """Each sub-comparison, and what they add up to."""
        # A draw of a thousand samples is too small a work to be shared between threads.
        with torch_threads(1):
            return self._compared(champion, challenger)

    def _compared(self, champion: Evaluation | None, challenger: Evaluation) -> Verdict:
        obstacle = _obstacle(champion, challenger)
        if self.config.checks:  # without them, each sample's score is looked at
            obstacle = obstacle or _nothing_said(champion, challenger)
        if obstacle and self.config.checks:
            checks = self.config.checks
            parts = [shown_only(check, champion, challenger, obstacle) for check in checks]
        elif obstacle:
            parts = [Part(Check(NAME, None, None, 0.0, False, obstacle), broken=True)]
        elif self.config.checks:
            parts = [part for c in self.config.checks for part in judge(c, champion, challenger)]
        else:
            parts = [compare_samples(champion, challenger, reached=self._reached)]
        promote, reason = self._sum_up(parts, first=champion is None)
        return Verdict(promote, reason, tuple(part.check for part in parts))

    def _reached(self, won: int, number: int) -> bool:
        """Whether so many wins are enough; without evidence they are not."""
        if self.config.wins == "any":
            return won > 0
        share = 1.0 if self.config.wins == "all" else self.config.wins
        # As written: in floats 0.55 of 100 is more than 55.
        return number > 0 and won >= Fraction(as_written(float(share))) * number

    def _sum_up(self, parts: Sequence[Part], *, first: bool) -> tuple[bool, str]:
        broken = [part.check.reason for part in parts if part.broken]
        if broken:
            return False, _with_more(broken)
        number, won = sum(part.number for part in parts), sum(part.won for part in parts)
        if first:
            shown = [part.check for part in parts if part.number]
            if len(shown) == 1:
                return True, shown[0].reason
            words = ", ".join(f"{one.metric} {one.challenger:.6g}" for one in shown)
            return True, f"{NO_CHAMPION}: {words} are the first"
        promote = self._reached(won, number)
        if number == 1:
            reason = next(part.check.reason for part in parts if part.number)
            return promote, reason if promote == bool(won) else f"{reason}; {self._needed()}"
        names = [part.check.metric for part in parts if part.number == 1 and part.won]
        which = f" ({', '.join(names)})" if names else ""
        if number > len(parts):
            return promote, f"{parts[0].check.reason}; {self._needed()}"
        reason = f"the challenger wins {won} of {number} sub-comparisons{which}; {self._needed()}"
        return promote, reason

    def _needed(self) -> str:
        wins = self.config.wins
        words = {"any": "one is needed", "all": "all are needed"}
        return words[wins] if isinstance(wins, str) else f"a share of {wins:g} is needed"


def _check_samples_suffice(check: CheckConfig) -> None:
    """Refuse to draw samples for what is not computed from samples."""
    for key in ("confidence", "slice_by"):
        if getattr(check, key) is not None and not can_be_scored(check.metric):
            raise ConfigurationError(
                f"{key} needs a metric that is computed from predictions on samples, unlike "
                f"{check.metric!r}: name one that metrology has under this name, or remove {key}"
            )


def _beyond_runs(check: CheckConfig) -> str:
    if check.curve is not None:
        return f"training curve {check.curve}"
    if check.metric == LATENCY:
        return LATENCY
    return f"slices by {check.slice_by}" if check.slice_by is not None else ""


def _nothing_said(champion: Evaluation | None, challenger: Evaluation) -> str:
    """Whose predictions are NaN or infinite, in words: their likeliest class would still be one."""
    for who, side in (("challenger", challenger), ("champion", champion)):
        if side is None or side.outcomes is None:
            continue
        said = side.outcomes.probabilities
        said = side.outcomes.predictions if said is None else said
        if not bool(torch.isfinite(said).all()):
            return f"what the {who} says of samples is not finite: nothing is compared"
    return ""


def _obstacle(champion: Evaluation | None, challenger: Evaluation) -> str:
    """Why nothing can be compared at all; empty when it can."""
    sides = [one for one in (champion, challenger) if one is not None]
    outcomes = [one.outcomes for one in sides if one.outcomes is not None]
    if any(not samples(one) for one in outcomes):
        return "the test set is empty: nothing is compared"
    if champion is None:
        return ""
    digests = champion.test_digest, challenger.test_digest
    if digests[0] != digests[1]:
        return f"the test sets differ ({digests[0][:8]} and {digests[1][:8]}): nothing is compared"
    if len(outcomes) == 2 and not _same_truth(*outcomes):
        return "the truth of the test sets differs: nothing is compared"
    return ""


def _same_truth(one: Outcomes, other: Outcomes) -> bool:
    """Whether two models were asked of the same samples."""
    if samples(one) != samples(other) or not torch.equal(one.targets, other.targets):
        return False
    boxes = zip(one.truth or (), other.truth or (), strict=False)
    return all(
        torch.equal(a.boxes, b.boxes) and torch.equal(a.classes, b.classes) for a, b in boxes
    )


def _with_more(reasons: Sequence[str]) -> str:
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"{reasons[0]}{more}"
