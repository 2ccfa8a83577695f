from __future__ import annotations

from typing import Any

import pytest

from querist.errors import ConfigurationError
from querist.strategies.query.cover_then_cluster import CoverThenCluster
from querist.strategies.query.dbal import DBAL
from querist.strategies.query.uncertainty_herding import UncertaintyHerding
from querist.testing import QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> CoverThenCluster:
        return CoverThenCluster()


class TestContractLater(QueryStrategyContract):
    def make(self) -> CoverThenCluster:
        return CoverThenCluster(per_class=1, cluster_beta=2, space="auto")


@pytest.mark.parametrize("labeled", [(), (4, 11, 29), tuple(range(5))])
def test_covers_while_there_are_few_labels_for_three_classes(labeled: tuple[int, ...]) -> None:
    strategy = CoverThenCluster(per_class=2, cover_beta=3, width=0.5)
    expected = UncertaintyHerding(beta=3, power=0, width=0.5, space="features")
    chosen = strategy.sample(query_context(labeled=labeled), 6)
    assert chosen == expected.sample(query_context(labeled=labeled), 6)


@pytest.mark.parametrize("labels", [6, 12])
def test_clusters_from_then_on(labels: int) -> None:
    strategy = CoverThenCluster(per_class=2, cluster_beta=4)
    labeled = tuple(range(labels))
    chosen = strategy.sample(query_context(labeled=labeled), 5)
    expected = DBAL(beta=4, score="odds", space="features")
    assert chosen == expected.sample(query_context(labeled=labeled), 5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"per_class": -1}, "per_class"),
        ({"cover_beta": 0}, "cover_beta"),
        ({"cluster_beta": 0}, "cluster_beta"),
        ({"width": 0}, "width"),
        ({"space": "pixels"}, "space"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        CoverThenCluster(**options)
