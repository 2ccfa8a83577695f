"""The same settings in every iteration."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from querist.registry import register
from querist.strategies.options import mapping
from querist.values import History


@register("schedule", "static")
class Static:
    """The same overrides in every iteration.

    Args:
        settings: what to merge over the group's base settings.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = copy.deepcopy(dict(mapping("settings", settings)))

    def settings(self, iteration: int, history: History) -> Mapping[str, Any]:
        """The overrides, whatever the iteration."""
        return copy.deepcopy(self._settings)

    def overrides(self) -> Sequence[Mapping[str, Any]]:
        """The only ones."""
        return [copy.deepcopy(self._settings)]
