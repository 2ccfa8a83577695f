from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from querist.errors import ConfigurationError
from querist.strategies.query.max_herding import MaxHerding
from querist.testing import QueryStrategyContract, query_context
from querist.views import View


class TestContract(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> MaxHerding:
        return MaxHerding()


class TestContractWithFewReferences(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> MaxHerding:
        return MaxHerding(references=9, bandwidth=1.5, space="features")


def reference(pool: Any, labeled: Any, bandwidth: float, n: int) -> list[int]:
    def kernels(a: Any, b: Any) -> Any:
        return np.exp(-((a[:, None] - b[None]) ** 2).sum(2) / bandwidth**2)

    table = kernels(pool, pool)
    covered = kernels(labeled, pool).max(0) if len(labeled) else np.zeros(len(pool))
    picks: list[int] = []
    for _ in range(n):
        gains = np.maximum(table - covered, 0).sum(1)
        gains[picks] = -1
        picks.append(int(gains.argmax()))
        covered = np.maximum(covered, table[picks[-1]])
    return picks


@pytest.mark.parametrize("labeled", [(), (4, 11, 29)])
@pytest.mark.parametrize("bandwidth", [1.0, 2.0, 7.0])
def test_agrees_with_numpy(labeled: tuple[int, ...], bandwidth: float) -> None:
    context = query_context(labeled=labeled)
    selection = MaxHerding(bandwidth=bandwidth).sample(context, 12)
    pool = context.pool.features(context.unlabeled).double().numpy()
    known = context.of_labeled(View.FEATURES).double().numpy() if labeled else []
    expected = context.unlabeled[reference(pool, known, bandwidth, 12)]
    assert selection.indices == tuple(expected.tolist())
    assert selection.scores == tuple(float(left) for left in range(12, 0, -1))


def test_the_bandwidth_is_a_share_of_the_median_distance() -> None:
    context = query_context(labeled=())
    x = context.pool.features(context.unlabeled).double().numpy()
    median = np.median(np.sqrt(((x[:, None] - x[None]) ** 2).sum(2)))
    wide = MaxHerding(width=0.7).sample(context, 10)
    assert wide == MaxHerding(bandwidth=0.7 * float(median)).sample(context, 10)


def test_takes_one_of_each_group_and_none_where_a_label_is() -> None:
    draw = torch.Generator().manual_seed(0)
    groups = torch.eye(4)[torch.arange(40) % 4] * 10 + torch.randn(40, 4, generator=draw) * 0.1
    selection = MaxHerding().sample(query_context(features=groups, labeled=(4, 8)), 3)
    assert sorted(index % 4 for index in selection.indices) == [1, 2, 3]


@pytest.mark.parametrize(
    "options",
    [{"bandwidth": 0}, {"bandwidth": -1}, {"width": 0}, {"references": 0}, {"space": "pixels"}],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        MaxHerding(**options)


def test_huge_and_distant_features_are_no_trouble() -> None:
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(7))
    plain = MaxHerding(space="features").sample(query_context(features=x), 8)
    moved = MaxHerding(space="features").sample(query_context(features=x.double() * 1e30), 8)
    assert moved.indices == plain.indices
