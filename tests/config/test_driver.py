from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from querist.config.driver import RUN_ID_PATTERN, DriverConfig, check_run_id
from querist.runs import RunReference


@pytest.mark.parametrize("run_id", ["a", "0", "cafe0001", "two-moons_1.2", "x" * 64])
def test_run_ids_that_are_fine(run_id: str) -> None:
    assert DriverConfig(run_id=run_id).run_id == run_id


@pytest.mark.parametrize(
    "run_id",
    ["", ".", "..", "a/b", "../x", "a..b", "/etc", "a\\b", "-x", ".x", "_x", "x" * 65, "a b", "a\n",
     "ä", "a\x00", "~x"],
)  # fmt: skip
def test_run_ids_that_are_no_folder_names(run_id: str) -> None:
    with pytest.raises(ValueError, match="a run id has 1 to 64"):
        DriverConfig(run_id=run_id)
    with pytest.raises(ValueError, match="choose another"):
        RunReference(run_id=run_id, root="/tmp")


@given(st.text(max_size=70))
def test_no_run_id_leaves_its_folder(run_id: str) -> None:
    try:
        check_run_id(run_id)
    except ValueError:
        return
    assert re.fullmatch(RUN_ID_PATTERN, run_id)
    assert "/" not in run_id
    assert ".." not in run_id
