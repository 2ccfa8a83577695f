"""Events of ours: what they look like, and what a server that is away costs."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker

from querist.tasks.events import LABELS_COLLECTED, emit


@pytest.fixture
def sent() -> Any:
    """What Prefect's client was given."""
    EventsWorker.set_client_override(AssertingEventsClient)
    AssertingEventsClient.reset()
    yield AssertingEventsClient
    EventsWorker.set_client_override(None)


def test_an_event_says_what_happened_to_whom(sent: Any, prefect_server: Any) -> None:
    from querist.deployments.embedded_server import prefect_api

    with prefect_api(prefect_server):
        assert emit(LABELS_COLLECTED, "querist.run.first", {"labels": 60, "labels_new": 10})
        EventsWorker.instance().drain()
    (event,) = (event for client in sent.all for event in client.events)
    assert event.event == "querist.labels.collected"
    assert event.resource.id == "querist.run.first"
    assert event.resource.name == "run first"
    assert event.payload == {"labels": 60, "labels_new": 10}


def test_a_server_that_is_away_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        emit(LABELS_COLLECTED, "querist.run.first", {"labels": 60})  # raises nothing


def test_a_payload_that_is_too_large_is_only_said(
    sent: Any, prefect_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from querist.deployments.embedded_server import prefect_api

    with prefect_api(prefect_server):
        assert not emit(LABELS_COLLECTED, "querist.run.first", {"words": "x" * 3_000_000})
    assert "the event querist.labels.collected of querist.run.first is not sent" in caplog.text
