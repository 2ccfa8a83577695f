from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from querist.config.load import explain
from querist.config.subsets import SubsetsConfig


def refusal(value: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        SubsetsConfig.model_validate(value)
    return explain(caught.value, SubsetsConfig)


def test_without_a_word_there_are_three() -> None:
    config = SubsetsConfig()
    assert config.shares == {"train": 0.8, "validation": 0.1, "test": 0.1}
    assert (config.by, config.stratify, config.group, config.seed) == ("hash", False, None, 0)


def test_shares_by_name_are_short_for_the_list() -> None:
    short = SubsetsConfig.model_validate({"subsets": {"train": 0.7, "mine-2": 0.3}})
    subsets = [{"name": "train", "share": 0.7}, {"name": "mine-2", "share": 0.3}]
    assert short == SubsetsConfig.model_validate({"subsets": subsets})
    assert list(short.shares) == ["train", "mine-2"], "in the order in which they are named"


def test_equal_shares_need_not_sum_to_1() -> None:
    subsets = {"train": 1.0, "validation": 1.0, "test": 1.0, "more": 1.0}
    config = SubsetsConfig.model_validate({"distribution": "equal", "subsets": subsets})
    assert set(config.shares.values()) == {0.25}


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=20))
def test_shares_that_sum_to_1_up_to_rounding(weights: list[int]) -> None:
    subsets = {f"s{n}": weight / sum(weights) for n, weight in enumerate(weights)}
    assert SubsetsConfig.model_validate({"subsets": subsets}).shares == subsets


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"subsets": {"train": 0.8, "test": 0.1}},
         "the shares of the subsets sum to 1, not 0.8 + 0.1 = 0.9"),
        ({"subsets": {"train": 0.8, "test": 0.3}},
         "the shares of the subsets sum to 1, not 0.8 + 0.3 = 1.1"),
        ({"subsets": [{"name": "a", "share": 0.5}, {"name": "a", "share": 0.5}]},
         "each subset is named once, not 'a' twice: remove one"),
        ({"subsets": {"train": 1.0}}, "subsets: Tuple should have at least 2 items"),
        ({"subsets": {"train": 1.0, "test": 0.0}},
         "subsets.1.share: Input should be greater than 0, not 0.0"),
        ({"subsets": {"train": 0.5, "test": float("nan")}}, "subsets.1.share: "),
        ({"subsets": {"train": 0.5, "a/b": 0.5}}, "subsets.1.name: String should match pattern"),
        ({"subsets": {"train": 0.5, "": 0.5}}, "subsets.1.name: String should match pattern"),
        ({"subsets": {"train": 0.5, "x" * 21: 0.5}}, "subsets.1.name: String should match"),
        ({"by": "name"}, "by: Input should be 'hash' or 'exact', not 'name'"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0, not -1"),
        ({"distribution": "even"}, "distribution: Input should be 'custom' or 'equal'"),
    ],
)  # fmt: skip
def test_what_cannot_be(value: Any, words: str) -> None:
    assert refusal(value).startswith(words)


def test_a_key_that_is_unknown_is_named_with_its_neighbour() -> None:
    words = "there is no key named 'stratifi': did you mean 'stratify'"
    assert refusal({"stratifi": True}).startswith(words)
    wrong = {"subsets": [{"name": "a", "share": 0.5}, {"name": "b", "shares": 0.5}]}
    assert "subsets.1.shares: " in refusal(wrong)


def test_more_subsets_than_anyone_needs() -> None:
    many = {"distribution": "equal", "subsets": {f"s{n}": 0.5 for n in range(21)}}
    assert "subsets: Tuple should have at most 20 items" in refusal(many)


def test_settings_come_back_as_they_were_written() -> None:
    config = SubsetsConfig.model_validate({"subsets": {"train": 0.7, "test": 0.3}, "by": "exact"})
    assert SubsetsConfig.model_validate(config.model_dump(mode="json")) == config
