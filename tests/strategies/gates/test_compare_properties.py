"""Verdicts against a plain reference, and what holds of all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from querist.strategies.gates.compare import Compare
from querist.values import Evaluation, Outcomes, Task

NAMES = ("a", "b", "c", "d")
DIGEST, OTHER = "d" * 64, "e" * 64
SITES = ("north", "south")

wins = st.sampled_from(["any", "all"]) | st.integers(0, 10).map(lambda tenths: tenths / 10)
number = st.integers(0, 20).map(lambda n: n / 20)
odd_number = st.none() | st.sampled_from([math.nan, math.inf, -math.inf]) | number
check = st.fixed_dictionaries({
    "metric": st.sampled_from(NAMES),
    "direction": st.sampled_from(["max", "min"]),
    "min_delta": st.integers(0, 4).map(lambda n: n / 20),
})  # fmt: skip
checks = st.lists(check, min_size=1, max_size=6)


def numbers(values: Any) -> Any:
    return st.fixed_dictionaries(dict.fromkeys(NAMES, values))


def model(values: dict[str, float | None], digest: str = DIGEST) -> Evaluation:
    return Evaluation(0, {n: v for n, v in values.items() if v is not None}, digest)


def enough(wins: Any, won: Sequence[bool]) -> bool:
    """Whether the wins are enough, as the documentation says it."""
    if wins == "any":
        return any(won)
    if wins == "all":
        return len(won) > 0 and all(won)
    return len(won) > 0 and Fraction(sum(won), len(won)) >= Fraction(str(wins))


def is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def plain(checks: Any, wins: Any, old: Any, new: Any) -> bool:
    """The slow and obvious way, in exact decimals."""
    for one in checks:
        if not is_number(new[one["metric"]]):
            return False
        if old is not None and not is_number(old[one["metric"]]):
            return False
    if old is None:
        return True
    won = []
    for one in checks:
        rise = Decimal(str(new[one["metric"]])) - Decimal(str(old[one["metric"]]))
        better_by = rise if one["direction"] == "max" else -rise
        won.append(better_by > Decimal(str(one["min_delta"])))
    return enough(wins, won)


@given(checks=checks, wins=wins, old=st.none() | numbers(odd_number), new=numbers(odd_number))
def test_as_the_plain_reference(checks: Any, wins: Any, old: Any, new: Any) -> None:
    verdict = Compare(checks, wins).compare(None if old is None else model(old), model(new))
    assert verdict.promote is plain(checks, wins, old, new), verdict.reason
    assert len(verdict.checks) == len(checks)


@given(checks=checks, wins=wins, old=numbers(number), new=numbers(number))
def test_two_models_never_beat_each_other(checks: Any, wins: Any, old: Any, new: Any) -> None:
    assume(wins == "all" or (wins != "any" and wins > 0.5))
    gate = Compare(checks, wins)
    there = gate.compare(model(old), model(new)).promote
    back = gate.compare(model(new), model(old)).promote
    assert not (there and back)


@given(
    checks=checks,
    wins=wins,
    old=numbers(odd_number),
    new=numbers(odd_number),
    at=st.integers(0, 5),
)
def test_a_larger_margin_promotes_nothing_more(
    checks: Any, wins: Any, old: Any, new: Any, at: int
) -> None:
    at %= len(checks)
    stricter = [{**c, "min_delta": c["min_delta"] + 0.1 * (i == at)} for i, c in enumerate(checks)]
    if Compare(stricter, wins).compare(model(old), model(new)).promote:
        assert Compare(checks, wins).compare(model(old), model(new)).promote


@given(checks=checks, old=numbers(odd_number), new=numbers(odd_number))
def test_more_wins_that_are_needed_promote_nothing_more(checks: Any, old: Any, new: Any) -> None:
    asked = [0.0, 0.2, 0.5, 0.6, 0.9, 1.0, "all"]
    found = [Compare(checks, w).compare(model(old), model(new)).promote for w in asked]
    assert found == sorted(found, reverse=True)
    one = Compare(checks, "any").compare(model(old), model(new)).promote
    assert one >= found[-1]


@given(checks=checks, wins=wins, old=numbers(number), new=numbers(number))
def test_never_on_different_test_sets(checks: Any, wins: Any, old: Any, new: Any) -> None:
    verdict = Compare(checks, wins).compare(model(old, OTHER), model(new))
    assert not verdict.promote
    assert verdict.reason.startswith("the test sets differ (eeeeeeee and dddddddd)")
    assert [(c.champion, c.challenger) for c in verdict.checks] == [
        (old[c["metric"]], new[c["metric"]]) for c in checks
    ]


# With what both models say of each sample ----------------------------------------------------


def said(targets: torch.Tensor, seed: int, slices: Any, digest: str = DIGEST) -> Evaluation:
    source = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(targets), 3, generator=source) + torch.eye(3)[targets]
    probabilities = logits.double().softmax(1)
    outcomes = Outcomes(
        Task.CLASSIFICATION, 3, targets, probabilities.argmax(1), probabilities, slices
    )  # fmt: skip
    return Evaluation(0, {}, digest, outcomes)


@st.composite
def pairs(draw: Any) -> tuple[Evaluation, Evaluation]:
    size = draw(st.integers(1, 40))
    seed = draw(st.integers(0, 10**6))
    targets = torch.randint(3, (size,), generator=torch.Generator().manual_seed(seed))
    border = draw(st.integers(0, size))
    site = {"north": torch.arange(border), "south": torch.arange(border, size)}
    other = seed + draw(st.integers(0, 1))
    return said(targets, seed, {"site": site}), said(targets, other, {"site": site})


sampled = st.lists(
    st.fixed_dictionaries(
        {"metric": st.sampled_from(["accuracy", "log_loss", "brier"])},
        optional={
            "min_delta": st.integers(0, 3).map(lambda n: n / 20),
            "slice_by": st.just("site"),
            "min_slice_size": st.integers(1, 10),
            "max_slice_loss": st.integers(0, 3).map(lambda n: n / 20),
            "confidence": st.sampled_from([0.6, 0.9]),
            "resamples": st.just(100),
        },
    ).filter(lambda c: "slice_by" in c or "max_slice_loss" not in c),
    max_size=3,
)  # fmt: skip


def by_hand(metric: str, outcomes: Outcomes, rows: Sequence[int]) -> float:
    """The mean over samples, one after the other; higher is better."""
    total = 0.0
    assert outcomes.probabilities is not None
    for row in rows:
        truth, chances = int(outcomes.targets[row]), outcomes.probabilities[row].tolist()
        if metric == "accuracy":
            total += float(chances.index(max(chances)) == truth)
        elif metric == "log_loss":
            total += math.log(chances[truth])
        else:
            total -= sum((p - (i == truth)) ** 2 for i, p in enumerate(chances))
    return total / len(rows)


def plain_with_slices(checks: Any, wins: Any, old: Outcomes, new: Outcomes) -> bool:
    won = []
    for one in checks:
        margin = one.get("min_delta", 0.0)

        def better_by(rows: Sequence[int], metric: str = one["metric"]) -> float:
            found = by_hand(metric, new, rows) - by_hand(metric, old, rows)
            return 0.0 if abs(found) < 1e-12 else found

        whole = better_by(range(len(new.targets)))
        assume(margin == 0 or abs(whole - margin) > 1e-9)
        whole_won, of_slices = whole > margin, []
        if "slice_by" in one:
            for rows in new.slices["site"].values():
                if len(rows) < one.get("min_slice_size", 20):
                    continue
                gain = better_by(rows.tolist())
                assume(margin == 0 or abs(gain - margin) > 1e-9)
                if "max_slice_loss" in one:
                    loss = one["max_slice_loss"]
                    assume(loss == 0 or abs(gain + loss) > 1e-9)
                    whole_won = whole_won and -gain <= loss
                else:
                    of_slices.append(gain > margin)
        won += [whole_won, *of_slices]
    return enough(wins, won)


@settings(deadline=None)
@given(pair=pairs(), checks=sampled.filter(bool), wins=wins)
def test_slices_as_the_plain_reference(pair: Any, checks: Any, wins: Any) -> None:
    checks = [{k: v for k, v in one.items() if k != "confidence"} for one in checks]
    verdict = Compare(checks, wins).compare(*pair)
    expected = plain_with_slices(checks, wins, pair[0].outcomes, pair[1].outcomes)
    assert verdict.promote is expected, verdict.reason


@settings(deadline=None, max_examples=60)
@given(pair=pairs(), checks=sampled, wins=wins)
def test_what_holds_with_samples_too(pair: Any, checks: Any, wins: Any) -> None:
    """No checks included, when the two are compared sample by sample."""
    old, new = pair
    gate = Compare(checks, wins)
    verdict = gate.compare(old, new)
    assert verdict == Compare(checks, wins).compare(old, new), "not the same again"
    if verdict.promote:
        if wins == "all" or (wins != "any" and wins > 0.5):
            assert not gate.compare(new, old).promote
        if wins not in ("any", "all"):
            assert Compare(checks, wins / 2).compare(old, new).promote
        narrower = [{**one, "min_delta": 0} for one in checks]
        assert Compare(narrower, wins).compare(old, new).promote
        surer = [{**one, "confidence": 0.95} for one in checks]
        assert gate.compare(old, new).promote >= Compare(surer, wins).compare(old, new).promote


@settings(deadline=None, max_examples=60)
@given(pair=pairs(), checks=sampled, wins=wins, row=st.integers(0, 39), side=st.booleans())
def test_one_nan_in_any_sample_promotes_nothing(
    pair: Any, checks: Any, wins: Any, row: int, side: bool
) -> None:
    broken = pair[side].outcomes
    assert broken.probabilities is not None
    broken.probabilities[row % len(broken.targets)] = math.nan
    judged = [one for one in checks if one["metric"] != "accuracy"]
    verdict = Compare(judged, wins).compare(*pair)
    assert not verdict.promote, verdict.reason
    if side:
        assert not Compare(judged, wins).compare(None, pair[1]).promote


@given(wins=wins, checks=sampled)
def test_never_on_an_empty_test_set(wins: Any, checks: Any) -> None:
    nothing = said(torch.empty(0, dtype=torch.int64), 0, {"site": {}})
    for champion in (None, nothing):
        verdict = Compare(checks, wins).compare(champion, nothing)
        assert not verdict.promote
        assert "the test set is empty" in verdict.reason


@given(wins=wins)
def test_never_without_evidence(wins: Any) -> None:
    """No checks, and nothing known of samples."""
    for champion in (None, model(dict.fromkeys(NAMES, 0.1))):
        verdict = Compare([], wins).compare(champion, model(dict.fromkeys(NAMES, 0.9)))
        assert not verdict.promote
        assert "there is nothing that the" in verdict.reason
