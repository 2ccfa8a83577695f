"""Query strategies that are named in the options of another one, before any of them is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from querist.errors import ConfigurationError
from querist.registry import check_import_path, is_import_path

HOLDING = ("strategy", "stages", "parts")
"""Options that hold query strategies, whichever strategy they belong to."""

MOST_LEVELS = 10
"""Of strategies inside another one."""


def check_nested(options: Mapping[str, Any], *, level: int = 1) -> None:
    """Refuse what is nested too deeply, and import paths that are not allowed; nothing is imported.

    Args:
        options: those of a strategy of ours that may be made of others.
        level: at which its parts are.

    Raises:
        ConfigurationError: there are too many levels, or an import path is malformed.
        ForbiddenImportError: an import path leads to a package that is not allowed.
    """
    for name, inner in _named_in(options):
        if level > MOST_LEVELS:
            raise ConfigurationError(
                f"query strategies are nested in at most {MOST_LEVELS} levels, and {name!r:.80} is "
                f"in level {level}: take out those that only hold another one"
            )
        if is_import_path(name):
            check_import_path(name)
        check_nested(inner, level=level + 1)


def _named_in(options: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names and options of what looks like a strategy; the rest is refused when it is built."""
    for option in HOLDING:
        held = options.get(option)
        for one in held if isinstance(held, list | tuple) else [held]:
            given = {"name": one} if isinstance(one, str) else one
            if isinstance(given, Mapping) and isinstance(given.get("name"), str):
                inner = given.get("options")
                yield given["name"], inner if isinstance(inner, Mapping) else {}
