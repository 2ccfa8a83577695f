"""A client of a tracker that is elsewhere: it may be silent, and it may ask who is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from querist.tracking.address import is_server
from querist.tracking.asking import Asking


class TrackerRefusedError(PermissionError):
    """The tracking server wants to know who is asking, or does not let them; says what to set."""


class AskedClient:
    """An `MlflowClient` that says when an answer is due, and what a refusal means.

    Args:
        make: makes the client for a `tracking_uri`.
        uri: where the tracker is.
        asking: where it is said that an answer is due.
    """

    def __init__(self, make: Callable[..., Any], uri: str, asking: Asking) -> None:
        self._uri = uri
        self._asking = asking
        if is_server(uri):
            self._client = make(tracking_uri=uri)
        else:
            with asking.request():  # a database is spoken to at once
                self._client = make(tracking_uri=uri)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*args: Any, **more: Any) -> Any:
            with self._asking.request():
                try:
                    return method(*args, **more)
                except Exception as error:
                    if words := _refusal(error):
                        raise TrackerRefusedError(f"{self._uri} {words}") from error
                    raise

        return call


def _refusal(error: Exception) -> str | None:
    """What to do about a server that wants to know who is asking; None for any other error."""
    # MLflow's own errors know their status; artifacts come with an error of requests.
    own = getattr(error, "get_http_status_code", None)
    status = own() if own else getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return (
            "asks who is there: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN, in the environment, then `querist sync`"
        )
    if status == 403:
        return (
            "does not let the user of MLFLOW_TRACKING_USERNAME do this: have them given the right "
            "to, then `querist sync`"
        )
    return None
