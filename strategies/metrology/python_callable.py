"""Metrics that a Python function measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from querist.context import MetrologyContext
from querist.errors import StrategyError
from querist.registry import register
from querist.strategies.options import function_of, text
from querist.values import MetrologyRecord


@register("metrology", "callable")
class MetrologyCallable:
    """What a Python function says of the predictions on the test set.

    Args:
        function: an import path `package.module:attribute` of an allowed package, or (from Python)
            the function itself. It gets the context and returns a number, or a mapping from metric
            to number.
        metric: what a single number is called.
    """

    def __init__(
        self, function: str | Callable[[MetrologyContext], Any], metric: str = "mse"
    ) -> None:
        self.function = function_of(function, "the context")
        self.metric = text("metric", metric)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """What the function says.

        Raises:
            StrategyError: there is no test sample, or it says something other than numbers.
        """
        if not len(context.targets):
            raise StrategyError(
                "a metrology function needs at least one test sample: hold some back with "
                "data.split.test, or give the pool a test set"
            )
        said = self.function(context)
        named = said if isinstance(said, Mapping) else {self.metric: said}
        return MetrologyRecord({str(name): _number(value) for name, value in named.items()})


def _number(value: Any) -> float:
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise StrategyError(
            f"a metrology function returns numbers, not {value!r:.80}: return one, or a mapping "
            "from metric to number"
        )
    return float(value)
