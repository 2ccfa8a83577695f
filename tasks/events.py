"""Events of ours for Prefect's automations."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from prefect.events import emit_event
from prefect.events.worker import EventsWorker

DRAIN_SECONDS = 10.0
_log = logging.getLogger(__name__)


def emit(event: str, *, resource: str, payload: Mapping[str, Any]) -> None:
    """Emit an event; a server that is away costs the event, not the flow.

    Args:
        event: such as `querist.model.promoted`.
        resource: what it is about, such as `querist.model.digits`.
        payload: what there is to say, as JSON.
    """
    try:
        emit_event(event, {"prefect.resource.id": resource}, payload=dict(payload))
    except Exception as error:
        _log.warning("the event %s was not emitted: %s", event, error)


def drained() -> None:
    """Wait until all events have left, where no flow does."""
    EventsWorker.drain_all(timeout=DRAIN_SECONDS)
