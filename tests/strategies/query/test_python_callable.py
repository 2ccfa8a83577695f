from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from querist.context import QueryContext
from querist.errors import ForbiddenImportError, StrategyError
from querist.strategies.query.python_callable import QueryCallable
from querist.testing import QueryStrategyContract, query_context
from querist.values import Selection


def first(context: QueryContext, n: int) -> torch.Tensor:
    return context.unlabeled[:n]


class TestContract(QueryStrategyContract):
    uses_predictions = False

    def make(self) -> QueryCallable:
        return QueryCallable(first)


def test_what_a_function_may_say() -> None:
    def sample(said: Any) -> Selection:
        return QueryCallable(lambda context, n: said).sample(query_context(), 3)

    assert sample([3, 1]) == Selection((3, 1), (0.0, 0.0))
    assert sample(np.array([3])) == Selection((3,), (0.0,))
    assert sample(Selection((3,), (0.7,))) == Selection((3,), (0.7,))
    for wrong in (None, 3, [1.5], [True], "ab"):
        with pytest.raises(StrategyError, match="returns indices or a Selection"):
            sample(wrong)


def test_by_name() -> None:
    with pytest.raises(ForbiddenImportError):
        QueryCallable("os:system")
