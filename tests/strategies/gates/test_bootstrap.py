from __future__ import annotations

import math

import pytest
import torch

from querist.directions import Direction
from querist.strategies.gates import bootstrap
from querist.strategies.gates.bootstrap import gains, interval, probability
from querist.strategies.gates.score import Score

ROWS = torch.arange(400)


def values(seed: int) -> torch.Tensor:
    return torch.randn(400, generator=torch.Generator().manual_seed(seed)).double()


def mean_of(each: torch.Tensor) -> Score:
    return Score(lambda rows: float(each[rows].mean()), each)


def draw(
    old: Score, new: Score, *, digest: str = "d", purpose: str = "f1", rows: torch.Tensor = ROWS,
    direction: Direction = Direction.MAX, resamples: int = 2000,
) -> torch.Tensor:  # fmt: skip
    return gains(
        old, new, rows, direction=direction, resamples=resamples, test_digest=digest,
        purpose=purpose,
    )  # fmt: skip


def test_the_interval_of_a_mean_is_about_the_normal_one() -> None:
    old, new = values(0), values(1) + 0.2
    low, high = interval(draw(mean_of(old), mean_of(new))) or (0.0, 0.0)
    middle, error = float((new - old).mean()), float((new - old).std()) / math.sqrt(400)
    assert low == pytest.approx(middle - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(middle + 1.96 * error, abs=0.2 * error)


def test_a_metric_that_is_measured_anew_is_drawn_alike() -> None:
    old, new = values(0), values(1)
    by_mean = interval(draw(mean_of(old), mean_of(new)))
    anew = draw(Score(mean_of(old).of), Score(mean_of(new).of))
    assert len(anew) == 2000
    assert interval(anew) == pytest.approx(by_mean, abs=0.015)


@pytest.mark.parametrize("anew", [False, True])
def test_pairs_are_drawn_together(anew: bool) -> None:
    """What is equal on every sample differs in no draw."""
    one = Score(mean_of(values(0)).of) if anew else mean_of(values(0))
    assert draw(one, one, resamples=100).abs().max() == 0


@pytest.mark.parametrize("anew", [False, True])
def test_changed_places_change_the_sign_and_nothing_else(anew: bool) -> None:
    old, new = (Score(s.of, None if anew else s.each) for s in map(mean_of, map(values, (0, 1))))
    there = draw(old, new, resamples=100)
    assert torch.equal(there, -draw(new, old, resamples=100))
    assert torch.equal(there, draw(new, old, resamples=100, direction=Direction.MIN))


def test_draws_depend_on_test_set_and_purpose_only() -> None:
    old, new = mean_of(values(0)), mean_of(values(1))
    torch.manual_seed(1)
    first = draw(old, new, resamples=100)
    torch.manual_seed(2)
    assert torch.equal(first, draw(old, new, resamples=100))
    assert not torch.equal(first, draw(old, new, resamples=100, digest="e"))
    assert not torch.equal(first, draw(old, new, resamples=100, purpose="f1 (site north)"))


def test_only_the_rows_are_drawn() -> None:
    each = torch.cat([torch.zeros(200), torch.full((200,), math.nan)]).double()
    found = draw(mean_of(each), mean_of(each + 1), rows=torch.arange(200), resamples=100)
    assert torch.equal(found, torch.ones(100, dtype=torch.float64))


def test_large_test_sets_are_drawn_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_MEANS", 400 * 300)
    monkeypatch.setattr(bootstrap, "_MEASUREMENTS", 400)
    old, new = mean_of(values(0)), mean_of(values(1))
    assert len(draw(old, new)) == 300
    assert len(draw(Score(old.of), Score(new.of))) == 100, "at least so many"


def test_draws_that_gave_no_number() -> None:
    found = torch.tensor([1.0, 2.0, 3.0, math.nan], dtype=torch.float64)
    assert interval(found) == pytest.approx((1.05, 2.95))
    assert probability(found, 1.0) == 0.5
    assert interval(torch.tensor([1.0, math.nan])) is None


def test_it_is_as_sure_as_it_says() -> None:
    """Of models that are equally good, one in twenty wins at a confidence of 0.95."""
    won = 0
    for seed in range(200):
        old, new = values(2 * seed), values(2 * seed + 1)
        drawn = draw(mean_of(old), mean_of(new), digest=str(seed), resamples=400)
        won += probability(drawn, 0.0) >= 0.95
    assert 2 <= won <= 20
