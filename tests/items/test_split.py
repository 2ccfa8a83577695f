from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from querist.config.subsets import SubsetsConfig
from querist.errors import DataError
from querist.items.split import assign_subsets, tag_of, tagged
from querist.values import Item

NO_EMPTY = {"subsets": {"train": 0.5, "test": 0.5}}


def config(**changes: Any) -> SubsetsConfig:
    return SubsetsConfig.model_validate(changes)


def items(count: int, *, first: int = 0, classes: int = 3) -> list[Item]:
    return [Item(f"i{n}", f"d{n}", n % classes) for n in range(first, first + count)]


def split(
    found: Sequence[Item], settings: SubsetsConfig, before: dict[str, str] | None = None
) -> dict[str, str]:
    """Everything's subset after one more split."""
    before = before or {}
    digests = {item.digest: before[item.id] for item in found if item.id in before}
    new = assign_subsets(found, settings, known=before, known_digests=digests)
    assert not set(new) & set(before), "what is known is not given anew"
    return {**before, **new}


@contextmanager
def suppress_empty() -> Iterator[None]:
    """All groups, or all contents, may fall on one side."""
    try:
        yield
    except DataError as error:
        if "is empty" not in str(error):
            raise


many = st.integers(60, 200)


@given(many, st.randoms(use_true_random=False), st.integers(0, 99))
def test_a_hash_gives_the_same_subset_whatever_else_there_is(
    count: int, random: Any, seed: int
) -> None:
    settings = config(**NO_EMPTY, seed=seed)
    everything = items(count)
    at_once = split(everything, settings)
    shuffled = random.sample(everything, count)
    part = random.randint(40, count)
    in_parts = split(shuffled, settings, split(shuffled[:part], settings))
    assert in_parts == at_once


@given(many, many, st.booleans(), st.sampled_from(["hash", "exact"]))
def test_nothing_that_comes_later_moves_an_item(
    count: int, more: int, stratify: bool, by: str
) -> None:
    settings = config(**NO_EMPTY, stratify=stratify, by=by)
    before = split(items(count), settings)
    after = split(items(count + more), config(**NO_EMPTY, seed=5, by=by), before)
    assert {name: after[name] for name in before} == before


@given(st.integers(30, 300), st.integers(0, 99))
def test_exact_shares(count: int, seed: int) -> None:
    settings = config(by="exact", seed=seed)
    counts = Counter(split(items(count), settings).values())
    for name, share in settings.shares.items():
        assert abs(counts[name] - share * count) <= 1


@given(st.integers(90, 300), st.integers(0, 99))
def test_exact_shares_in_every_class(count: int, seed: int) -> None:
    settings = config(stratify=True, seed=seed)
    found = items(count)
    subsets = split(found, settings)
    for label in range(3):
        of_class = [subsets[item.id] for item in found if item.label == label]
        for name, share in settings.shares.items():
            assert abs(of_class.count(name) - share * len(of_class)) <= 1


@given(st.randoms(use_true_random=False), st.sampled_from(["hash", "exact"]), st.booleans())
def test_the_order_of_items_does_not_matter(random: Any, by: str, stratify: bool) -> None:
    settings = config(by=by, stratify=stratify)
    found = items(150)
    assert split(random.sample(found, len(found)), settings) == split(found, settings)


def test_another_seed_is_another_split() -> None:
    assert split(items(200), config(seed=1)) != split(items(200), config(seed=2))
    assert split(items(200), config(seed=1)) == split(items(200), config(seed=1))


def test_shares_by_hash_are_near_what_was_asked_for() -> None:
    counts = Counter(split(items(20_000), config()).values())
    assert counts["train"] == pytest.approx(16_000, rel=0.02)
    assert counts["test"] == pytest.approx(2_000, rel=0.08)


def test_equal_shares_of_subsets_of_any_name() -> None:
    settings = config(distribution="equal", subsets={"a": 0.7, "b": 0.2, "c": 0.1}, by="exact")
    assert Counter(split(items(30), settings).values()) == {"a": 10, "b": 10, "c": 10}


@given(st.lists(st.integers(0, 20), min_size=60, max_size=120), st.sampled_from(["hash", "exact"]))
def test_groups_stay_together(groups: list[int], by: str) -> None:
    found = [Item(f"i{n}", f"d{n}", 0, {"who": {"id": g}}) for n, g in enumerate(groups)]
    settings = config(**NO_EMPTY, group="who.id", by=by)
    with suppress_empty():
        check_groups(found, groups, split(found, settings))


def check_groups(found: list[Item], groups: list[int], subsets: dict[str, str]) -> None:
    places: dict[int, set[str]] = {}
    for item, group in zip(found, groups, strict=True):
        places.setdefault(group, set()).add(subsets[item.id])
    assert all(len(place) == 1 for place in places.values())


@given(st.lists(st.integers(0, 40), min_size=80, max_size=150), st.integers(1, 79))
def test_equal_content_is_never_in_two_subsets(contents: list[int], part: int) -> None:
    found = [Item(f"i{n}", f"d{content}", 0) for n, content in enumerate(contents)]
    settings = config(**NO_EMPTY)
    with suppress_empty():
        check_contents(found, split(found, settings, split(found[:part], settings)))


def check_contents(found: list[Item], subsets: dict[str, str]) -> None:
    places: dict[str, set[str]] = {}
    for item in found:
        places.setdefault(item.digest, set()).add(subsets[item.id])
    assert all(len(place) == 1 for place in places.values())


def test_a_tag_is_kept_and_takes_its_duplicates_along() -> None:
    held = Item("held", "same", 1, tagged({}, "test"))
    twin = Item("twin", "same", 1)
    subsets = split([*items(100), held, twin], config())
    assert subsets["held"] == subsets["twin"] == "test"


def test_a_duplicate_that_comes_later_joins_the_subset_of_the_first() -> None:
    before = split(items(100), config())
    later = [Item(f"later {n}", f"d{n}", 0) for n in range(100)]
    after = split([*items(100), *later], config(), before)
    assert all(after[f"later {n}"] == before[f"i{n}"] for n in range(100))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([Item("x", "x", 0, {"system": {"tags": {"train": True, "test": True}}})],
         "item 'x': an item has one subset, not the tags test and train"),
        ([Item("x", "x", 0, tagged({}, "golden"))],
         "item 'x' is tagged 'golden', and the subsets are train, validation, test"),
        ([Item("x", "s", 0, tagged({}, "train")), Item("y", "s", 0, tagged({}, "test"))],
         r"items 'y' \(test\) and 'x' \(train\) have equal content"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(more: list[Item], words: str) -> None:
    with pytest.raises(DataError, match=words):
        split([*items(100), *more], config())


def test_an_empty_subset_is_refused() -> None:
    with pytest.raises(DataError, match=r"subset '\w+' of 3 items is empty with a share of 0\.\d"):
        split(items(3), config())


def test_a_group_that_an_item_lacks_is_refused() -> None:
    with pytest.raises(DataError, match="item 'i0' has no 'who' in its metadata"):
        split(items(3), config(group="who"))


def test_stratifying_needs_labels() -> None:
    with pytest.raises(DataError, match="item 'x' has no label, by which the split is stratified"):
        split([*items(50), Item("x", "x")], config(stratify=True))


def test_many_items() -> None:
    assert len(split(items(100_000), config(stratify=True))) == 100_000


def test_tags_in_metadata() -> None:
    given = {"site": 3, "system": {"other": 1, "tags": {"train": True}}}
    after = tagged(given, "test")
    assert after == {"site": 3, "system": {"other": 1, "tags": {"test": True}}}
    assert tag_of(given) == "train", "the original stays as it is"
    assert tag_of(after) == "test"
    assert tag_of({}) is None
    assert tag_of({"system": {"tags": {"train": False}}}) is None


@pytest.mark.parametrize("name", ["a new one", "z new one"])
def test_a_tag_against_the_subset_of_equal_content_is_refused(name: str) -> None:
    before = split(items(100), config())
    known = next(item for item in items(100) if before[item.id] == "train")
    new = Item(name, known.digest, 0, tagged({}, "test"))
    with pytest.raises(DataError, match=rf"'{name}' \(test\) and '{known.id}' \(train\)"):
        split([*items(100), new], config(), before)


def test_a_group_is_the_same_however_its_number_is_written() -> None:
    pairs = [
        Item(f"{n} {kind}", f"d{n} {kind}", 0, {"who": value})
        for n in range(50)
        for kind, value in (("whole", n), ("float", float(n)), ("again", n))
    ]
    subsets = split(pairs, config(group="who", **NO_EMPTY))
    assert all(subsets[f"{n} whole"] == subsets[f"{n} float"] for n in range(50))


@pytest.mark.parametrize("value", [None, float("nan")])
def test_no_value_is_no_group(value: Any) -> None:
    with pytest.raises(DataError, match="item 'x' has no 'who' in its metadata"):
        split([Item("x", "x", 0, {"who": value})], config(group="who"))


def test_numbers_are_no_classes_to_stratify_by() -> None:
    numbers = [Item(f"i{n}", f"d{n}", n / 2) for n in range(50)]
    with pytest.raises(DataError, match=r"by classes, and the label of item 'i0' is 0\.0: set"):
        split(numbers, config(stratify=True))
