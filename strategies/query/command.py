"""Samples that an external program chooses, or makes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from querist.about import About
from querist.commands import Command
from querist.commands.work import known_folder, write_arrays
from querist.context import QueryContext
from querist.errors import CommandError, StrategyError
from querist.registry import register
from querist.strategies.query.scoring import check_count
from querist.values import Selection

_log = logging.getLogger(__name__)


@register("query", "command")
class QueryCommand:
    """What a program chooses, run in the run's work folder.

    `QUERIST_N` says how many samples are wanted, `QUERIST_SEED` a seed. `QUERIST_CANDIDATES` names
    a file `candidates.npz` with `indices` and `features` of the unlabeled samples; the last line of
    the program's output is a list of indices, most wanted first. Over a pool whose samples only
    scripts know there is no such file, and the list holds new samples, any JSON; a program that
    prints a number, or nothing that could be read, wants one sample, which its files describe.

    Args:
        argv: the program and its arguments, as a list.
        options: become flags behind `argv`.
        environment: added to the program's environment.
        timeout_seconds: how long it may take; then it is killed.
        cores: how many cores and threads it may use.
        gpus: how many GPUs it sees.
    """

    about = About(paper="", needs=(), cost="the program's")

    def __init__(
        self,
        argv: Sequence[str],
        options: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        cores: int | None = None,
        gpus: int | None = None,
    ) -> None:
        self.command = Command(argv, options, environment, timeout_seconds, cores, gpus)
        self._folder: Path | None = None

    def work_in(self, folder: Path) -> None:
        """Where the program works."""
        self._folder = folder

    def sample(self, context: QueryContext, n: int) -> Selection:
        """What the program says, each sample with the score 0.

        Raises:
            CommandError: the program failed.
            StrategyError: it said something other than indices.
        """
        check_count(n)
        items: Any = context.pool if getattr(context.pool, "holds_items", False) else None
        if n == 0 or (items is None and len(context.unlabeled) == 0):
            return Selection((), ())
        folder = known_folder(self._folder)
        seed = torch.randint(2**31, (1,), generator=context.generator).item()
        told: dict[str, Any] = {"QUERIST_N": n, "QUERIST_SEED": seed}
        if items is not None:
            line = self.command.run(folder, iteration=context.iteration, environment=told)
            made = items.fresh(self._new_samples(line, context.iteration))[:n]
            return Selection((), (0.0,) * len(made), made)
        features = torch.cat([part for _, part in context.chunks()])
        told["QUERIST_CANDIDATES"] = write_arrays(
            folder / "candidates.npz", {"indices": context.unlabeled, "features": features}
        )
        answer = self.command.ask(folder, iteration=context.iteration, environment=told)
        return Selection(self._indices(answer), (0.0,) * len(answer))

    def _indices(self, answer: Any) -> tuple[int, ...]:
        if not isinstance(answer, list) or any(type(index) is not int for index in answer):
            raise StrategyError(
                f"a query command says a list of indices, {self.command.name} said "
                f"{answer!r:.80}: print one on the last line"
            )
        return tuple(answer)

    def _new_samples(self, line: str | None, iteration: int) -> list[Any]:
        """What is to be labeled next, as far as the program says it."""
        try:
            answer = self.command.finite(self.command.read(line))
        except CommandError:  # a script that writes its proposal into a file, and chats
            _log.info("%s says no samples as JSON: one is wanted", self.command.name)
            answer = None
        if isinstance(answer, list):
            return answer
        if isinstance(answer, dict):
            return [answer]
        return [{"iteration": iteration} | ({} if answer is None else {"answer": answer})]
