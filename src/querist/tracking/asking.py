"""Which request the tracker has not answered yet: the deliverer says it, the run's process reads.

It tells a tracker that is silent from a deliverer that has work of its own to do, without a clock
that two processes would have to share. It stands in the lock file, whose holder it is about.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from querist.storage.store import store
from querist.tracking.progress import LOCK_FILE


def asked(folder: Path) -> int | None:
    """The number of the request that is out; None while the tracker owes no answer."""
    try:
        return int((folder / LOCK_FILE).read_bytes())
    except (OSError, ValueError):
        return None


class Asking:
    """The deliverer's side. For the holder of the delivery lock only."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE
        self._number = 0
        self._due = False
        self.answered()

    def ask(self) -> None:
        """A request goes out; behind one without an answer, the same answer is due."""
        if not self._due:
            self._due = True
            self._number += 1
            self._say(str(self._number))

    def answered(self) -> None:
        """No answer is due."""
        self._due = False
        self._say("")

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Around a request: after an error the answer is still due, whatever was said instead."""
        self.ask()
        yield
        self.answered()

    def _say(self, words: str) -> None:
        # A hint: without it the run's end waits longer, so a full disk is no reason to stop here.
        with contextlib.suppress(OSError), store().open(self._path, "ab") as file:
            store().truncate(file, 0)
            store().write(file, words.encode())
