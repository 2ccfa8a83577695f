from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from querist.errors import DataError
from querist.items.pool import PoolItems
from querist.pools.tensor_pool import TensorPool
from tests.shared.runs import component

__all__ = ["component"]


def test_every_sample_is_a_labeled_item(component: Callable[..., str]) -> None:
    features, targets = torch.randn(5, 3), torch.tensor([0, 1, 1, 0, 1])
    source = PoolItems(component("pool", lambda: TensorPool(features, targets)))
    items = list(source.items())
    assert [item.id for item in items] == ["0", "1", "2", "3", "4"]
    assert [item.label for item in items] == targets.tolist()
    assert torch.equal(source.features(["4", "0"]), features[[4, 0]])


def test_a_pool_without_labels_is_refused(component: Callable[..., str]) -> None:
    name = component("pool", lambda: TensorPool(torch.randn(5, 3), None, classes=2))
    with pytest.raises(DataError, match="items need labels, and pool 'test_0' does not know them"):
        PoolItems(name)
