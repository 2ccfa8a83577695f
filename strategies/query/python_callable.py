"""Samples that a Python function chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from querist.about import About
from querist.context import QueryContext
from querist.errors import StrategyError
from querist.registry import register
from querist.strategies.options import function_of
from querist.strategies.query.scoring import check_count
from querist.values import Selection


@register("query", "callable")
class QueryCallable:
    """What a Python function chooses from the context.

    Args:
        function: an import path `package.module:attribute` of an allowed package, or (from Python)
            the function itself. It gets the context and n, and returns indices, most wanted first,
            or a `Selection`.
    """

    about = About(paper="", needs=(), cost="the function's")

    def __init__(self, function: str | Callable[[QueryContext, int], Any]) -> None:
        self.function = function_of(function, "the context and n")

    def sample(self, context: QueryContext, n: int) -> Selection:
        """What the function says; indices without scores have the score 0.

        Raises:
            StrategyError: it is neither indices nor a selection.
        """
        check_count(n)
        if n == 0 or not (len(context.unlabeled) or getattr(context.pool, "holds_items", False)):
            return Selection((), ())
        chosen = self.function(context, n)
        if isinstance(chosen, Selection):
            return chosen
        if isinstance(chosen, torch.Tensor) or hasattr(chosen, "tolist"):
            chosen = chosen.tolist()
        good = isinstance(chosen, list | tuple)
        if not good or any(type(index) is not int for index in chosen):
            raise StrategyError(
                f"a query function returns indices or a Selection, not {chosen!r:.80}: return a "
                "list of whole numbers"
            )
        return Selection(tuple(chosen), (0.0,) * len(chosen))
