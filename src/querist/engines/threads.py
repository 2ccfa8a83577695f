"""Learners in threads of this process: for learners that mostly wait, and for debugging."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from querist.runs.host import Host, LocalHost
from querist.training.threads import use_at_most


class ThreadEngine:
    """Every learner's steps in threads of this process. One that crashes it takes all along."""

    @asynccontextmanager
    async def host(self, learner: str) -> AsyncIterator[Host]:
        """A host that uses this process."""
        try:
            yield LocalHost()
        finally:
            use_at_most(None)
