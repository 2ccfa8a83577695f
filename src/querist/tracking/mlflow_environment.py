"""How the deliverer sets MLflow up; mlflow reads these when it is imported."""

from __future__ import annotations

import os

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # They are for people who watch, and appear wherever tqdm happens to be installed.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "DO_NOT_TRACK": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # A tracker that is down shall be noticed in seconds, not in minutes. The deliverer tries again
    # by itself, and looks first what an answer that got lost has done.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # Else a server's `Retry-After: 3600` is slept through.
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    # MLflow would else unpickle models that somebody else wrote.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # Else the uv.lock and pyproject.toml of the working folder end up in the model.
    "MLFLOW_UV_AUTO_DETECT": "false",
}


def set_up_mlflow() -> None:
    """Set what the environment does not say already."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
