"""Metrics that an external program measures."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from querist.commands import Command
from querist.commands.work import known_folder, write_arrays
from querist.context import MetrologyContext
from querist.errors import StrategyError
from querist.registry import register
from querist.strategies.options import flag, text
from querist.values import MetrologyRecord

_log = logging.getLogger(__name__)


@register("metrology", "command")
class MetrologyCommand:
    """What a program measures, run in the run's work folder.

    The last line of its output is a number, or a mapping from metric to number. NaN and infinity
    are recorded as they are, and reported.

    Args:
        argv: the program and its arguments, as a list.
        metric: what a single number is called.
        options: become flags behind `argv`.
        environment: added to the program's environment.
        timeout_seconds: how long it may take; then it is killed.
        cores: how many cores and threads it may use.
        gpus: how many GPUs it sees.
        predictions: hand it the learner's predictions on the test set: `QUERIST_PREDICTIONS` then
            names a file `predictions.npz` with `targets`, `predictions` and, for classification,
            `probabilities`. Otherwise it needs neither a test set nor a learner that predicts.
    """

    def __init__(
        self,
        argv: Sequence[str],
        metric: str = "mse",
        options: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        cores: int | None = None,
        gpus: int | None = None,
        predictions: bool = False,
    ) -> None:
        self.command = Command(argv, options, environment, timeout_seconds, cores, gpus)
        self.metric = text("metric", metric)
        self.needs_test_set = flag("predictions", predictions)
        self._folder: Path | None = None

    def work_in(self, folder: Path) -> None:
        """Where the program works."""
        self._folder = folder

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """What the program says.

        Raises:
            CommandError: the program failed, or said nothing of use.
            StrategyError: there are no predictions to hand to it.
        """
        folder = known_folder(self._folder)
        told = {}
        if self.needs_test_set:
            if not len(context.targets):
                raise StrategyError(
                    f"{self.command.name} needs at least one test sample: hold some back with "
                    "data.split.test, or give the pool a test set"
                )
            arrays = {"targets": context.targets, "predictions": context.predictions}
            if context.probabilities is not None:
                arrays["probabilities"] = context.probabilities
            told["QUERIST_PREDICTIONS"] = write_arrays(folder / "predictions.npz", arrays)
        answer = self.command.ask(folder, iteration=context.iteration, environment=told)
        named = answer if isinstance(answer, dict) else {self.metric: answer}
        if not named:
            raise self.command.unusable("it is a mapping without a metric")
        values = {name: self.command.number(value) for name, value in named.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                _log.warning(
                    "iteration %d: %s says %s is %s", context.iteration, self.command.name, name,
                    value,
                )  # fmt: skip
        return MetrologyRecord(values)
