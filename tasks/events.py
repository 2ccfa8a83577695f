"""Events of ours in Prefect's event feed, for automations to act on.

An event is an announcement: what it tells of is durable before it is sent, and nothing waits for
it. Prefect's client sends it in the background and tries again while the server is away; a process
that ends before the server is back takes the event with it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from prefect.events import emit_event
from prefect.events.worker import EventsWorker

LABELS_COLLECTED = "querist.labels.collected"
"""Labels came: payload `run_id`, `labels` (all of the run's), `labels_new`."""
DRAIN_SECONDS = 10.0
_log = logging.getLogger(__name__)


def emit(event: str, resource: str, payload: Mapping[str, Any]) -> bool:
    """Have Prefect send an event; returns whether it took it, which no caller depends on.

    Args:
        event: what happened, such as `querist.labels.collected`.
        resource: whom it happened to, such as `querist.run.first`. The flow run that says it is
            among the related resources by itself.
        payload: what automations can use: plain values.
    """
    kind, _, name = resource.removeprefix("querist.").partition(".")
    whom = {"prefect.resource.id": resource, "prefect.resource.name": f"{kind} {name}"}
    try:
        sent = emit_event(event, resource=whom, payload=dict(payload))
    except Exception as error:  # an announcement must not cost what it announces
        _log.warning("the event %s of %s is not sent: %s", event, resource, error)
        return False
    return sent is not None


def drained() -> None:
    """Wait until all events have left, for who emits them outside of a flow."""
    EventsWorker.drain_all(timeout=DRAIN_SECONDS)
