from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from querist.context import MetrologyContext
from querist.errors import ForbiddenImportError, StrategyError
from querist.strategies.metrology.python_callable import MetrologyCallable
from querist.testing import MetrologyStrategyContract


def error(context: MetrologyContext) -> torch.Tensor:
    return (context.predictions.double() - context.targets.double()).square().mean()


class TestContract(MetrologyStrategyContract):
    def make(self) -> MetrologyCallable:
        return MetrologyCallable(error)


def measured(said: Any) -> Any:
    context = TestContract().context(next(iter(TestContract.tasks)))
    return MetrologyCallable(lambda _: said, "mine").compute(context).values


def test_numbers_and_mappings() -> None:
    assert measured(np.float32(0.5)) == {"mine": 0.5}
    assert measured({"a": 1, "b": torch.tensor(2.0)}) == {"a": 1.0, "b": 2.0}
    for wrong in ("x", True, None, [1.0], torch.ones(2)):
        with pytest.raises(StrategyError, match="a metrology function returns numbers"):
            measured(wrong)


def test_by_name() -> None:
    with pytest.raises(ForbiddenImportError):
        MetrologyCallable("os:system")
