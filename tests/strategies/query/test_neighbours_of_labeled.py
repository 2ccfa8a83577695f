from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from querist.errors import ConfigurationError, UnknownNameError
from querist.strategies.query import neighbours_of_labeled
from querist.strategies.query.margin import Margin
from querist.strategies.query.neighbours_of_labeled import NeighboursOfLabeled
from querist.testing import QueryStrategyContract, query_context
from querist.views import View
from tests.shared.strategies import ascending


class TestContract(QueryStrategyContract):
    def make(self) -> NeighboursOfLabeled:
        return NeighboursOfLabeled("margin", k=12)


class TestContractOfAnIndex(QueryStrategyContract):
    @pytest.fixture(autouse=True)
    def _needs_faiss(self) -> None:
        pytest.importorskip("faiss", reason="needs the extra querist[neighbours]")

    def make(self) -> NeighboursOfLabeled:
        return NeighboursOfLabeled("margin", k=12, index="approximate")


def reference(context: Any, k: int) -> list[int]:
    """By sorting all distances."""
    features = context.pool.features(torch.arange(40)).double()
    found: set[int] = set()
    for known in context.labeled.indices.tolist():
        distances = (features[context.unlabeled] - features[known]).square().sum(1)
        found |= set(context.unlabeled[distances.argsort(stable=True)[:k]].tolist())
    return sorted(found)


@pytest.mark.parametrize("index", ["exact", "approximate"])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_candidates_are_the_nearest_unlabeled_of_each_label(k: int, index: str) -> None:
    if index == "approximate":
        pytest.importorskip("faiss", reason="needs the extra querist[neighbours]")
    context = query_context()
    strategy = NeighboursOfLabeled(k=k, index=index, probes=99)
    assert strategy.candidates(context, 1).tolist() == reference(context, k)
    narrow = query_context(unlabeled=torch.tensor(reference(context, k)))
    assert strategy.sample(context, 2) == Margin().sample(narrow, 2)


def test_more_neighbours_where_there_are_too_few_candidates() -> None:
    context = query_context()
    found = NeighboursOfLabeled(k=1).candidates(context, 20)
    assert found.tolist() in [reference(context, k) for k in (2, 4, 8, 16)]
    assert len(found) >= 20
    assert torch.equal(NeighboursOfLabeled(k=1).candidates(context, 37), context.unlabeled)


def test_before_anything_is_labeled_all_are_candidates() -> None:
    inner = {"name": "callable", "options": {"function": ascending}}
    found = NeighboursOfLabeled(inner).sample(query_context(labeled=()), 3)
    assert found.indices == (0, 1, 2)


def test_the_learner_is_asked_of_the_candidates_alone() -> None:
    context = query_context()
    NeighboursOfLabeled(k=3).sample(context, 2)
    assert not context.shared.has(View.PROBABILITIES, context.unlabeled)


def test_the_index_is_built_once_for_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss", reason="needs the extra querist[neighbours]")
    built = []
    kind = neighbours_of_labeled.ApproximateNeighbours

    def watched(*args: Any) -> Any:
        built.append(args[1:])
        return kind(*args)

    monkeypatch.setattr(neighbours_of_labeled, "ApproximateNeighbours", watched)
    context = query_context()
    strategy = NeighboursOfLabeled(k=5, index="approximate")
    strategy.work_in(tmp_path)
    first = strategy.sample(context, 3)
    strategy.sample(context, 3)
    assert built == [(40, tmp_path / "neighbours-40x4")]
    files = sorted(path.name for path in (tmp_path / "neighbours-40x4").iterdir())
    assert files == ["0-40.faiss", "lists.faiss"]
    again = NeighboursOfLabeled(k=5, index="approximate")
    again.work_in(tmp_path)
    assert again.sample(query_context(), 3) == first


def test_large_pools_need_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(neighbours_of_labeled, "EXACT", 39)
    monkeypatch.setattr(
        NeighboursOfLabeled, "_approximate", lambda self, c, q, k: seen.append(k) or c.unlabeled
    )
    NeighboursOfLabeled(k=5).sample(query_context(), 3)
    NeighboursOfLabeled(k=5, index="exact").sample(query_context(), 3)
    assert seen == [5]


def test_options_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="k is a whole number of at least 1, not 0"):
        NeighboursOfLabeled(k=0)
    with pytest.raises(ConfigurationError, match="probes is a whole number of at least 1, not 0"):
        NeighboursOfLabeled(probes=0)
    with pytest.raises(UnknownNameError, match="did you mean 'approximate'"):
        NeighboursOfLabeled(index="aproximate")
