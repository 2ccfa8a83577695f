"""The child of a `SpawnedHost`: `python -m querist.runs.spawned DESCRIPTOR PARENT`."""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection

from querist.runs.served_steps import serve


def main() -> None:
    """Carry out steps that come through an inherited descriptor, until the parent ends."""
    descriptor, parent = map(int, sys.argv[1:])
    serve(Connection(descriptor), parent)


if __name__ == "__main__":
    main()
