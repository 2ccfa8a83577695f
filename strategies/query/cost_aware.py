"""The most score for what a label costs.

Return on Investment for Active Learning, Haertel, Seppi, Ringger and Carroll, 2008 (NIPS workshop
on cost-sensitive learning), divide what a label is worth by what it costs. Where the cost is
unknown before the label is there, the expected one stands for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from querist.about import About
from querist.context import QueryContext
from querist.errors import ConfigurationError, StrategyError
from querist.registry import register
from querist.strategies.options import finite_number, function_of, mapping, whole_number
from querist.strategies.query.nested import (
    MadeOfOthers,
    among,
    build_nested,
    choose,
)
from querist.strategies.query.scoring import check_count
from querist.values import Selection
from querist.views import View, require_views

CostFunction = Callable[[torch.Tensor, torch.Tensor], Any]
"""Indices `(m,)` and features `(m, ...)` -> costs `(m,)`."""


@register("query", "cost_aware")
class CostAware(MadeOfOthers):
    """The candidates with the highest score of another strategy per cost.

    Scores are counted from the lowest among the candidates, since a negative one divided by a cost
    would favour what is expensive. A strategy that gives an order alone counts by rank. Of equal
    ones the cheaper comes first.

    Args:
        strategy: the query strategy whose scores count, `{name: ..., options: {...}}`.
        times: how many candidates it names: that many times n, its most wanted ones. Without it
            they are all unlabeled samples, which is exact for every strategy, cheap for one that
            scores each sample for itself, and expensive for one that compares picks.
        column: the number of the feature that is a sample's cost.
        class_costs: what a label costs that turns out to be of each class, `[1.0, 12.5]`, or by
            class, `{"0": 1.0, "1": 12.5}`; the cost of a sample is the expected one.
        function: an import path `package.module:attribute` of an allowed package, or (from Python)
            the function itself. It gets indices and features, and returns costs.
    """

    about = About(
        paper="Haertel, Seppi, Ringger and Carroll, Return on Investment for Active Learning, "
        "2008, NIPS workshop on cost-sensitive learning",
        needs=(),
        cost="its strategy's for all candidates, and n log n",
    )

    def __init__(
        self,
        strategy: str | Mapping[str, Any] = "margin",
        times: float | None = None,
        column: int | None = None,
        class_costs: Sequence[float] | Mapping[Any, float] | None = None,
        function: str | CostFunction | None = None,
    ) -> None:
        given = {"column": column, "class_costs": class_costs, "function": function}
        named = [name for name, value in given.items() if value is not None]
        if len(named) != 1:
            raise ConfigurationError(
                f"cost_aware has one source of costs, not {' and '.join(named) or 'none'}: set one "
                "of column, class_costs and function"
            )
        self.times = None if times is None else finite_number("times", times, least=1)
        self.column = None if column is None else whole_number("column", column, least=0)
        self.class_costs = None if class_costs is None else _by_class(class_costs)
        self.function: CostFunction | None = None
        if function is not None:
            self.function = function_of(function, "indices and features")
        expected = () if self.class_costs is None else (View.PROBABILITIES,)
        super().__init__([build_nested("cost_aware", strategy)], *expected)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """The n highest scores per cost.

        Raises:
            StrategyError: a cost is not a positive finite number, or there is no such column.
        """
        check_count(n)
        require_views(context.learner, self.needs, "cost_aware")
        there = len(context.unlabeled)
        asked = there if self.times is None else min(there, max(n, int(self.times * n)))
        found = choose("cost_aware", self.strategies[0], context, asked if n else 0)
        if not len(found):
            return Selection((), ())
        indices = np.asarray(found.indices)
        by_index = np.argsort(indices)
        indices, worth = indices[by_index], np.asarray(found.scores)[by_index]
        costs = self._costs(among(context, torch.from_numpy(indices))).numpy()
        ratio = (worth - worth.min()) / costs
        order = np.lexsort((indices, costs, -ratio))[:n]
        return Selection(tuple(indices[order].tolist()), tuple(ratio[order].tolist()))

    def _costs(self, context: QueryContext) -> torch.Tensor:
        """Costs of the candidates `(m,)`, in float64."""
        if self.class_costs is not None:
            streamed = context.stream(View.PROBABILITIES)
            parts = [(i, self._expected(p.cpu())) for i, p in streamed]
        elif self.column is not None:
            parts = [(i, self._feature(f.cpu())) for i, f in context.stream(View.FEATURES)]
        else:
            assert self.function is not None
            parts = [(i, _as_costs(self.function(i, f), len(i))) for i, f in context.chunks()]
        indices, costs = (torch.cat(column) for column in zip(*parts, strict=True))
        good = torch.isfinite(costs) & (costs > 0)
        if not bool(good.all()):
            first = int((~good).nonzero()[0])
            raise StrategyError(
                f"costs are finite and more than 0: those of {int((~good).sum())} of {len(costs)} "
                f"candidates are not, the first is {float(costs[first])} of sample "
                f"{int(indices[first])}: correct where they come from"
            )
        return costs

    def _expected(self, probabilities: torch.Tensor) -> torch.Tensor:
        assert self.class_costs is not None
        classes = probabilities.shape[1]
        if sorted(self.class_costs) != list(range(classes)):
            raise StrategyError(
                f"class_costs names the classes 0 to {classes - 1}, not "
                f"{sorted(self.class_costs)!r:.80}: give a cost to each of them"
            )
        costs = torch.tensor([self.class_costs[each] for each in range(classes)])
        # Columns one after the other: a product may round by the number of rows.
        total = torch.zeros(len(probabilities), dtype=torch.float64)
        for cost, column in zip(costs.double(), probabilities.double().unbind(1), strict=True):
            total += cost * column
        return total

    def _feature(self, features: torch.Tensor) -> torch.Tensor:
        assert self.column is not None
        if self.column >= features.shape[1]:
            raise StrategyError(
                f"column is one of the features 0 to {features.shape[1] - 1}, not {self.column}: "
                "name the one that is the cost"
            )
        return features[:, self.column].double()


def _as_costs(given: Any, n: int) -> torch.Tensor:
    try:
        costs = torch.as_tensor(given).cpu().double()
    except (TypeError, ValueError, RuntimeError) as error:
        raise StrategyError(
            f"a cost function returns {n} numbers for {n} samples, not {given!r:.80}: correct it"
        ) from error
    if costs.shape != (n,):
        raise StrategyError(
            f"a cost function returns {n} numbers for {n} samples, not the shape "
            f"{tuple(costs.shape)}: correct it"
        )
    return costs


def _by_class(given: Any) -> dict[int, float]:
    """Positive costs by class; in JSON the classes of a mapping are text."""
    costs = {}
    if isinstance(given, list | tuple):
        given = dict(enumerate(given))
    for key, value in mapping("class_costs", given).items():
        number = int(key) if isinstance(key, str) and key.isdecimal() else key
        each = whole_number("a class of class_costs", number, least=0)
        cost = finite_number(f"the cost of class {each}", value, least=0)
        if cost == 0:
            raise ConfigurationError(
                f"the cost of class {each} is more than 0, not 0: raise it"
            )
        costs[each] = cost
    return costs
