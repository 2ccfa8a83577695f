from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import ConfigurationError, StrategyError
from querist.strategies.query.bald import Bald
from querist.strategies.query.batch_bald import BatchBald, pick_greedily
from querist.strategies.query.configurations import Configurations
from querist.testing import DrawnSoftmax, LinearSoftmax, QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> BatchBald:
        return BatchBald()


class TestDrawnContract(QueryStrategyContract):
    def make(self) -> BatchBald:
        return BatchBald(configurations=20, candidates=12)


def entropy(p: Any) -> float:
    p = np.asarray(p)
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def information(batch: Any) -> float:
    """Slow, and by the paper: joint entropy less the mean of it when the model is known."""
    models, size, classes = batch.shape
    joint = [
        np.mean([np.prod([batch[k, i, y] for i, y in enumerate(labels)]) for k in range(models)])
        for labels in product(range(classes), repeat=size)
    ]
    known = np.mean([sum(entropy(batch[k, i]) for i in range(size)) for k in range(models)])
    return entropy(joint) - known


def reference(samples: Any, n: int) -> tuple[list[int], list[float]]:
    chosen: list[int] = []
    totals = [0.0]
    for _ in range(n):
        found = [
            -np.inf if i in chosen else information(samples[:, [*chosen, i]])
            for i in range(samples.shape[1])
        ]
        chosen.append(int(np.argmax(np.round(found, 12))))
        totals.append(max(found))
    return chosen, np.diff(totals).tolist()


def drawn(models: int, rows: int, classes: int, seed: int) -> Any:
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.4), (models, rows))


def known(models: int, most: int = 10**6, seed: int = 0) -> Configurations:
    return Configurations(models, most, torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=25)
@given(
    models=st.integers(1, 4),
    rows=st.integers(1, 8),
    classes=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_picks_agree_with_numpy(models: int, rows: int, classes: int, seed: int) -> None:
    samples = drawn(models, rows, classes, seed)
    n = min(4, rows)
    picks, gains = pick_greedily(torch.from_numpy(samples), n, known(models))
    expected, by_hand = reference(samples, n)
    np.testing.assert_allclose(gains, by_hand, atol=1e-9)
    if min(by_hand) > 1e-9 or len(set(np.round(by_hand, 9))) == n:  # what adds nothing is a tie
        assert picks == expected


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), single=st.booleans())
def test_bounds_save_work_and_change_nothing(seed: int, single: bool) -> None:
    """Beside a search that computes everything for every pick, also where labels are drawn."""
    samples = torch.from_numpy(drawn(5, 300, 4, seed))
    samples = samples.float() if single else samples
    everything, within = known(5, 200), known(5, 200)
    alone = torch.special.entr(samples.double()).sum(2).mean(0)
    picks, gains = pick_greedily(samples, 8, within)
    for pick, gain in zip(picks, gains, strict=True):
        added = everything.conditional_entropies(samples) - alone
        # In the drawn part, a bound may be a little low: its error is that of 200 draws.
        exact = len(everything.weights) <= 64
        assert gain == pytest.approx(float(added[pick]), abs=1e-5)
        taken = picks[: picks.index(pick)]
        added[taken] = -torch.inf
        assert gain >= float(added.max()) - (1e-5 if exact else 0.03)
        everything.add(samples[:, pick])


def test_drawn_labels_are_near_all_labels() -> None:
    """Beyond the exact part, the mean over a draw is that over all configurations."""
    samples = torch.from_numpy(drawn(6, 40, 3, 5))
    some, all_of_them = known(6, 2_000), known(6)
    for pick in range(8):
        some.add(samples[:, pick])
        all_of_them.add(samples[:, pick])
    assert len(some.weights) <= 2_000 < len(all_of_them.weights)
    assert float(some.weights.sum()) == pytest.approx(1)
    torch.testing.assert_close(
        some.conditional_entropies(samples),
        all_of_them.conditional_entropies(samples),
        atol=0.01,
        rtol=0,
    )
    models = (some.weights[:, None] * some.posteriors).sum(0)
    torch.testing.assert_close(models, torch.full_like(models, 1 / 6), atol=0.01, rtol=0)


def test_impossible_labels_are_never_drawn() -> None:
    certain = torch.eye(3, dtype=torch.float64)[torch.tensor([[0, 1], [0, 2], [1, 2]])]
    some = known(3, 2)
    for pick in range(2):
        some.add(certain[:, pick])
    assert bool(torch.isfinite(some.posteriors).all())
    assert float(some.conditional_entropies(certain).max()) < 0.5


def test_copies_are_not_asked_twice() -> None:
    """The paper's figure 1: BALD takes a sample's copies, BatchBALD takes what is new."""
    generator = torch.Generator().manual_seed(1)
    one, other = torch.randn(2, 4, generator=generator)
    features = torch.cat([one.expand(10, 4), 0.9 * other.expand(10, 4)])
    weights = torch.randn(20, 4, 3, generator=generator).double()
    context = query_context(features=features, learner=DrawnSoftmax(weights), labeled=())
    of_one = len([i for i in Bald().sample(context, 6).indices if i < 10])
    assert of_one in (0, 6)
    assert 2 <= len([i for i in BatchBald().sample(context, 6).indices if i < 10]) <= 4


def test_one_sample_is_that_of_bald() -> None:
    batch, single = BatchBald().sample(query_context(learner=several()), 1), several_bald(1)
    assert batch.indices == single.indices
    assert batch.scores == pytest.approx(single.scores)


def several() -> DrawnSoftmax:
    return DrawnSoftmax(torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(8)).double())


def several_bald(n: int) -> Any:
    return Bald().sample(query_context(learner=several()), n)


def test_candidates_are_those_of_the_highest_bald_scores() -> None:
    context = query_context(learner=several())
    chosen = BatchBald(candidates=10).sample(context, 5)
    assert set(chosen.indices) <= set(several_bald(10).indices)
    more = BatchBald(candidates=2).sample(context, 5)
    assert set(more.indices) == set(several_bald(5).indices)


def test_wrong_options_and_learners_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="^configurations is a whole number of at least 1"):
        BatchBald(configurations=0)
    with pytest.raises(ConfigurationError, match="^candidates is a whole number of at least 1"):
        BatchBald(candidates=0)
    single = query_context(learner=LinearSoftmax(torch.zeros(4, 3).double()))
    with pytest.raises(StrategyError, match="needs the learner's probability samples"):
        BatchBald().sample(single, 0)
