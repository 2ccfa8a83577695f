from __future__ import annotations

import math
from typing import Any

import pytest

from querist.errors import ConfigurationError, UnknownNameError
from querist.strategies.options import (
    above_zero,
    candidates_factor,
    finite_number,
    flag,
    mapping,
    one_of,
    share,
    text,
    whole_number,
)


def test_good_values_pass() -> None:
    assert whole_number("n", 3, least=3) == 3
    assert type(finite_number("x", 3)) is float
    assert finite_number("x", -3.5) == -3.5
    assert text("t", "a b") == "a b"
    assert flag("f", False) is False
    assert one_of("o", "a", ("a", "b")) == "a"
    assert mapping("m", {1: 2}) == {1: 2}


@pytest.mark.parametrize("value", [2, 3.0, True, "3", None])
def test_whole_numbers(value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        whole_number("n", value, least=3)
    assert str(caught.value) == (f"n is a whole number of at least 3, not {value!r}: set it to one")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1", None, False, 10**400])
def test_finite_numbers(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^x is a finite number, not "):
        finite_number("x", value)


def test_a_finite_number_may_have_a_bound() -> None:
    with pytest.raises(ConfigurationError, match=r"x is a finite number of at least 0.5, not 0.25"):
        finite_number("x", 0.25, least=0.5)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "1", None, True, 10**400])
def test_shares(value: Any) -> None:
    assert (share("s", 0), share("s", 0.5), share("s", 1)) == (0.0, 0.5, 1.0)
    with pytest.raises(ConfigurationError, match=r"^s is a number from 0 to 1, not "):
        share("s", value)


def test_choices_suggest_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no colour named 'bleu': did you mean 'blue'"):
        one_of("colour", "bleu", ("red", "blue"))
    with pytest.raises(ConfigurationError, match=r"colour is one of red, blue, not 3"):
        one_of("colour", 3, ("red", "blue"))


def test_numbers_above_zero_and_factors_of_candidates() -> None:
    assert above_zero("x", 1e-9) == 1e-9
    with pytest.raises(ConfigurationError, match=r"^x is a number above 0, not 0: set it to one"):
        above_zero("x", 0)
    assert candidates_factor("beta", 1) == 1
    with pytest.raises(ConfigurationError, match=r"^beta is a number of at least 1, not 0.5"):
        candidates_factor("beta", 0.5)
