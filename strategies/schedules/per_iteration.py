"""Settings of their own for single iterations."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from querist.errors import ConfigurationError
from querist.registry import register
from querist.strategies.options import flag, mapping
from querist.values import History

EVERY_OTHER = -1
"""The key for the iterations that no other key is for."""


@register("schedule", "per_iteration")
class PerIteration:
    """Overrides by iteration.

    Args:
        settings: overrides by iteration, an integer (as text too, since JSON keys are text); the
            key -1 is for all iterations without a key of their own. Without it these keep the base.
        hold: a key stays in force until the next one, instead of for its own iteration only; -1 is
            then for the iterations before the first key.
    """

    def __init__(self, settings: Mapping[Any, Mapping[str, Any]], hold: bool = False) -> None:
        self.hold = flag("hold", hold)
        self._settings: dict[int, dict[str, Any]] = {}
        for key, overrides in mapping("settings", settings).items():
            iteration = _as_iteration(key)
            if iteration in self._settings:
                raise ConfigurationError(
                    f"settings has iteration {iteration} twice, the second time as {key!r}: "
                    "keep one of them"
                )
            if not isinstance(overrides, Mapping):
                raise ConfigurationError(
                    f"settings of iteration {iteration} is a mapping, not {overrides!r}: "
                    "write {setting: value}"
                )
            self._settings[iteration] = copy.deepcopy(dict(overrides))
        if self.hold and all(key == EVERY_OTHER for key in self._settings):
            raise ConfigurationError(
                "hold has no effect when settings has only the key -1: remove one of them"
            )

    def settings(self, iteration: int, history: History) -> Mapping[str, Any]:
        """The overrides of this iteration's key (or the held one), else of -1, else none."""
        key = iteration
        if self.hold:
            key = max((k for k in self._settings if 0 <= k <= iteration), default=EVERY_OTHER)
        found = self._settings.get(key, self._settings.get(EVERY_OTHER, {}))
        return copy.deepcopy(found)

    def overrides(self) -> Sequence[Mapping[str, Any]]:
        """What stands under the keys, in their order."""
        return [copy.deepcopy(self._settings[key]) for key in sorted(self._settings)]


def _as_iteration(key: Any) -> int:
    if isinstance(key, str) and re.fullmatch(r"-?\d{1,9}", key, re.ASCII):
        key = int(key)
    if isinstance(key, bool) or not isinstance(key, int) or key < EVERY_OTHER:
        raise ConfigurationError(
            f"settings has iterations as keys, integers from 0 or -1 for every other one, "
            f"not {key!r}: write the iteration's number"
        )
    return key
