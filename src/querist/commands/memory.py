"""Answers that a run keeps, so that a command is not asked the same thing twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from querist.commands.work import make
from querist.storage.atomic import write_file
from querist.storage.plain import digest_of

ANSWERS = "answers"
"""The folder, beside the work folder."""


def remembered(folder: Path, asked: Any, ask: Callable[[], Any]) -> Any:
    """The answer to `asked`: the one that is there, or what `ask` says, which is then kept.

    Args:
        folder: the run's work folder.
        asked: what tells this question from all others.
        ask: asks.
    """
    path = folder.parent / ANSWERS / f"{digest_of(asked)[:32]}.json"
    if path.exists():
        return json.loads(path.read_bytes())
    answer = ask()
    make(path.parent)
    write_file(path, json.dumps(answer).encode())
    return answer
