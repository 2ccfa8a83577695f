"""MLflow in the deliverer: no request takes long, and none is made twice behind our back."""

from __future__ import annotations

import os
import subprocess
import sys

from querist.tracking.mlflow_environment import SETTINGS

SHOW = """
import querist.tracking.mlflow_store
import mlflow.environment_variables as v
print(v.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get(), v.MLFLOW_HTTP_REQUEST_TIMEOUT.get(),
      v.MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER.get())
"""


def shown(**more: str) -> list[str]:
    env = {k: v for k, v in os.environ.items() if k not in SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=env | more, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_mlflow_takes_the_settings_and_the_environment_wins() -> None:
    assert shown() == ["0", "20", "False"]
    assert shown(MLFLOW_HTTP_REQUEST_TIMEOUT="7") == ["0", "7", "False"]
