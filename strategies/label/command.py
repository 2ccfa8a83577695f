"""Labels from an external program: a simulation, a solver, a measuring device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from querist.commands import Command
from querist.commands.work import known_folder, write_json
from querist.errors import CommandError, ConfigurationError, InDoubtError, StrategyError
from querist.registry import register
from querist.requests import LabelRequest
from querist.strategies.label.python_callable import as_label_value
from querist.strategies.options import finite_number, flag, text
from querist.values import Label


@register("label", "command")
class LabelCommand:
    """What a program says of samples, run in the run's work folder.

    `QUERIST_REQUEST` names a file `request.json` with `iteration`, `indices`, `keys` and `features`
    (or `items`, where only scripts know the samples). The last line of its output is a list of
    values in that order (null = not yet, fewer = the rest is pending), a mapping from index to
    value, or the value of a single sample.

    Args:
        argv: the program and its arguments, as a list.
        options: become flags behind `argv`.
        environment: added to the program's environment.
        timeout_seconds: how long it may take; then it is killed, and its labels are in doubt.
        cores: how many cores and threads it may use.
        gpus: how many GPUs it sees.
        reports: false for a program that prints no values, only where scripts alone know the
            samples: that it ended well is the label.
        at_once: how many samples it is run for. Default: all of an iteration.
        asks_by_key: running it again for the same samples costs nothing and changes nothing, so
            that after a crash it is run again. Otherwise its labels are then in doubt.
        annotator: who the labels are said to come from.
        cost: what each label is said to cost, in the experiment's own unit.
    """

    def __init__(
        self,
        argv: Sequence[str],
        options: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        cores: int | None = None,
        gpus: int | None = None,
        reports: bool = True,
        at_once: int | None = None,
        asks_by_key: bool = False,
        annotator: str = "command",
        cost: float = 1.0,
    ) -> None:
        self.command = Command(argv, options, environment, timeout_seconds, cores, gpus)
        self.reports = flag("reports", reports)
        if at_once is not None and (type(at_once) is not int or at_once < 1):
            raise ConfigurationError(
                f"at_once is a whole number of at least 1, not {at_once!r:.80}: set it to one"
            )
        self.at_once = at_once
        self.asks_by_key = flag("asks_by_key", asks_by_key)
        self.annotator = text("annotator", annotator)
        self.cost = finite_number("cost", cost, least=0.0)
        self._folder: Path | None = None

    def work_in(self, folder: Path) -> None:
        """Where the program works."""
        self._folder = folder

    def label(self, request: LabelRequest) -> Iterator[Label]:
        """One label per value that the program says.

        Raises:
            CommandError: it failed, as its exit code says: it is run again as often as the
                experiment says.
            InDoubtError: it was killed, or said nothing of use: it may have done its work.
            StrategyError: what it said belongs to other samples.
        """
        indices = request.indices.tolist()
        if not indices:
            return
        try:
            answer = self._ask(request, indices)
        except CommandError as error:
            if error.refused or self.asks_by_key:
                raise
            raise InDoubtError(str(error)) from error
        for index, value in self._values(indices, answer):
            if value is not None:
                yield Label(index, as_label_value(value), self.annotator, self.cost)

    def _ask(self, request: LabelRequest, indices: list[int]) -> Any:
        content: dict[str, Any] = {
            "iteration": request.iteration,
            "indices": indices,
            "keys": list(request.keys),
        }
        items = bool(getattr(request.pool, "holds_items", False))
        if not self.reports and not items:
            raise StrategyError(
                "a label command without reports has nothing to say of the samples of this pool: "
                "set reports to true, or use the pool `scripts`"
            )
        content["items" if items else "features"] = request.features()
        path = write_json(known_folder(self._folder) / "request.json", content)
        told = {"QUERIST_REQUEST": path}
        line = self.command.run(self._folder, iteration=request.iteration, environment=told)
        if not self.reports:
            return [1] * len(indices)
        return self.command.finite(self.command.read(line))

    def _values(self, indices: list[int], answer: Any) -> Iterator[tuple[int, Any]]:
        if isinstance(answer, list):
            if len(answer) > len(indices):
                raise StrategyError(
                    f"a label command says at most one value per sample, {self.command.name} said "
                    f"{len(answer)} for {len(indices)}: print a list in the order of the request"
                )
            yield from zip(indices, answer, strict=False)
        elif isinstance(answer, dict) and set(answer) <= {str(index) for index in indices}:
            yield from ((int(index), value) for index, value in answer.items())
        elif len(indices) == 1:
            yield indices[0], answer
        else:
            raise StrategyError(
                f"a label command says a list or a mapping by index for {len(indices)} samples, "
                f"{self.command.name} said {answer!r:.80}: print one, or set at_once to 1"
            )
