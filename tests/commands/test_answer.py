from __future__ import annotations

import math
from typing import Any

import pytest

from querist.commands.answer import NoAnswerError, all_finite, as_number, read_answer


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("0.25", 0.25), (" 3 ", 3), ("1e-3", 1e-3), (".5", 0.5), ("+2", 2.0), ("true", True),
        ("null", None), ('{"mse": 0.1}', {"mse": 0.1}), ("[1, 2]", [1, 2]), ('"x"', "x"),
        ("inf", math.inf), ("-inf", -math.inf), ("Infinity", math.inf),
    ],
)  # fmt: skip
def test_numbers_and_json(line: str, answer: Any) -> None:
    assert read_answer(line) == answer


@pytest.mark.parametrize("line", ["nan", "NaN", "-nan"])
def test_nan_as_python_and_json_write_it(line: str) -> None:
    assert math.isnan(read_answer(line))


@pytest.mark.parametrize("line", ["done", "mse = 0.1", "[1, 2", "", "True", "[" * 100_000])
def test_other_lines_say_nothing(line: str) -> None:
    with pytest.raises(NoAnswerError, match="is neither a number nor JSON"):
        read_answer(line)


def test_numbers_are_numbers() -> None:
    assert math.isnan(as_number(math.nan))
    for answer in (True, "1", [1], None):
        with pytest.raises(NoAnswerError, match="is no number"):
            as_number(answer)
    with pytest.raises(NoAnswerError, match="larger than any number"):
        as_number(10**400)


def test_finite_all_the_way_down() -> None:
    assert all_finite({"a": [1, 2.0, {"b": "nan"}]})
    assert not all_finite({"a": [1, {"b": math.nan}]})
    assert not all_finite(-math.inf)
