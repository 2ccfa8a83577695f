"""Each broken source of items fails its contract, with the words that say why."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from querist.testing import ItemSourceContract, check_item_source
from querist.values import Item

counter = itertools.count()


class Good:
    classes: Any = 2
    rows = torch.tensor([[0.0], [1.0], [1.0]])

    def items(self) -> list[Item]:
        return [Item("a", "0", 0), Item("b", "1", 1, {"x": 1}), Item("c", "1", None)]

    def features(self, ids: Sequence[str]) -> torch.Tensor:
        return self.rows[["abc".index(name) for name in ids]]


def items(**changes: Any) -> Any:
    first, *rest = Good().items()
    return lambda self: [replace(first, **changes), *rest]


def test_a_good_one_passes() -> None:
    check_item_source(Good)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"items": lambda self: []}, "needs two items, there are 0"),
        ({"items": items(id="b")}, "two items have the id 'b'"),
        ({"items": items(id="a\0")}, "is no id"),
        ({"classes": 0}, "classes is 0"),
        ({"items": items(label=2)}, "the label 2 of 'a' is no class 0 to 1"),
        ({"items": items(label=True)}, "the label True of 'a' is no class"),
        ({"classes": None, "items": items(label=math.nan)}, "nan of 'a' is no finite number"),
        ({"items": items(metadata={"x": {1}})}, "metadata of 'a' are no JSON"),
        ({"items": items(metadata={1: 1})}, "metadata of 'a' change when written as JSON"),
        ({"items": lambda self: items(metadata={"n": next(counter)})(self)}, "had other items"),
        ({"features": lambda self, ids: self.rows[: len(ids)]}, "order is not kept"),
        ({"features": lambda self, ids: Good().features(ids) + len(ids)}, "'a' alone has other"),
        ({"features": lambda self, ids: self.rows[:1]}, "3 items have 1 features"),
        ({"features": lambda self, ids: [1.0]}, "features are a list"),
        ({"rows": torch.tensor([[0.0], [math.inf], [1.0]])}, "features are not finite"),
        ({"items": items(digest="")}, "'' is no digest"),
        ({"items": items(digest="1")}, "shares a digest with other content"),
        ({"rows": torch.tensor([[1.0], [1.0], [1.0]])}, "has another digest than its equal"),
    ],
)
def test_a_broken_one_fails(changes: dict[str, Any], message: str, complaints: Any) -> None:
    broken = type("Broken", (Good,), changes)
    found = complaints(ItemSourceContract(), broken)
    assert any(message in complaint for complaint in found), found
    with pytest.raises(AssertionError):
        check_item_source(broken)
