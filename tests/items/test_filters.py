from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from querist.errors import ConfigurationError, UnknownNameError
from querist.items.filters import compile_filter

NORTH = {"site": "north", "age": 30, "seen": True, "a": {"b": [1, 2]}, "nothing": None}

keys = st.sampled_from(["x", "y", "a.b", "a"])
values = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 1.0]),
    st.text("nm", max_size=2),
)  # fmt: skip
metadata = st.dictionaries(
    st.sampled_from(["x", "y", "a"]),
    values | st.dictionaries(st.just("b"), values, max_size=1),
    max_size=3,
)
ordered = st.integers(-3, 3) | st.text("nm", max_size=2)
conditions = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), values),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(values, max_size=3)),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ordered),
    st.tuples(st.just("$exists"), st.booleans()),
)
filters = st.recursive(
    st.dictionaries(keys, values | conditions.map(lambda c: {c[0]: c[1]}), min_size=1, max_size=2),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$or": parts}),
        inner.map(lambda part: {"$not": part}),
    ),
    max_leaves=6,
)
_GONE = object()


def plain(wanted: Any, item: Mapping[str, Any]) -> bool:
    """The same, as slowly and obviously as can be."""
    verdicts = []
    for key, value in wanted.items():
        if key == "$and":
            verdicts.append(all(plain(part, item) for part in value))
        elif key == "$or":
            verdicts.append(any(plain(part, item) for part in value))
        elif key == "$not":
            verdicts.append(not plain(value, item))
        else:
            here: Any = item
            for step in key.split("."):
                here = here[step] if isinstance(here, dict) and step in here else _GONE
            is_test = isinstance(value, dict) and any(k.startswith("$") for k in value)
            tests = value.items() if is_test else [("$eq", value)]
            verdicts += [holds(test, here, operand) for test, operand in tests]
    return all(verdicts)


def same(one: Any, other: Any) -> bool:
    return one is not _GONE and (one is True or one is False) == (
        other is True or other is False
    ) and one == other  # fmt: skip


def holds(test: str, found: Any, operand: Any) -> bool:
    if test in ("$eq", "$ne"):
        return same(found, operand) == (test == "$eq")
    if test in ("$in", "$nin"):
        return any(same(found, one) for one in operand) == (test == "$in")
    if test == "$exists":
        return (found is not _GONE) == operand
    kinds = {bool: "truth", int: "number", float: "number", str: "text"}
    if kinds.get(type(found)) != kinds.get(type(operand)):
        return False
    names = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
    return bool(names[test](found, operand))


@given(filters, metadata)
def test_agrees_with_a_plain_reference(wanted: dict[str, Any], item: dict[str, Any]) -> None:
    assert compile_filter(wanted)(item) == plain(wanted, item)


@given(filters, filters, metadata)
def test_de_morgan(one: dict[str, Any], other: dict[str, Any], item: dict[str, Any]) -> None:
    neither = compile_filter({"$not": {"$or": [one, other]}})(item)
    assert neither == compile_filter({"$and": [{"$not": one}, {"$not": other}]})(item)


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        ({"site": "north"}, True),
        ({"site": "south"}, False),
        ({"age": {"$gte": 18, "$lt": 65}}, True),
        ({"age": {"$gt": 30}}, False),
        ({"age": {"$gt": "3"}}, False),
        ({"seen": 1}, False),
        ({"seen": True}, True),
        ({"a.b": [1, 2]}, True),
        ({"a.c": {"$exists": False}}, True),
        ({"nothing": None}, True),
        ({"missing": None}, False),
        ({"missing": {"$ne": 3}}, True),
        ({"site": {"$in": ["north", "east"]}}, True),
        ({"site": {"$nin": ["north", "east"]}}, False),
        ({"$or": [{"site": "south"}, {"age": 30}]}, True),
    ],
)
def test_operators(wanted: dict[str, Any], matches: bool) -> None:
    assert compile_filter(wanted)(NORTH) is matches


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({}, "a mapping with at least one entry"),
        ([], "a mapping with at least one entry"),
        ({"$or": []}, r"\$or takes a list of filters"),
        ({"a": {"$in": 3}}, r"\$in takes a list"),
        ({"a": {"$exists": 1}}, "takes true or false"),
        ({"a": {"$gt": [1]}}, "takes a number or text"),
        ({"": 1}, "text of 1 to 200 characters"),
        ({"$and": [{}]}, "at least one entry"),
    ],
)
def test_mistakes_are_found_when_it_is_compiled(wanted: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        compile_filter(wanted)


@pytest.mark.parametrize("wanted", [{"a": {"$gtt": 1}}, {"$nott": {"a": 1}}])
def test_an_unknown_operator_suggests_the_nearest(wanted: dict[str, Any]) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean '\$(gt|gte|not)'"):
        compile_filter(wanted)


def test_it_has_limits() -> None:
    deep: dict[str, Any] = {"a": 1}
    for _ in range(30):
        deep = {"$not": deep}
    with pytest.raises(ConfigurationError, match="at most 20 levels"):
        compile_filter(deep)
    with pytest.raises(ConfigurationError, match="at most 1000 parts"):
        compile_filter({"$or": [{"a": 1}] * 2000})


def test_numbers_that_no_float_can_hold() -> None:
    huge = 10**400
    assert compile_filter({"a": {"$gt": 1}})({"a": huge})
    assert not compile_filter({"a": {"$gt": huge}})({"a": 1.5})


def test_true_is_not_1_inside_a_list_either() -> None:
    assert not compile_filter({"a": [1]})({"a": [True]})
    assert not compile_filter({"a": {"b": 1}})({"a": {"b": True}})
    assert compile_filter({"a": [1, {"b": 2}]})({"a": [1.0, {"b": 2}]})
