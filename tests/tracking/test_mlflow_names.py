from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param, _validate_tag

from querist.tracking.mlflow_names import MAX_PARAM_VALUE, key_for, model_name_for, text_for


@pytest.mark.parametrize("name", ["f1", "training.lr", "a/b", "seconds train", "f1_by_labels"])
def test_names_that_mlflow_takes_stay(name: str) -> None:
    assert key_for(name) == name


@given(st.text(max_size=400))
@example("../x")
@example("a//b")
@example("")
@example("/")
@example("..")
@example("é" * 300)
def test_every_name_becomes_one_that_mlflow_takes(name: str) -> None:
    key = key_for(name)
    _validate_metric_name(key)  # type: ignore[no-untyped-call]
    _validate_param(key, "v")  # type: ignore[no-untyped-call]
    _validate_tag(key, "v")  # type: ignore[no-untyped-call]


@given(st.lists(st.text(max_size=300), min_size=2, max_size=20, unique=True))
def test_different_names_stay_different(names: list[str]) -> None:
    assert len({key_for(name) for name in names}) == len(names)


def test_values_are_cut_with_an_ellipsis() -> None:
    assert text_for("x" * MAX_PARAM_VALUE, MAX_PARAM_VALUE) == "x" * MAX_PARAM_VALUE
    cut = text_for("x" * (MAX_PARAM_VALUE + 1), MAX_PARAM_VALUE)
    assert len(cut) == MAX_PARAM_VALUE
    assert cut.endswith("x…")
    assert text_for([1, True, None, "a"], 100) == '[1, true, null, "a"]'


def test_model_names_lose_what_mlflow_refuses() -> None:
    assert model_name_for("a/b:c.d%e") == "a_b_c_d_e"
    assert model_name_for("") == "model"
