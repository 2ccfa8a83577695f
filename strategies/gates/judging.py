"""One check: its numbers on the whole test set and on slices, and who wins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from querist.config.compare import CheckConfig
from querist.directions import Direction, as_written, gain
from querist.strategies.gates.bootstrap import gains, interval, probability
from querist.strategies.gates.readings import Reading, read
from querist.strategies.gates.score import Score
from querist.values import Check, Evaluation

NO_CHAMPION = "no champion yet"


@dataclass(frozen=True)
class Part:
    """A row of a verdict, and what it counts for.

    Attributes:
        check: the row.
        number: sub-comparisons that it stands for; 0 for one that is only shown.
        won: how many of them the challenger wins.
        broken: whether a number that matters is missing or not finite: nothing is promoted then.
        forbids: whether it is a slice that loses more than it may.
    """

    check: Check
    number: int = 1
    won: int = 0
    broken: bool = False
    forbids: bool = False


@dataclass(frozen=True)
class _Side:
    """One model's number for a row; `score` draws it anew, and `fault` says why there is none."""

    value: float | None
    score: Score | None = None
    fault: str = ""


@dataclass(frozen=True)
class _Row:
    """What is compared in a row of a verdict."""

    name: str
    champion: _Side | None
    challenger: _Side
    samples: torch.Tensor | None = None


def judge(check: CheckConfig, champion: Evaluation | None, challenger: Evaluation) -> list[Part]:
    """The whole test set, and slices if the check asks for them. Test sets must be the same."""
    old = None if champion is None else read(check, champion)
    new = read(check, challenger)
    whole = _decided(check, _whole(check, old, new), challenger.test_digest)
    if check.slice_by is None:
        return [whole]
    slices = _slices(check, old, new, challenger)
    if slices is None:
        why = f"the test set has no slices by {check.slice_by!r}: {check.metric} is missing there"
        name = f"{check.metric} ({check.slice_by})"
        missing = Check(name, None, None, check.min_delta, False, why)
        return [whole, Part(missing, broken=True)]
    parts = []
    for row in slices:
        assert row.samples is not None
        if len(row.samples) < check.min_slice_size:
            parts.append(_too_small(check, row))
        elif check.max_slice_loss is None:
            parts.append(_decided(check, row, challenger.test_digest))
        else:
            parts.append(_within_loss(check, row, challenger.test_digest))
    return [_guarded(whole, parts), *parts]


def shown_only(
    check: CheckConfig, champion: Evaluation | None, challenger: Evaluation, why: str
) -> Part:
    """The numbers of a check that cannot be compared."""
    old = None if champion is None else _any_number(read(check, champion))
    new = _any_number(read(check, challenger))
    return Part(Check(check.metric, old, new, check.min_delta, False, why), broken=True)


def _any_number(reading: Reading) -> float | None:
    return reading.computed if reading.measured is None else reading.measured


def _whole(check: CheckConfig, old: Reading | None, new: Reading) -> _Row:
    """Both numbers, come by in the same way: measured, or else computed from outcomes."""
    sides = [new] if old is None else [old, new]
    from_samples = check.confidence is not None or check.slice_by is not None
    computable = any(side.score is not None for side in sides)
    has_measured = all(side.measured is not None for side in sides)
    measured = not from_samples and (has_measured or not computable)
    row = [_side(side, measured=measured) for side in sides]
    samples = torch.arange(new.size) if new.size else None
    return _Row(check.metric, None if old is None else row[0], row[-1], samples)


def _side(reading: Reading, *, measured: bool) -> _Side:
    value, computed = reading.measured, reading.computed
    if not measured:
        return _Side(computed, reading.score, reading.fault)
    # Measured with options of its own (`average: macro`), it is another number than the one that
    # would be drawn.
    if value is None or computed is None or not math.isclose(value, computed, rel_tol=1e-6):
        return _Side(value, None, reading.fault)
    return _Side(value, reading.score)


def _slices(
    check: CheckConfig, old: Reading | None, new: Reading, challenger: Evaluation
) -> list[_Row] | None:
    """A row for each slice; None where the test set is not sliced so."""
    assert check.slice_by is not None
    outcomes = challenger.outcomes
    found = None if outcomes is None else outcomes.slices.get(check.slice_by)
    if not found:
        return None
    rows = []
    for value, samples in found.items():
        name = f"{check.metric} ({check.slice_by} {value})"
        sides = [_on(reading, samples) for reading in (old, new) if reading is not None]
        rows.append(_Row(name, None if old is None else sides[0], sides[-1], samples))
    return rows


def _on(reading: Reading, samples: torch.Tensor) -> _Side:
    value = None if reading.score is None or not len(samples) else reading.score.of(samples)
    return _Side(value, reading.score, reading.fault)


def _decided(check: CheckConfig, row: _Row, test_digest: str) -> Part:
    """A row that is a sub-comparison: won by more than `min_delta`, and surely so."""
    values = (None if row.champion is None else row.champion.value), row.challenger.value
    fault = _fault(row)
    if fault:
        return Part(Check(row.name, *values, check.min_delta, False, fault), broken=True)
    new = _number(row.challenger)
    if row.champion is None:
        why = f"{NO_CHAMPION}: {row.name} {new:.6g} is the first"
        return Part(Check(row.name, None, new, check.min_delta, True, why), won=1)
    old = _number(row.champion)
    drawn = _drawn(check, row, test_digest)
    low, high = (None if drawn is None else interval(drawn)) or (None, None)
    better_by = gain(new=new, old=old, direction=check.better)
    won = better_by > as_written(check.min_delta)
    higher = "higher" if check.better is Direction.MAX else "lower"
    margin = f" by more than {check.min_delta:g}" if check.min_delta else ""
    reason = f"{row.name} {new:.6g} {'is' if won else 'is not'} {higher} than {old:.6g}{margin}"
    if check.confidence is not None:
        assert drawn is not None, "the numbers are computed from samples then"
        sure = probability(drawn, check.min_delta)
        won = won and sure >= check.confidence
        reason = (
            f"{reason}; with probability {sure:.4g} the gain is above {check.min_delta:g}, "
            f"{check.confidence:g} is needed"
        )
    shown = Check(
        row.name, old, new, check.min_delta, won, reason, low, high, gain=float(better_by)
    )  # fmt: skip
    return Part(shown, won=int(won))


def _within_loss(check: CheckConfig, row: _Row, test_digest: str) -> Part:
    """A slice that must not get worse by more than `max_slice_loss`: shown, and counted above."""
    assert check.max_slice_loss is not None
    part = _decided(check.model_copy(update={"confidence": None}), row, test_digest)
    if part.broken:
        return replace(part, number=0)
    if row.champion is None:
        return replace(part, number=0, won=0, check=replace(part.check, judged=False))
    old, new = _number(row.champion), _number(row.challenger)
    loss = gain(new=old, old=new, direction=check.better)
    kept = loss <= as_written(check.max_slice_loss)
    reason = (
        f"{row.name} {new:.6g} {'is not' if kept else 'is'} worse than {old:.6g} by more than "
        f"{check.max_slice_loss:g}"
    )
    shown = replace(
        part.check, min_delta=0.0 - check.max_slice_loss, won=kept, reason=reason, judged=False
    )
    return Part(shown, number=0, forbids=not kept)


def _guarded(whole: Part, slices: Sequence[Part]) -> Part:
    """The whole, lost where a slice loses more than it may."""
    lost = [part.check.reason for part in slices if part.forbids]
    if not lost or not whole.won:
        return whole
    more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
    reason = f"{whole.check.reason}, but {lost[0]}{more}"
    return replace(whole, won=0, check=replace(whole.check, won=False, reason=reason))


def _too_small(check: CheckConfig, row: _Row) -> Part:
    assert row.samples is not None
    why = (
        f"a slice of {len(row.samples)} samples is shown and not judged, min_slice_size is "
        f"{check.min_slice_size}"
    )
    old = None if row.champion is None else row.champion.value
    shown = Check(
        row.name, old, row.challenger.value, check.min_delta, False, why, judged=False
    )  # fmt: skip
    return Part(shown, number=0)


def _drawn(check: CheckConfig, row: _Row, test_digest: str) -> torch.Tensor | None:
    """The gain, once for each draw; None where there is nothing to draw from."""
    if row.champion is None or row.samples is None:
        return None
    if row.champion.score is None or row.challenger.score is None:
        return None
    return gains(
        row.champion.score,
        row.challenger.score,
        row.samples,
        direction=check.better,
        resamples=check.resamples,
        test_digest=test_digest,
        purpose=row.name,
    )


def _fault(row: _Row) -> str:
    """Why a row cannot be judged; empty when it can."""
    for who, side in (("challenger", row.challenger), ("champion", row.champion)):
        if side is None:
            continue
        if side.value is None:
            why = f" ({side.fault})" if side.fault else ""
            said = f"is missing{why}"
        elif math.isfinite(side.value):
            continue
        else:
            said = f"is {side.value}"
        ending = ": nothing to compare with" if who == "champion" else ""
        return f"the {who}'s {row.name} {said}{ending}"
    return ""


def _number(side: _Side) -> float:
    assert side.value is not None
    return side.value
