"""The contract of a source of items."""

from __future__ import annotations

import copy
import json
import math
from collections import Counter
from collections.abc import Callable

import torch

from querist.protocols import ItemSource
from querist.testing.suite import run_suite
from querist.values import Item

MOST = 200
"""So many items are looked at closely."""


class ItemSourceContract:
    """What every source of items keeps. Subclass it and define `make`."""

    def make(self) -> ItemSource:
        """A fresh instance of the source, over the same items each time; at least two of them."""
        raise NotImplementedError("define make(): it returns a fresh instance of the source")

    def _read(self) -> tuple[ItemSource, list[Item]]:
        source = self.make()
        return source, list(source.items())

    def test_has_items_with_names_of_their_own(self) -> None:
        """Ids are text, and no two items share one."""
        _, items = self._read()
        assert len(items) >= 2, f"the contract needs two items, there are {len(items)}"
        for item in items:
            assert isinstance(item, Item), f"items gave {item!r:.80}"
            named = isinstance(item.id, str) and item.id and "\0" not in item.id
            assert named, f"{item.id!r:.80} is no id: it is text without NUL"
        names = Counter(item.id for item in items)
        twice = next((name for name, count in names.items() if count > 1), None)
        assert twice is None, f"two items have the id {twice!r}"

    def test_labels_are_labels(self) -> None:
        """None, a class, or finite numbers."""
        source, items = self._read()
        classes = source.classes
        assert classes is None or (type(classes) is int and classes > 0), f"classes is {classes!r}"
        for item in items:
            value = item.label
            if value is None:
                continue
            if classes is not None:
                good = type(value) is int and 0 <= value < classes
                assert good, f"the label {value!r} of {item.id!r} is no class 0 to {classes - 1}"
                continue
            numbers = value if isinstance(value, list) else [value]
            finite = bool(numbers) and all(map(_is_finite, numbers))
            assert finite, f"the label {value!r} of {item.id!r} is no finite number"

    def test_metadata_are_json(self) -> None:
        """Written as JSON and read again they are the same."""
        for item in self._read()[1]:
            try:
                again = json.loads(json.dumps(dict(item.metadata), allow_nan=False))
            except (TypeError, ValueError) as error:
                raise AssertionError(f"metadata of {item.id!r} are no JSON: {error}") from error
            assert again == item.metadata, f"metadata of {item.id!r} change when written as JSON"

    def test_is_the_same_when_asked_again(self) -> None:
        """Asked again, and as a fresh instance, it has the same items."""
        source, items = self._read()
        expected = copy.deepcopy({item.id: item for item in items})
        assert {i.id: i for i in source.items()} == expected, "asked again it had other items"
        fresh = {item.id: item for item in self.make().items()}
        assert fresh == expected, "a fresh instance had other items"

    def test_features_come_in_the_order_asked(self) -> None:
        """One row an item, in any order, finite, and the same from a fresh instance."""
        source, items = self._read()
        ids = [item.id for item in items[:MOST]]
        features = source.features(ids)
        assert isinstance(features, torch.Tensor), f"features are a {type(features).__name__}"
        assert len(features) == len(ids), f"{len(ids)} items have {len(features)} features"
        assert bool(torch.isfinite(features).all()), "features are not finite"
        assert torch.equal(source.features(ids[::-1]), features.flip(0)), "order is not kept"
        for at in {0, len(ids) // 2, len(ids) - 1}:
            alone = source.features([ids[at]])
            same = alone.dtype == features.dtype and torch.equal(alone[0], features[at])
            assert same, f"{ids[at]!r} alone has other features than among others"
        assert torch.equal(self.make().features(ids), features), "a fresh instance has other ones"

    def test_equal_content_has_an_equal_digest(self) -> None:
        """Digests are equal where features are, and only there."""
        source, items = self._read()
        looked_at = items[:MOST]
        rows = source.features([item.id for item in looked_at])
        by_content: dict[str, bytes] = {}
        digests: dict[bytes, str] = {}
        for item, row in zip(looked_at, rows, strict=True):
            content = ((row + 0.0) if row.is_floating_point() else row).numpy().tobytes()
            good = isinstance(item.digest, str) and bool(item.digest)
            assert good, f"{item.digest!r:.80} is no digest"
            same = digests.setdefault(content, item.digest)
            assert same == item.digest, f"{item.id!r} has another digest than its equal"
            other = by_content.setdefault(item.digest, content)
            assert other == content, f"{item.id!r} shares a digest with other content"


def _is_finite(number: object) -> bool:
    return type(number) is int or (type(number) is float and math.isfinite(number))


def check_item_source(factory: Callable[[], ItemSource]) -> None:
    """Run the whole contract on what `factory` makes.

    Raises:
        AssertionError: the first thing that is not as the contract says.
    """
    suite = ItemSourceContract()
    suite.make = factory  # type: ignore[method-assign]
    run_suite(suite)
