"""Settings that are functions of the iteration and of what was measured before it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from querist.errors import ConfigurationError, StrategyError, UnknownNameError
from querist.registry import find, register
from querist.strategies.options import finite_number, flag, mapping, text
from querist.values import History

KIND = "schedule_function"
OWN = ("function", "floor", "cap", "whole")
"""What the schedule itself understands of a setting; the rest goes to its function."""


@register("schedule", "adaptive")
class Adaptive:
    """Each setting is a function of the iteration and the history.

    Where a setting is a whole number (`batch_size`, `n`, an option that is given without a decimal
    point and is not annotated as a float) the result is rounded to the nearest one.

    Args:
        settings: by the setting's dotted path in the group, `{function: exponential, start: 0.01,
            factor: 0.9}`: a function by name with its options, and, with any of them, `floor`,
            `cap`, and `whole: true` to round in any case. A function of one's own is a registered
            name or `package.module:function` of an allowed package; it is called as
            `function(iteration, history, **options)` and returns a number, the same whenever it is
            asked, with an empty history too.
    """

    rounds = True

    def __init__(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        curves = {
            _steps(path): _Curve.of(path, spec)
            for path, spec in mapping("settings", settings).items()
        }
        for path in curves:
            for other in curves:
                if path != other and other[: len(path)] == path:
                    raise ConfigurationError(
                        f"settings has {'.'.join(path)!r} and {'.'.join(other)!r}, which is inside "
                        "of it: remove one of them"
                    )
        self._curves = curves

    def settings(self, iteration: int, history: History) -> Mapping[str, Any]:
        """The functions' values in this iteration, as nested overrides.

        Raises:
            ConfigurationError: a value is not finite, and no floor or cap bounds it.
            StrategyError: a function raised, or returned something else than a number.
        """
        overrides: dict[str, Any] = {}
        for path, curve in self._curves.items():
            here = overrides
            for part in path[:-1]:
                here = here.setdefault(part, {})
            here[path[-1]] = curve.at(iteration, history)
        return overrides

    def overrides(self) -> Sequence[Mapping[str, Any]]:
        """The same settings in every iteration, with the values of the first one."""
        return [self.settings(0, ())]


def _steps(path: Any) -> tuple[str, ...]:
    steps = tuple(text("a setting of an adaptive schedule", path).split("."))
    if not all(steps):
        raise ConfigurationError(
            f"a setting is a dotted path like optimizer.options.lr, not {path!r:.80}: correct it"
        )
    return steps


@dataclass(frozen=True)
class _Curve:
    """One setting's function, with its options and bounds.

    Attributes:
        path: the setting, for messages.
    """

    path: str
    name: str
    function: Callable[..., Any]
    options: Mapping[str, Any]
    floor: float
    cap: float
    whole: bool

    @classmethod
    def of(cls, path: str, spec: Any) -> _Curve:
        """A setting's entry, checked.

        Raises:
            ConfigurationError: it names no function, or one that takes other options.
        """
        if not isinstance(spec, Mapping) or "function" not in spec:
            raise ConfigurationError(
                f"{path} needs a function, unlike {spec!r:.80}: write {{function: linear, start: "
                "..., slope: ...}, or use the schedule static for a constant"
            )
        name = text("function", spec["function"])
        function = find(KIND, name)
        options = {key: value for key, value in spec.items() if key not in OWN}
        _check_options(name, function, options)
        floor = finite_number("floor", spec["floor"]) if "floor" in spec else -math.inf
        cap = finite_number("cap", spec["cap"]) if "cap" in spec else math.inf
        if floor > cap:
            raise ConfigurationError(
                f"floor of {path} is at most its cap {cap:g}, not {floor:g}: exchange them"
            )
        whole = flag("whole", spec.get("whole", False))
        return cls(path, name, function, options, floor, cap, whole)

    def at(self, iteration: int, history: History) -> float:
        """The value in an iteration, within its bounds."""
        try:
            value = self.function(iteration, history, **self.options)
        except ConfigurationError:
            raise
        except Exception as error:
            raise StrategyError(
                f"the schedule function {self.name!r} of {self.path} raised "
                f"{type(error).__name__} in iteration {iteration} ({error!s:.200}): it returns a "
                "number in every iteration, with an empty history too"
            ) from error
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise StrategyError(
                f"the schedule function {self.name!r} of {self.path} returns a number, not "
                f"{value!r:.80}: correct it"
            )
        bounded = value if self.floor <= value <= self.cap else self._nearest_bound(value)
        if not math.isfinite(bounded):
            raise ConfigurationError(
                f"{self.path} is a finite number, not {bounded} as {self.name!r} says in iteration "
                f"{iteration}: set a floor or a cap"
            )
        return round(bounded) if self.whole else bounded

    def _nearest_bound(self, value: float) -> float:
        if math.isnan(value):
            return value
        return self.floor if value < self.floor else self.cap


def _check_options(name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse options that a function does not take behind its first two parameters."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return
    given = [p for p in parameters if p.kind is not p.VAR_POSITIONAL][2:]
    known = [p.name for p in given if p.kind is not p.VAR_KEYWORD]
    if len(known) == len(given):
        for option in options:
            if option not in known:
                raise UnknownNameError(f"option of {KIND} {name!r}", option, [*known, *OWN[1:]])
    for p in given:
        if p.name in known and p.default is p.empty and p.name not in options:
            raise ConfigurationError(
                f"{KIND} {name!r} needs the option {p.name!r}: write it beside function"
            )
