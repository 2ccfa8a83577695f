from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

BASE: dict[str, Any] = {
    "name": "small",
    "data": {"pool": "digits", "split": {"test": 0.2}, "initial": {"count": 50}},
    "learner": {"name": "sklearn", "options": {"estimator": "LogisticRegression"}},
    "strategies": {"query": "margin", "label": "oracle", "metrology": "f1"},
}


@pytest.fixture
def content() -> Callable[..., dict[str, Any]]:
    """The smallest experiment, with `group={...}` merged in."""

    def make(**changes: Any) -> dict[str, Any]:
        made = copy.deepcopy(BASE)
        for key, value in changes.items():
            present = made.get(key)
            both = isinstance(present, dict) and isinstance(value, dict)
            made[key] = {**present, **value} if both else value
        return made

    return make
