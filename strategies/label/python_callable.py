"""Labels from a Python function: a simulator, a rule, a model, a measuring device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sized
from typing import Any

import numpy as np
import torch

from querist.errors import ConfigurationError, StrategyError
from querist.registry import import_object, register
from querist.requests import LabelRequest
from querist.strategies.options import finite_number, flag, text
from querist.values import Label


@register("label", "callable")
class PythonCallable:
    """What a Python function says of a sample's features; None leaves the sample pending.

    Args:
        function: an import path `package.module:attribute` of an allowed package, or (from Python)
            the function itself. It gets one sample's features `(...)` and returns a class index, a
            number, a vector of numbers, or None.
        batch: call it once with the features of all samples `(k, ...)`; it then returns k values.
        repeatable: calling it again for the same sample costs nothing, so that after a crash it is
            called again. Otherwise what was asked for and not stored is in doubt.
        annotator: who the labels are said to come from.
        cost: what each label is said to cost, in the experiment's own unit.
    """

    def __init__(
        self,
        function: str | Callable[[torch.Tensor], Any],
        batch: bool = False,
        repeatable: bool = False,
        annotator: str = "callable",
        cost: float = 1.0,
    ) -> None:
        found = import_object(function) if isinstance(function, str) else function
        if not callable(found):
            raise ConfigurationError(
                f"function is something to call with features, not {function!r}: "
                "name a function as package.module:attribute"
            )
        self.function: Callable[[torch.Tensor], Any] = found
        self.batch = flag("batch", batch)
        self.repeatable = self.asks_by_key = flag("repeatable", repeatable)
        # One call at a time leaves one label in doubt at most.
        self.at_once = None if batch or repeatable else 1
        self.annotator = text("annotator", annotator)
        self.cost = finite_number("cost", cost, least=0.0)

    def label(self, request: LabelRequest) -> Iterator[Label]:
        """One label per sample that the function has a value for, in the order asked.

        What the function raises goes through; labels yielded before it stay.

        Raises:
            StrategyError: a batch function returned another number of values than it got samples.
        """
        if not len(request.indices):
            return
        for index, value in self._values(request):
            if value is not None:
                yield Label(index, as_label_value(value), self.annotator, self.cost)

    def _values(self, request: LabelRequest) -> Iterator[tuple[int, Any]]:
        indices = request.indices.tolist()
        if self.batch:
            yield from zip(indices, self._all_at_once(request), strict=True)
            return
        for position, index in enumerate(indices):
            features = request.pool.features(request.indices[position : position + 1])[0]
            try:
                value = self.function(features)
            except Exception as error:
                error.add_note(f"while labeling sample {index}")
                raise
            yield index, value

    def _all_at_once(self, request: LabelRequest) -> Any:
        values = self.function(request.features())
        count = len(request.indices)
        if values is None:
            return [None] * count
        counted = isinstance(values, Sized) and not isinstance(values, str | bytes | Mapping)
        if not counted or len(values) != count:
            given = f"{len(values)} values" if counted else repr(values)[:80]
            raise StrategyError(
                f"a batch function returns one value per sample, not {given} for {count} samples: "
                "return None for those that are pending"
            )
        return values


def as_label_value(value: Any) -> Any:
    """`value` as an int, a float or a list of floats; tensors and arrays are unpacked.

    What is none of these is returned as it is: the run puts it into quarantine, with the reason.
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, list | tuple) and value and all(_is_finite_number(v) for v in value):
        return [float(v) for v in value]
    return value


def _is_finite_number(value: Any) -> bool:
    if isinstance(value, np.generic | torch.Tensor) and np.ndim(value) == 0:
        value = value.item()
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)
