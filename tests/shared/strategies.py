"""Small strategies of three styles, to be named inside others."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any

import torch

from querist.context import QueryContext
from querist.values import Selection
from querist.views import View

HERE = "tests.shared.strategies"


class Lowest:
    """The lowest indices, and what it was told and given."""

    needs = (View.EMBEDDINGS,)
    wants_committee = True

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.seen: list[int] = []

    def work_in(self, folder: Path) -> None:
        self.folder = folder

    def sample(self, context: QueryContext, n: int) -> Selection:
        self.seen = context.unlabeled.tolist()
        chosen = tuple(self.seen[:n])
        return Selection(chosen, (0.0,) * len(chosen))


class Queued:
    """In the older style: puts the last positions of the unlabeled pool."""

    def __init__(self, n: int = 3) -> None:
        self.n = n
        self.driver: Any = None

    def attach(self, driver: Any) -> None:
        self.driver = driver

    def sample(self, query_queue: queue.Queue[int]) -> None:
        there = len(self.driver.unlabeled_datapool)
        for position in reversed(range(max(0, there - self.n), there)):
            query_queue.put(position)


class Fixed:
    """Whatever it was made with."""

    def __init__(self, indices: list[int], makes: bool = False) -> None:
        self.indices = indices
        self.makes = makes

    def sample(self, context: QueryContext, n: int) -> Selection:
        if self.makes:
            return Selection((), (0.0,), torch.zeros(1, 4))
        return Selection(tuple(self.indices), (0.0,) * len(self.indices))


def ascending(context: QueryContext, n: int) -> list[int]:
    return context.unlabeled[:n].tolist()  # type: ignore[no-any-return]


def descending(context: QueryContext, n: int) -> list[int]:
    return context.unlabeled.flip(0)[:n].tolist()  # type: ignore[no-any-return]


def named(name: str, **options: Any) -> dict[str, Any]:
    """A strategy of this file, as a configuration names it."""
    return {"name": f"{HERE}:{name}", "options": options}


def function(name: str, **beside: Any) -> dict[str, Any]:
    """A function of this file, as a configuration names it."""
    return {"name": "callable", "options": {"function": f"{HERE}:{name}"}, **beside}
