"""Stop when an external program says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from querist.commands import Command
from querist.commands.memory import remembered
from querist.commands.work import known_folder, write_json
from querist.registry import register
from querist.strategies.stopping.judgement import Judgement
from querist.values import History, StopDecision


@register("stop", "command")
class StopCommand:
    """Stops when a program says true, or a number that reaches a value.

    It runs in the run's work folder after each iteration. `QUERIST_HISTORY` names a file
    `history.json` with all iterations so far. The last line of its output is true or false, or,
    with `operator` and `value`, a number; NaN never stops and is reported. It is asked once per
    iteration: after a crash its answer is remembered.

    Args:
        argv: the program and its arguments, as a list.
        operator: `<`, `<=`, `>` or `>=`; stops when `number operator value` holds.
        value: the number that the program's number is compared with.
        options: become flags behind `argv`.
        environment: added to the program's environment.
        timeout_seconds: how long it may take; then it is killed.
        cores: how many cores and threads it may use.
        gpus: how many GPUs it sees.
    """

    def __init__(
        self,
        argv: Sequence[str],
        operator: str | None = None,
        value: float | None = None,
        options: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        cores: int | None = None,
        gpus: int | None = None,
    ) -> None:
        self.command = Command(argv, options, environment, timeout_seconds, cores, gpus)
        self.judgement = Judgement(self.command.name, operator, value)
        self._folder: Path | None = None

    def work_in(self, folder: Path) -> None:
        """Where the program works."""
        self._folder = folder

    def check(self, history: History) -> StopDecision:
        """What the program says of the newest iteration.

        Raises:
            CommandError: the program failed, or said nothing of use.
            StrategyError: it said something that is no answer.
        """
        if not history:
            return StopDecision(False, "no iteration yet")
        folder = known_folder(self._folder)
        iteration = history[-1].iteration

        def ask() -> Any:
            path = write_json(folder / "history.json", [asdict(result) for result in history])
            told = {"QUERIST_HISTORY": path}
            return self.command.ask(folder, iteration=iteration, environment=told)

        asked = ["stop", *self.command.argv, iteration]
        return self.judgement.of(remembered(folder, asked, ask), history[-1])
