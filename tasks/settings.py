"""What all tasks share.

Nothing is cached or persisted by Prefect: durability is the run's. A task receives a reference and
an iteration, never a model or data. Tasks are async, because a synchronous task in an async flow
makes a client of its own (18 ms of loading TLS certificates); the step itself runs in the
run's host.
"""

from __future__ import annotations

from typing import Any

from prefect.cache_policies import NO_CACHE

TASK_SETTINGS: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "log_prints": False,
}
