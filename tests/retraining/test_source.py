"""What a source gives is looked at before anything is learned from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from querist.errors import DataError
from querist.items.digests import digests_of
from querist.retraining.source import answers_of, fingerprint_of
from querist.values import Item
from tests.shared.models import Place, blob
from tests.shared.runs import component

__all__ = ["component"]

REGRESSION: dict[str, Any] = {
    "data": {"source": {"name": "files", "options": {"classes": None}}},
    "learner": {"name": "sklearn", "options": {"estimator": "Ridge"}},
    "metrology": ["rmse"],
    "compare": {"checks": [{"metric": "rmse"}], "wins": "all"},
}


class Listed:
    """A source that has what it is given."""

    def __init__(self, items: Sequence[Item], features: torch.Tensor, classes: int | None) -> None:
        self._items = items
        self._features = features
        self.classes = classes

    def items(self) -> Sequence[Item]:
        """Them."""
        return self._items

    def features(self, ids: Sequence[str]) -> torch.Tensor:
        """Theirs, in that order."""
        known = [item.id for item in self._items]
        return self._features[[known.index(i) for i in ids]]


@pytest.fixture
def read(place: Place, component: Callable[..., str]) -> Callable[..., Any]:
    """Pulls from a source that has the items."""

    def pull(items: Sequence[Item], features: torch.Tensor | None = None) -> Any:
        rows = torch.zeros(len(items), 2) if features is None else features
        name = component("items", lambda: Listed(items, rows, 2))
        return place.pull(data={"source": {"name": name, "options": {}}})

    return pull


def test_numbers_are_learned(place: Place) -> None:
    place.correct({f"i{n:04d}": n / 60 for n in range(60)})
    assert place.retrain(**REGRESSION)["event"] == "promoted"


def test_lists_of_numbers_are_learned(place: Place) -> None:
    place.correct({f"i{n:04d}": [n / 60, 1] for n in range(60)})
    done = place.retrain(until="train", **REGRESSION)
    assert done["labels"] == 36


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("cat", "'cat'"), (True, "True"), ([], "[]"), ([1.0, "cat"], "[1.0, 'cat']"),
        ([1.0, False], "[1.0, False]"), ([[1.0], [2.0]], "[[1.0], [2.0]]"),
        ({"a": 1}, "{'a': 1}"), (10**400, "1000"), (1e39, "1e+39"), (-1e39, "-1e+39"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_no_label(place: Place, label: Any, shown: str) -> None:
    place.correct({"i0007": label})
    with pytest.raises(DataError) as refused:
        place.pull(**REGRESSION)
    words = str(refused.value)
    assert words.startswith(f"a label is a finite number or a list of them, not {shown}")
    assert words.endswith(" of item 'i0007': correct it")
    assert len(words) < 200


@pytest.mark.parametrize("label", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_no_label(
    place: Place, component: Callable[..., str], label: float
) -> None:
    items = [Item("a", "d", 1.0), Item("b", "e", label)]
    name = component("items", lambda: Listed(items, torch.zeros(2, 2), None))
    with pytest.raises(DataError, match=f"a label is a finite number .*not {label} of item 'b'"):
        place.pull(data={"source": {"name": name, "options": {}}})


@pytest.mark.parametrize("other", [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], 1.0])
def test_labels_are_of_one_shape(place: Place, other: Any) -> None:
    three = [1.0, 2.0, 3.0]
    place.correct({f"i{n:04d}": three for n in range(60)} | {"i0009": other})
    words = "all numbers, or all lists of one length, and those of items 'i0000' and 'i0009' differ"
    with pytest.raises(DataError, match=words):
        place.pull(**REGRESSION)


@pytest.mark.parametrize("label", ["cat", True, 1.0, 2, -1, [0], [], {"a": 1}])
def test_what_is_no_class_is_no_label(place: Place, label: Any) -> None:
    place.correct({"i0007": label})
    with pytest.raises(DataError, match="a label is a class 0 to 1, not .* of item 'i0007'"):
        place.pull()


@pytest.mark.parametrize("name", ["", "a\0b", "a" * 501])
def test_ids_that_cannot_be(read: Callable[..., Any], name: str) -> None:
    with pytest.raises(DataError, match="an item's id has 1 to 500 characters without NUL, unlike"):
        read([Item(name, "d", 0)])


def test_ids_are_unique(read: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="two items of data.source have the id 'a': ids are unique"):
        read([Item("a", "d", 0), Item("a", "e", 1)])


def test_features_are_finite(place: Place, component: Callable[..., str]) -> None:
    features = torch.randn(20, 2)
    features[[4, 9]] = torch.nan
    names = [f"i{n}" for n in range(20)]
    digests = digests_of(features)
    items = [Item(name, digests[k], k % 2) for k, name in enumerate(names)]
    name = component("items", lambda: Listed(items, features, 2))
    with pytest.raises(DataError, match="features must be finite: .* have NaN or infinity, the fi"):
        place.retrain(data={"source": {"name": name, "options": {}}})


def test_the_fingerprint_is_of_what_is_labeled() -> None:
    items = [Item("a", "d", 0), Item("b", "e", 1, {"site": "north"})]
    found = fingerprint_of(items)
    assert fingerprint_of([*items[::-1], Item("c", "f")]) == found
    others = [
        [items[0]], [items[0], Item("b", "e", 0, {"site": "north"})], [items[0], Item("b", "e", 1)],
        [items[0], Item("b", "x", 1, {"site": "north"})],
        [items[0], Item("x", "e", 1, {"site": "north"})],
    ]  # fmt: skip
    assert len({found, *map(fingerprint_of, others)}) == 6


def test_answers_are_those_of_labeled_items() -> None:
    found = answers_of([Item("a", "d", 0, {"x": 1}), Item("b", "e")])
    assert {name: (a.value, a.metadata) for name, a in found.items()} == {"a": (0, {"x": 1})}


def test_a_label_is_not_withdrawn(place: Place) -> None:
    place.retrain()
    place.correct({"i0003": None})
    place.add([blob(100)])
    with pytest.raises(DataError, match="item 'i0003' had a label and has none any more"):
        place.retrain()
