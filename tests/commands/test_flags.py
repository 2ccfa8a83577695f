from __future__ import annotations

import math
from typing import Any

import pytest

from querist.commands.flags import as_flags
from querist.errors import ConfigurationError


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({}, []),
        ({"n_labeled": 100}, ["--n_labeled", "100"]),
        ({"lr": 1e-3, "x": -5, "name": "a b; rm"},
         ["--lr", "0.001", "--x", "-5", "--name", "a b; rm"]),
        ({"fast": True, "slow": False, "none": None}, ["--fast"]),
        ({"seeds": [1, 2.5, "c"], "nothing": []}, ["--seeds", "1", "2.5", "c"]),
        ({"text": "--evil"}, ["--text=--evil"]),
        ({"learning-rate": ""}, ["--learning-rate", ""]),
    ],
)  # fmt: skip
def test_options_become_flags(options: dict[str, Any], flags: list[str]) -> None:
    assert as_flags(options) == flags


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"-n": 1}, "starts with a letter, unlike '-n'"),
        ({"a b": 1}, "unlike 'a b'"),
        ({"": 1}, "unlike ''"),
        ({1: 1}, "unlike 1"),
        ({"a": {"b": 1}}, "not {'b': 1} for 'a'"),
        ({"a": [[1]]}, r"not \[1\] for 'a'"),
        ({"a": [True]}, "not True for 'a'"),
        ({"a": math.nan}, "not nan for 'a'"),
        ({"a": "x\0y"}, "for 'a'"),
        ({"a": ["ok", "--evil"]}, "would be a flag of its own, '--evil'"),
        (["--n"], "options of a command is a mapping"),
    ],
)
def test_what_is_no_flag_is_refused(options: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        as_flags(options)
